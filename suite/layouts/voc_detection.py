"""PASCAL VOC, the boxes of objects (detection), one year or several together.

    [VOCdevkit/]VOC2007/ImageSets/Main/train.txt    a name a line; what follows it on the line is not read
    [VOCdevkit/]VOC2007/ImageSets/Main/val.txt
    [VOCdevkit/]VOC2007/ImageSets/Main/test.txt     2007 only; without one in any year val is the test split
    [VOCdevkit/]VOC2007/Annotations/NAME.xml
    [VOCdevkit/]VOC2007/JPEGImages/NAME.jpg         or .jpeg, .png

The root may be a year's folder, VOCdevkit/ or the folder that holds either. A year without train.txt trains on its
trainval.txt, given that some year has a test list. Classes are those of the lists CLASS_train.txt, or the lines of
classes.txt (in the root, the year or ImageSets/Main), or the names in the annotations of train and val, sorted.
VOC counts pixels from 1 and includes the last: here a box is xmin - 1, ymin - 1, xmax, ymax.
"""

import difflib
import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from suite.index import (
    Index,
    LayoutError,
    Split,
    Thing,
    lines,
    require_present,
    require_tested,
    some,
    unlike,
    with_endings,
)
from suite.layouts import voc

KIND = "detection"
EXPECTED = "[VOCdevkit/]VOC2007/Annotations/ and ImageSets/Main/train.txt (or another year's)"
LISTS = ("train", "val", "trainval", "test")
CORNERS = ("xmin", "ymin", "xmax", "ymax")
CLASSES_SHOWN = 20  # names that a message shows: all of VOC's


class Listed(NamedTuple):
    """One image of a list: its name, and its year's folder relative to the root."""

    year: str
    name: str


class Marked(NamedTuple):
    """One object as its XML says: its class by name."""

    label: str
    box: tuple[float, float, float, float]
    difficult: bool


@dataclass
class Reading:
    """What is read on the way to an index: each image's objects, what was left out, and the files with a fault."""

    objects: dict[Listed, list[Marked]] = field(default_factory=dict)
    sizes: dict[Listed, tuple[int, int]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=dict)  # fault -> files


FAULTS = {  # fault -> what is expected and what to do
    "is not there": "expected an annotation for each listed image; unpack the annotations, or mend the lists",
    "is not XML": "expected VOC's annotation; unpack the annotations again",
    "has no <size> with a width and a height above 0": "expected the image's size in pixels; write it in",
    "has an <object> without a <name>": "expected a name an object; write it in or remove the object",
    "has an <object> without a <bndbox> of four numbers": f"expected {', '.join(CORNERS)}; mend or remove the object",
}
ABSENT, BROKEN, UNSIZED, UNNAMED, UNBOXED = FAULTS


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return bool(voc.years(root, _is_year))


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    years = voc.years(root, _is_year)
    if not years:
        raise unlike(root, EXPECTED)
    listed = _listed(root, years)
    reading = Reading()
    for rows in listed.values():
        for row in rows:
            _read(root, row, reading)
    _raise_faults(root, reading)
    classes, source = _classes(root, years, listed, reading)
    _require_known(root, reading, classes, source)
    items = {split: _items(root, rows) for split, rows in listed.items()}
    require_present(root, [item for found in items.values() for item in found])
    known = {label: number for number, label in enumerate(classes)}
    splits = {split: _split(rows, items[split], reading, known) for split, rows in listed.items()}
    return require_tested(root, Index(KIND, classes, splits, dropped=dict(reading.dropped)))


# ---- which images


def _is_year(folder: Path) -> bool:
    return (folder / "Annotations").is_dir() and any(_list(folder, name).is_file() for name in LISTS)


def _list(year: Path, name: str) -> Path:
    return year / "ImageSets" / "Main" / f"{name}.txt"


def _listed(root: Path, years: list[str]) -> dict[str, list[Listed]]:
    """Split -> its images, over all years."""
    files = {year: {name for name in LISTS if _list(root / year, name).is_file()} for year in years}
    tested = any("test" in there for there in files.values())
    found: dict[str, list[Listed]] = {"train": [], "val": [], "test": []}
    for year, there in files.items():
        # Without a test list val is held out, and trainval, which holds val, can't be trained on.
        if "train" not in there and tested and "trainval" in there:
            there = (there - {"val"}) | {"train"}
        for split in sorted(there & found.keys()):
            whole = split == "train" and "train" not in files[year]
            found[split] += _names(root, year, "trainval" if whole else split)
    if not tested:
        found["test"] = found.pop("val")
    empty = [split for split in ("train", "test") if not found[split]]
    if empty:
        have = ", ".join(f"{name}.txt" for name in LISTS if any(name in there for there in files.values()))
        raise LayoutError(
            f"{root}: no list for the {empty[0]} split: {some(years)} has {have} in ImageSets/Main; expected train.txt "
            "with val.txt or test.txt, or trainval.txt with test.txt; unpack the lists again"
        )
    return {split: rows for split, rows in found.items() if rows}


def _names(root: Path, year: str, name: str) -> list[Listed]:
    path = _list(root / year, name)
    names = [line.split()[0] for line in lines(path)]
    twice = [image for image, count in Counter(names).items() if count > 1]
    if twice or not names:
        told = f"names {len(twice)} images twice ({some(twice)})" if twice else "is empty"
        raise LayoutError(f"{path}: {told}; expected an image a line, each once; unpack or mend it")
    return [Listed(year, image) for image in names]


def _items(root: Path, rows: list[Listed]) -> list[str]:
    """The images' files: of each name the one that is there."""
    items: list[str] = []
    for year, held in groupby(rows, lambda row: row.year):
        items += with_endings(root, (Path(year) / "JPEGImages").as_posix(), (row.name for row in held))
    return items


# ---- what is in them


def _read(root: Path, row: Listed, reading: Reading) -> None:
    """Parse one image's annotation into `reading`, its faults too."""
    if row in reading.objects:
        return
    path = f"{root / row.year}/Annotations/{row.name}.xml"
    objects = reading.objects[row] = []
    try:
        with open(path, "rb") as file:
            tree = ElementTree.fromstring(file.read())
    except FileNotFoundError:
        reading.faults.setdefault(ABSENT, []).append(path)
        return
    except (ElementTree.ParseError, LookupError, ValueError):  # the last two: an encoding that Python doesn't know
        reading.faults.setdefault(BROKEN, []).append(path)
        return
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    size = _size(tree)
    faults = set() if size else {UNSIZED}
    width, height = reading.sizes[row] = size or (0, 0)
    for one in tree.iterfind("object"):  # the root's own: an object's parts are no objects
        label = (one.findtext("name") or "").strip()
        corners = _corners(one)
        if not label or corners is None:
            faults.add(UNBOXED if label else UNNAMED)
            continue
        xmin, ymin, xmax, ymax = corners
        if xmax <= xmin or ymax <= ymin:
            reading.dropped["zero area"] += 1
        elif size and (xmax <= 0 or ymax <= 0 or xmin - 1 >= width or ymin - 1 >= height):
            reading.dropped["outside the image"] += 1
        else:
            difficult = (one.findtext("difficult") or "0").strip() not in ("0", "")
            objects.append(Marked(label, (xmin - 1, ymin - 1, xmax, ymax), difficult))
    for fault in faults:
        reading.faults.setdefault(fault, []).append(path)


def _size(tree: ElementTree.Element) -> tuple[int, int] | None:
    try:
        width, height = (int(float(tree.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _corners(one: ElementTree.Element) -> list[float] | None:
    box = one.find("bndbox")
    if box is None:
        return None
    try:
        found = [float(box.findtext(corner) or "none") for corner in CORNERS]
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) else None


def _raise_faults(root: Path, reading: Reading) -> None:
    for fault, advice in FAULTS.items():  # in this order: a file that isn't there first
        files = reading.faults.get(fault, [])
        if files:
            count = f"{files[0]} {fault}, one of {len(files)} such files" if len(files) > 1 else f"{files[0]} {fault}"
            raise LayoutError(f"{root}: {count} among {len(reading.objects)}; {advice}")


def _classes(root: Path, years: list[str], listed: dict[str, list[Listed]], reading: Reading) -> tuple[list[str], str]:
    """The classes, and where they are from."""
    lists = {year: _of_lists(root / year / "ImageSets" / "Main") for year in years}
    named = {year: names for year, names in lists.items() if names}
    if named:
        first, classes = next(iter(named.items()))
        for year, names in named.items():
            if names != classes:
                odd = sorted(set(names) ^ set(classes))
                raise LayoutError(
                    f"{root}: classes of {first} and {year} differ ({some(odd)}); expected the same lists "
                    "CLASS_train.txt in each; unpack the archives again"
                )
        return classes, "the lists CLASS_train.txt"
    for path in (root, *(root / year / inner for year in years for inner in ("", "ImageSets/Main"))):
        if (path / "classes.txt").is_file():
            return list(dict.fromkeys(lines(path / "classes.txt"))), str(path / "classes.txt")
    # Without a val list of its own the test split may be val, whose names count.
    own = {row for split in ("train", "val") for row in listed.get(split, [])}
    held = any(_list(root / year, "test").is_file() for year in years)
    used = [rows for row, rows in reading.objects.items() if row in own or not held]
    return sorted({one.label for rows in used for one in rows}), "the annotations of train and val"


def _of_lists(lists: Path) -> list[str]:
    """Names of the classes that have a list each: "cat" of cat_train.txt; of cat_trainval.txt where there is none."""
    for ending in ("_train.txt", "_trainval.txt"):
        found = sorted(path.name.removesuffix(ending) for path in lists.glob(f"?*{ending}") if path.name[0] != ".")
        if found:
            return found
    return []


def _require_known(root: Path, reading: Reading, classes: list[str], source: str) -> None:
    known = set(classes)
    if not known:
        raise LayoutError(f"{root}: no object in any annotation and no classes.txt; expected some; check the lists")
    odd = [(row, one.label) for row, rows in reading.objects.items() for one in rows if one.label not in known]
    if odd:
        (year, name), label = odd[0]
        files = len({row for row, _ in odd})
        near = difflib.get_close_matches(label, classes, n=4, cutoff=0.5)
        told = f"did you mean {', '.join(near)}? " if near else ""
        more = len(classes) - CLASSES_SHOWN
        names = ", ".join(classes[:CLASSES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        raise LayoutError(
            f"{root}: unknown class {label!r} in {root / year / 'Annotations' / name}.xml ({len(odd)} such objects in "
            f"{files} files); {told}known, from {source}: {names}; rename the objects or complete that"
        )


def _split(rows: list[Listed], items: list[str], reading: Reading, known: dict[str, int]) -> Split:
    return Split(
        items,
        [[_thing(one, known) for one in reading.objects[row]] for row in rows],
        [reading.sizes[row] for row in rows],
        [row.name for row in rows],
    )


def _thing(one: Marked, known: dict[str, int]) -> Thing:
    left, top, right, bottom = one.box
    return Thing(known[one.label], one.box, one.difficult, area=(right - left) * (bottom - top))
