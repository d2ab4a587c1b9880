"""iNaturalist as its competitions of 2018 and 2019 have it: a list a split, and one folder of images.

    train2018.json                              images, annotations and categories; or another year's, the same in both
    val2018.json                                the test split: the labels of test2018/ were never published
    train_val2018/GROUP/CATEGORY/NAME.jpg       as the lists name them

Classes are the categories in the order of their ids, called by their names (which the first release obfuscated).
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from suite.index import Index, LayoutError, Split, require_all_labelled, require_present, some, unlike

KIND = "classification"
EXPECTED = "train2018.json, val2018.json (or another year's) and train_val2018/"
SPLITS = {"train": "train", "test": "val"}
PARTS_OF_A_LIST = ("images", "annotations", "categories")
YEAR = re.compile(r"train(20\d\d)\.json")


class Listed(NamedTuple):
    """One file's lists, without what is not needed of them."""

    path: Path
    images: list[tuple[int, str]]  # id, file
    annotations: list[tuple[int, int]]  # image's id, category's id
    categories: dict[int, str]


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return bool(_years(root))


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    years = _years(root)
    if not years:
        raise unlike(root, EXPECTED)
    if len(years) > 1:
        raise LayoutError(f"{root}: holds the lists of {some(years)}; expected one year; move the others out")
    categories: dict[int, str] = {}
    splits: dict[str, Split] = {}
    for split, name in SPLITS.items():
        listed = _read(root / f"{name}{years[0]}.json")  # one at a time: they are large
        categories = categories or listed.categories
        if listed.categories != categories:
            odd = sorted(str(label) for _, label in listed.categories.items() ^ categories.items())
            raise LayoutError(
                f"{listed.path}: other categories than train{years[0]}.json has ({some(odd)}); expected the same; "
                "unpack both again"
            )
        splits[split] = _split(listed)
    numbers = sorted(categories)
    classes = [categories[number] for number in numbers]
    require_all_labelled(root, classes, splits["train"].labels, f"train{years[0]}.json")
    for held in splits.values():
        require_present(root, held.items)
    return Index(KIND, classes, splits, numbers)


def _years(root: Path) -> list[str]:
    found = [YEAR.fullmatch(path.name) for path in root.glob("train20*.json")]
    return sorted(year[1] for year in found if year and (root / f"val{year[1]}.json").is_file())


def _read(path: Path) -> Listed:
    try:
        with path.open(encoding="utf-8") as file:
            whole = json.load(file, object_hook=_needed)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise LayoutError(f"{path}: not JSON ({error}); expected iNaturalist's list; unpack it again") from None
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    held: dict[str, Any] = whole if isinstance(whole, dict) else {}
    for part in PARTS_OF_A_LIST:
        rows = held.get(part)
        if not isinstance(rows, list) or not rows or not all(_is_pair(row, part) for row in rows):
            found = f"its keys are {some(sorted(held)) or 'none'}" if rows is None else "it is empty or has odd entries"
            raise LayoutError(
                f"{path}: no list {part} as it should be ({found}); expected images with id and file_name, annotations "
                "with image_id and category_id, and categories with id and name; unpack it again"
            )
    categories = {number: str(name) for number, name in held["categories"]}
    return Listed(path, held["images"], held["annotations"], categories)


def _needed(row: dict[str, Any]) -> Any:
    """Two of an entry's many values: at a million entries the others would take gigabytes."""
    if "file_name" in row:
        return row.get("id"), row["file_name"]
    if "image_id" in row:
        return row["image_id"], row.get("category_id")
    return (row.get("id"), row["name"]) if "name" in row else row


def _is_pair(row: object, part: str) -> bool:
    second: tuple[type, ...] = {"images": (str,), "annotations": (int,), "categories": (str, int)}[part]
    return isinstance(row, tuple) and isinstance(row[0], int) and isinstance(row[1], second)


def _split(listed: Listed) -> Split:
    labels = {number: label for label, number in enumerate(sorted(listed.categories))}
    files, given = dict(listed.images), dict(listed.annotations)
    faults = {
        "categories that are not listed ({})": sorted({str(one) for one in given.values() if one not in labels}),
        "no category for {}": [file for image, file in listed.images if image not in given],
        "several images of one id ({})": _repeated(listed.images, files),
        "several categories for the images of the ids {}": _repeated(listed.annotations, given),
        "categories for images that are not listed, of the ids {}": [str(one) for one in given if one not in files],
    }
    for told, odd in faults.items():
        if odd:
            raise LayoutError(
                f"{listed.path}: {told.format(some(odd))}; expected one listed category an image; unpack it again"
            )
    return Split([file for _, file in listed.images], [labels[given[image]] for image, _ in listed.images])


def _repeated(rows: Sequence[tuple[int, object]], once: Collection[int]) -> list[str]:
    if len(once) == len(rows):
        return []
    return [str(number) for number, times in Counter(number for number, _ in rows).items() if times > 1]
