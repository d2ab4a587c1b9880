"""Tiny ImageNet: one folder a class for train, one folder and a list for val.

    wnids.txt                       the classes, one a line
    train/WNID/images/*.JPEG
    val/images/val_N.JPEG
    val/val_annotations.txt         val_N.JPEG WNID and a box, between tabs

The labels of test/ were never published: val is the test split, and there is no val split. Classes are the wnids,
sorted.
"""

from pathlib import Path

from suite.index import (
    Index,
    LayoutError,
    Split,
    folders,
    images,
    lines,
    require_all_labelled,
    require_present,
    some,
    unlike,
)

KIND = "classification"
EXPECTED = "wnids.txt, train/WNID/images/ and val/val_annotations.txt"


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return (root / "wnids.txt").is_file() and (root / "train").is_dir()


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    if not recognise(root):
        raise unlike(root, EXPECTED)
    classes = sorted(set(lines(root / "wnids.txt")))
    splits = {"train": _train(root, classes), "test": _val(root, classes)}
    return Index(KIND, classes, splits)


def _train(root: Path, classes: list[str]) -> Split:
    present = folders(root / "train")
    if present != classes:
        odd = sorted(set(present) ^ set(classes))
        raise LayoutError(
            f"{root}: train/ has {len(present)} classes and wnids.txt {len(classes)}, "
            f"not the same ({some(odd)}); expected a folder a line; unpack the archive again"
        )
    items: list[str] = []
    labels: list[int] = []
    for label, wnid in enumerate(classes):
        found = images(root / "train" / wnid)
        items += [f"train/{wnid}/{image}" for image in found]
        labels += [label] * len(found)
    require_all_labelled(root, classes, labels, "train/")
    return Split(items, labels)


def _val(root: Path, classes: list[str]) -> Split:
    known = {wnid: label for label, wnid in enumerate(classes)}
    path = root / "val" / "val_annotations.txt"
    rows = [line.split("\t") for line in lines(path)]
    bad = ["\t".join(row) for row in rows if len(row) < 2 or row[1] not in known]
    if bad or not rows:
        raise LayoutError(
            f"{path}: {f'line {bad[0]!r}' if bad else 'no line'}; expected IMAGE<tab>WNID; unpack it again"
        )
    items = [f"val/images/{row[0]}" for row in rows]
    require_present(root, items)
    return Split(items, [known[row[1]] for row in rows])
