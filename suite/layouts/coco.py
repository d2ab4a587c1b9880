"""COCO, the boxes and masks of objects (detection).

    annotations/instances_train2017.json    or any other ending than 2017, the same in all names; it may be empty
    annotations/instances_val2017.json      without a file for test it is the test split, and there is no val split
    annotations/instances_test2017.json     optional; COCO's own test has no published annotations
    train2017/*.jpg
    val2017/*.jpg

Classes are in the order of their categories' ids. Images without annotations are kept.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Container, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from suite.index import Index, LayoutError, Split, Thing, require_present, require_tested, some, unlike

KIND = "detection"
LARGEST = 1 << 53  # of the whole numbers that are taken for coordinates
EXPECTED = "annotations/instances_train2017.json and instances_val2017.json (or another ending, the same in both)"
PARTS = ("images", "annotations", "categories")
HELD_OUT = ("val", "test")


class Part(NamedTuple):
    """One file's lists, each entry a dict; the file for messages."""

    path: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: dict[int, str]


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return bool(_endings(root))


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    endings = _endings(root)
    if not endings:
        raise unlike(root, EXPECTED)
    if len(endings) > 1:
        raise LayoutError(
            f"{root}: annotations/ holds instances_train and instances_val for {some(endings)}; expected one of them; "
            "move the others out"
        )
    (ending,) = endings
    names = [name for name in ("train", *HELD_OUT) if _file(root, name, ending).is_file()]
    dropped: Counter[str] = Counter()
    splits: dict[str, Split] = {}
    categories: dict[int, str] = {}
    for name in names:
        part = _read(_file(root, name, ending))
        categories = categories or part.categories
        if part.categories != categories:
            odd = sorted(f"{number} {label}" for number, label in part.categories.items() ^ categories.items())
            raise LayoutError(
                f"{part.path}: {len(part.categories)} categories, not the {len(categories)} of "
                f"{_file(root, names[0], ending).name} ({some(odd)}); expected the same; unpack both again"
            )
        splits[name] = _split(part, f"{name}{ending}", dropped)  # a file at a time: COCO's own are large
    require_present(root, [item for split in splits.values() for item in split.items])
    if "test" not in splits:
        splits["test"] = splits.pop("val")
    numbers = sorted(categories)
    found = Index(KIND, [categories[number] for number in numbers], splits, numbers, dict(dropped))
    return require_tested(root, found)


def _endings(root: Path) -> list[str]:
    """What stands after "instances_train" in the files' names: "2017"."""
    found = [path.stem.removeprefix("instances_train") for path in root.glob("annotations/instances_train*.json")]
    return sorted(ending for ending in found if any(_file(root, name, ending).is_file() for name in HELD_OUT))


def _file(root: Path, name: str, ending: str) -> Path:
    return root / "annotations" / f"instances_{name}{ending}.json"


# ---- one file


def _read(path: Path) -> Part:
    try:
        with path.open("rb") as file:
            whole = json.load(file)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise LayoutError(f"{path}: not JSON ({error}); expected COCO's instances; unpack it again") from None
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    held: dict[str, Any] = whole if isinstance(whole, dict) else {}
    wrong = [name for name in PARTS if not isinstance(held.get(name), list)]
    if wrong:
        found = f"its keys are {some(sorted(held)) or 'none'}" if held else f"it is a {type(whole).__name__}"
        raise LayoutError(
            f"{path}: not COCO: no list {' and no list '.join(wrong)} ({found}); expected an object with the lists "
            f"{', '.join(PARTS)}; name the file with the instances"
        )
    for name in PARTS:
        _require(path, name, held[name], lambda row: isinstance(row, dict), "a JSON object each")
    if not held["images"] or not held["categories"]:
        empty = "images" if not held["images"] else "categories"
        raise LayoutError(f"{path}: its list {empty} is empty; expected one entry or more; unpack it again")
    return Part(path, held["images"], held["annotations"], _categories(path, held["categories"]))


def _categories(path: Path, rows: list[dict[str, Any]]) -> dict[int, str]:
    _require(path, "categories", rows, _is_category, "a whole-number id and a name")
    _require_once(path, "category ids", [row["id"] for row in rows])
    _require_once(path, "category names", [row["name"] for row in rows])
    return {row["id"]: row["name"] for row in rows}


def _split(part: Part, folder: str, dropped: Counter[str]) -> Split:
    path = part.path
    _require(path, "images", part.images, _is_image, "a whole-number id, a file_name, and width and height above 0")
    ids = [image["id"] for image in part.images]
    _require_once(path, "image ids", ids)
    _require_once(path, "file names", [image["file_name"] for image in part.images])
    _require(
        path,
        "annotations",
        part.annotations,
        _is_annotation,
        "image_id, category_id, a bbox of four numbers, and a segmentation that is polygons or a run-length code",
    )
    _require_once(path, "annotation ids", [one["id"] for one in part.annotations if "id" in one])
    sizes = {image["id"]: (image["width"], image["height"]) for image in part.images}
    _require_listed(path, "image_id", part.annotations, sizes, "images")
    _require_listed(path, "category_id", part.annotations, part.categories, "categories")
    labels = {number: label for label, number in enumerate(sorted(part.categories))}
    things: dict[int, list[Thing]] = {number: [] for number in ids}
    for one in part.annotations:
        thing = _thing(one, labels[one["category_id"]])
        left, top, right, bottom = thing.box
        width, height = sizes[one["image_id"]]
        if right <= left or bottom <= top:
            dropped["zero area"] += 1
        elif right <= 0 or bottom <= 0 or left >= width or top >= height:
            dropped["outside the image"] += 1
        else:
            things[one["image_id"]].append(thing)
    items = [f"{folder}/{image['file_name']}" for image in part.images]
    return Split(items, [things[number] for number in ids], [sizes[number] for number in ids], ids)


def _thing(one: dict[str, Any], label: int) -> Thing:
    left, top, width, height = map(float, one["bbox"])
    area: Any = one.get("area")
    return Thing(
        label,
        (left, top, left + width, top + height),
        crowd=bool(one.get("iscrowd")),
        area=float(area) if _is_number(area) else width * height,
        mask=_mask(one.get("segmentation")),
    )


def _mask(found: Any) -> Any:
    """A segmentation, without polygons of less than three points."""
    if isinstance(found, list):
        found = [polygon for polygon in found if len(polygon) >= 6]
    return found or None


# ---- what an entry must have


def _is_category(row: dict[str, Any]) -> bool:
    return type(row.get("id")) is int and type(row.get("name")) is str


def _is_image(row: dict[str, Any]) -> bool:
    sized = all(type(row.get(side)) is int and row[side] > 0 for side in ("width", "height"))
    return sized and type(row.get("id")) is int and type(row.get("file_name")) is str


def _is_annotation(row: dict[str, Any]) -> bool:
    box, mask = row.get("bbox"), row.get("segmentation")
    boxed = type(box) is list and len(box) == 4 and all(map(_is_number, box))
    if type(mask) is dict:
        masked = type(mask.get("counts")) in (list, str) and type(mask.get("size")) is list
    else:
        masked = mask is None or (type(mask) is list and all(map(_is_polygon, mask)))
    return boxed and masked and type(row.get("image_id")) is int and type(row.get("category_id")) is int


def _is_polygon(points: Any) -> bool:
    return type(points) is list and len(points) % 2 == 0 and all(map(_is_number, points))


def _is_number(value: Any) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < LARGEST)


def _require(path: Path, name: str, rows: list[Any], fits: Callable[[Any], bool], expected: str) -> None:
    odd = [number for number, row in enumerate(rows) if not fits(row)]
    if odd:
        shown = json.dumps(rows[odd[0]])
        raise LayoutError(
            f"{path}: {len(odd)} of {len(rows)} {name} are not as COCO's (the first, {name}[{odd[0]}]: {shown[:120]}); "
            f"expected {expected}; mend or remove them"
        )


def _require_once(path: Path, what: str, values: Sequence[Hashable]) -> None:
    if len(set(values)) == len(values):
        return
    twice = [str(value) for value, count in Counter(values).items() if count > 1]
    raise LayoutError(f"{path}: {len(twice)} {what} stand there twice ({some(twice)}); expected each once; mend it")


def _require_listed(path: Path, key: str, rows: list[dict[str, Any]], known: Container[int], name: str) -> None:
    odd = [row[key] for row in rows if row[key] not in known]
    if odd:
        values = [str(value) for value in dict.fromkeys(odd)]
        raise LayoutError(
            f"{path}: {len(odd)} of {len(rows)} annotations have {key}s that are not among its {name} "
            f"({some(values)}); expected ids of {name}; complete {name} or remove the annotations"
        )
