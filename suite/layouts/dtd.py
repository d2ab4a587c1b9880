"""Describable Textures (DTD), its first split: three lists of images, whose folders are the classes.

    labels/train1.txt           CLASS/NAME.jpg
    labels/val1.txt             the same; an official val split
    labels/test1.txt            the same
    images/CLASS/NAME.jpg

Classes are the folder names in train1.txt, sorted. Splits 2 to 10 of the original are not read.
"""

from pathlib import Path

from suite.index import Index, LayoutError, Split, lines, require_present, some, unlike

KIND = "classification"
EXPECTED = "labels/train1.txt, labels/val1.txt, labels/test1.txt and images/"
SPLITS = ("train", "val", "test")


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return (root / "labels" / "train1.txt").is_file() and (root / "images").is_dir()


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    if not recognise(root):
        raise unlike(root, EXPECTED)
    listed = {split: lines(root / "labels" / f"{split}1.txt") for split in SPLITS}
    classes = sorted({_folder(item) for item in listed["train"]})
    splits = {split: _split(root, split, listed[split], classes) for split in SPLITS}
    require_present(root, [item for split in splits.values() for item in split.items])
    return Index(KIND, classes, splits)


def _split(root: Path, split: str, listed: list[str], classes: list[str]) -> Split:
    known = {label: number for number, label in enumerate(classes)}
    unknown = sorted({_folder(item) for item in listed} - set(classes))
    if unknown or not listed:
        found = f"names classes that train1.txt has not ({some(unknown)})" if unknown else "is empty"
        raise LayoutError(f"{root}: labels/{split}1.txt {found}; expected CLASS/NAME.jpg lines; unpack the lists again")
    return Split([f"images/{item}" for item in listed], [known[_folder(item)] for item in listed])


def _folder(item: str) -> str:
    return item.partition("/")[0]
