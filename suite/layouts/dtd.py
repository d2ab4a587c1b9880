"""Describable Textures (DTD), its first split: three lists of images, whose folders are the classes.

    labels/train1.txt           CLASS/NAME.jpg
    labels/val1.txt             the same; an official val split
    labels/test1.txt            the same
    images/CLASS/NAME.jpg

The root is that folder, or one that holds it as dtd/ or, as torchvision's, dtd/dtd/. Classes are the folder names in
train1.txt, sorted. Splits 2 to 10 of the original are not read.
"""

from pathlib import Path

from suite import inner
from suite.index import Index, LayoutError, Split, lines, require_present, some

KIND = "classification"
EXPECTED = "labels/train1.txt, labels/val1.txt, labels/test1.txt and images/"
FOLDERS = ("dtd", "dtd/dtd")
SPLITS = ("train", "val", "test")


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return _prefix(root) is not None


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    prefix = inner.required(root, _prefix(root), EXPECTED)
    listed = {split: lines(root / prefix / "labels" / f"{split}1.txt") for split in SPLITS}
    classes = sorted({_folder(item) for item in listed["train"]})
    splits = {split: _split(root, prefix, split, listed[split], classes) for split in SPLITS}
    require_present(root, [item for split in splits.values() for item in split.items])
    return Index(KIND, classes, splits)


def _prefix(root: Path) -> str | None:
    return inner.prefix(
        root, FOLDERS, lambda folder: (folder / "labels" / "train1.txt").is_file() and (folder / "images").is_dir()
    )


def _split(root: Path, prefix: str, split: str, listed: list[str], classes: list[str]) -> Split:
    known = {label: number for number, label in enumerate(classes)}
    unknown = sorted({_folder(item) for item in listed} - set(classes))
    if unknown or not listed:
        found = f"names classes that train1.txt has not ({some(unknown)})" if unknown else "is empty"
        raise LayoutError(f"{root}: labels/{split}1.txt {found}; expected CLASS/NAME.jpg lines; unpack the lists again")
    return Split([f"{prefix}images/{item}" for item in listed], [known[_folder(item)] for item in listed])


def _folder(item: str) -> str:
    return item.partition("/")[0]
