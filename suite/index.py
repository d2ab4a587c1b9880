"""An index: which images a data set has, in which split, with which label. Layouts make it, jobs read it."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, cast

from suite.entry import Refusal

ENDINGS = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")  # of images that a list names without one
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
PIXELWISE = ("segmentation", "normals")  # kinds whose labels are files
AT_ONCE = 1 << 14  # rows of which facts are hashed together
THREADS = 16  # that ask a disk for names and sizes: where it is cold, or far, each answer is waited for
SHOWN = 5  # names that an error message shows before it says how many more there are


class LayoutError(Refusal):
    """A data set's folder is not as its layout says. One line: what was found, what is expected, what to do."""


class Thing(NamedTuple):
    """One object in an image: `box` is left, top, right, bottom in pixels from the image's upper left corner, so that
    right - left is its width. `difficult` is VOC's flag, `crowd` COCO's; `area` is COCO's, of the mask, and `mask` its
    segmentation: polygons, or a run-length code."""

    label: int
    box: tuple[float, float, float, float]
    difficult: bool = False
    crowd: bool = False
    area: float = 0.0
    mask: Any = None


@dataclass(frozen=True)
class Split:
    """Images of one split and their labels, in the same order; for detection also their sizes and published ids, for
    VOC's image-level labels the classes that are there only as `difficult` things, of each image.

    A label is a class index; for multilabel 0 or 1 for each class; for detection the things; for segmentation and
    normals the path of the file with a value for each pixel.
    """

    items: list[str]  # path relative to the root, with '/'; a row of a packed file is "FILE#ROW"
    labels: list[int] | list[list[int]] | list[list[Thing]] | list[str]
    sizes: list[tuple[int, int]] = field(default_factory=list)  # width, height in pixels
    ids: list[int] | list[str] = field(default_factory=list)  # COCO's number, VOC's name
    difficult: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True)
class Index:
    """A data set as found on disk."""

    kind: str  # "classification" | "multilabel" | "detection" | "segmentation" | "normals"
    classes: list[str]
    splits: dict[str, Split]  # "train", "val" (only where there is an official one), "test"
    categories: list[int] = field(default_factory=list)  # the classes' published numbers, and values in label files
    dropped: Mapping[str, int] = field(default_factory=dict)  # why -> how many things were left out
    void: list[int] = field(default_factory=list)  # values in label files that do not count; any other is bad data
    sizes: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)  # of a packed folder's files


def things(split: Split) -> Iterator[Thing]:
    """All things of a split of a detection set."""
    for held in split.labels:
        yield from cast("list[Thing]", held)


def masked(index: Index) -> bool:
    """Whether the things of a detection set have masks: all that are tested, and some that are trained on."""
    if index.kind != "detection":
        return False
    tested, trained = things(index.splits["test"]), things(index.splits["train"])
    return all(thing.mask for thing in tested) and any(thing.mask for thing in trained)


def of_classes(index: Index) -> tuple[int, ...]:
    """How many images each class has, over all splits; () of other kinds than classification."""
    if index.kind != "classification":
        return ()
    counted = Counter(chain.from_iterable(cast("list[int]", split.labels) for split in index.splits.values()))
    return tuple(counted[label] for label in range(len(index.classes)))


def require_apart(root: Path, index: Index) -> Index:
    """The index, if each image with a label of its own is in one split, once; LayoutError otherwise."""
    if index.kind in ("classification", "multilabel"):
        require_once(root, list(chain.from_iterable(split.items for split in index.splits.values())))
    return index


def require_once(root: Path, items: Sequence[str]) -> None:
    """LayoutError where an image is among the items of all splits more than once."""
    if len(set(items)) < len(items):
        twice = [item for item, count in Counter(items).items() if count > 1]
        raise LayoutError(
            f"{root}: {len(twice)} images are in two splits or twice in one ({some(twice)}); expected each once; "
            "mend the lists"
        )


def require_tested(root: Path, index: Index) -> Index:
    """The index of a detection set, if its test has anything to find; LayoutError where nothing counts."""
    found = list(things(index.splits["test"]))
    if all(thing.difficult or thing.crowd for thing in found):
        told = f"{len(found)} things, all of them difficult or crowds" if found else "nothing in any image"
        raise LayoutError(f"{root}: the test split has {told}; expected things to find; add some")
    return index


def locate(item: str) -> tuple[str, int | None]:
    """File and row of an item: "data_batch_1#17" -> ("data_batch_1", 17), "a/b.jpg" -> ("a/b.jpg", None)."""
    file, mark, row = item.rpartition("#")
    # An image's name may hold a '#' too, but ends in its extension, never in digits alone.
    return (file, int(row)) if mark and row.isdecimal() else (item, None)


def digest(index: Index, root: Path) -> str:
    """SHA-256 (hex) over kind, classes, their values, splits, items, labels and each file's size; not over its bytes.

    It changes when a file is added, removed, renamed, relabelled or resized, and not when the root moves.
    Raises LayoutError where an item's file is not there.
    """
    total = hashlib.sha256()
    _feed(total, [index.kind, *index.classes])
    if index.kind in PIXELWISE:
        _feed(total, map(str, (index.categories, index.void)))
    with ThreadPoolExecutor(THREADS) as pool:
        for name in sorted(index.splits):
            _feed(total, chain([name], _facts(index, index.splits[name], root, pool)))
    return total.hexdigest()


def _facts(index: Index, split: Split, root: Path, pool: Executor) -> Iterator[str]:
    for first in range(0, len(split.items), AT_ONCE):
        items, labels = split.items[first : first + AT_ONCE], split.labels[first : first + AT_ONCE]
        files = [locate(item)[0] if "#" in item else item for item in items]
        masks = [label for label in labels if isinstance(label, str)]
        sizes = _sizes(index, root, list(dict.fromkeys([*files, *masks])), pool)
        for item, file, label in zip(items, files, labels, strict=True):
            fact = f"{item}\0{label}\0{sizes[file]}"
            yield f"{fact}\0{sizes[label]}" if isinstance(label, str) else fact


def _sizes(index: Index, root: Path, files: list[str], pool: Executor) -> Mapping[str, int]:
    """Bytes of each file, which are known of a packed folder's."""
    if index.sizes:
        return index.sizes
    step = -(-len(files) // THREADS) or 1
    parts = pool.map(lambda first: _asked(root, files[first : first + step]), range(0, len(files), step))
    return dict(zip(files, chain.from_iterable(parts), strict=True))


def _asked(root: Path, files: list[str]) -> list[int]:
    try:
        return [os.stat(f"{root}{os.sep}{file}").st_size for file in files]
    except FileNotFoundError as gone:
        file = os.path.relpath(gone.filename, root)
        raise LayoutError(f"{root}: '{file}' was indexed but is not there; index the folder again") from None


def _feed(total: "hashlib._Hash", facts: Iterable[str]) -> None:
    """Hash strings so that no two different lists give the same bytes: no name on disk holds a NUL."""
    left = iter(facts)
    while some := list(islice(left, AT_ONCE)):
        total.update("\0\0".join([*some, ""]).encode("utf-8", "surrogateescape"))
    total.update(b"\0\0\0")


def folders(root: Path) -> list[str]:
    """Names of the folders in a folder, sorted by code point, without hidden ones."""
    with _scan(str(root)) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def images(folder: Path) -> list[str]:
    """Images under a folder at any depth, relative to it, sorted by code point (whatever the locale)."""
    try:
        return sorted(_images(str(folder), ""))
    except OSError as error:
        raise LayoutError(f"{error.filename}: cannot be listed ({error.strerror}); mend or remove it") from None


def _images(folder: str, prefix: str) -> Iterator[str]:
    with _scan(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):  # such as .DS_Store and ._0001.jpg
                continue
            # The name first: asking a symbolic link for its type costs a look at the disk.
            if name.lower().endswith(IMAGE_EXTENSIONS) and entry.is_file():
                yield prefix + name
            elif entry.is_dir():
                yield from _images(f"{folder}/{name}", f"{prefix}{name}/")
            elif name.lower().endswith(IMAGE_EXTENSIONS):
                raise LayoutError(f"{folder}/{name}: a link to nothing; bring its file or remove the link")


def _scan(folder: str) -> "os._ScandirIterator[str]":
    try:
        return os.scandir(folder)
    except OSError as error:
        raise LayoutError(
            f"{folder}: cannot be listed ({error.strerror}); check the path and its permissions"
        ) from None


def lines(path: Path) -> list[str]:
    """Lines of a list file, stripped, without empty ones."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows begin a file with a byte order mark
    except FileNotFoundError:
        raise LayoutError(f"{path}: no such file; {_holds(path.parent)}; unpack the archive again") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(f"{path}: cannot be read ({error}); unpack the archive again") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def require_present(root: Path, items: Iterable[str]) -> None:
    """Raise LayoutError with the count and the first few names of the listed images that are not there."""
    if gone := absent(root, items):
        raise LayoutError(f"{root}: {len(gone)} listed images are not there ({some(gone)}); unpack the images again")


def absent(root: Path, files: Iterable[str]) -> list[str]:
    """Those of the files, relative to the root, that are not there, folder by folder."""
    listed: dict[str, list[str]] = {}
    for file in files:
        folder, _, name = file.rpartition("/")
        try:
            listed[folder].append(name)
        except KeyError:
            listed[folder] = [name]
    gone = []
    with ThreadPoolExecutor(THREADS) as pool:
        left = iter(listed.items())
        while some := list(islice(left, THREADS)):  # not the names of all folders at once: there may be millions
            held = pool.map(lambda one: _names(root / one[0]), some)
            for (folder, names), there in zip(some, held, strict=True):
                if not there.issuperset(names):
                    gone += [f"{folder}/{name}" if folder else name for name in names if name not in there]
    return gone


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()


def with_endings(root: Path, folder: str, names: Iterable[str]) -> list[str]:
    """Each name's image in a folder, with the ending that it has there; '.jpg' where it has none."""
    path = root / folder
    there = set(os.listdir(path)) if path.is_dir() else set()
    files = (next((name + end for end in ENDINGS if name + end in there), f"{name}.jpg") for name in names)
    return [f"{folder}/{file}" for file in files]


def require_all_labelled(root: Path, classes: list[str], labels: Iterable[object], split: str) -> None:
    """Raise LayoutError where a class has no image in a split."""
    empty = sorted(set(range(len(classes))) - set(labels))
    if empty:
        names = some([classes[label] for label in empty])
        raise LayoutError(f"{root}: {len(empty)} classes have no image in {split} ({names}); add images or remove them")


def some(names: list[str]) -> str:
    """The first few of many names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def unlike(root: Path, expected: str) -> LayoutError:
    """The error for a folder that is not laid out as expected: says what it holds."""
    return LayoutError(f"{root}: {_holds(root)}; expected {expected}; check the path, or name another layout")


def _holds(folder: Path) -> str:
    if not folder.exists():
        return "the folder does not exist"
    if not folder.is_dir():
        return "it is a file, not a folder"
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    return f"the folder holds {some(names)}" if names else "the folder is empty"
