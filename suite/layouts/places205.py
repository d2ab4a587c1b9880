"""Places205: two lists of images with the class's number, and one folder of images.

    [trainvalsplit_places205/]train_places205.csv       a/abbey/NAME.jpg LABEL a line, LABEL from 0
    [trainvalsplit_places205/]val_places205.csv         the test split: the labels of test were never published
    data/vision/torralba/deeplearning/images256/        as imagesPlaces205_resize.tar.gz has them; or images256/, or
        a/abbey/NAME.jpg                                images/, or a/, b/ ... in the root

A class is called by its folder without the letter, such as abbey or apartment_building/outdoor.
"""

from collections.abc import Iterator
from pathlib import Path

from suite.index import Index, LayoutError, Split, require_all_labelled, require_present, some, unlike

KIND = "classification"
EXPECTED = (
    "[trainvalsplit_places205/]train_places205.csv and val_places205.csv, and the images in "
    "data/vision/torralba/deeplearning/images256/, images256/ or images/"
)
SPLITS = {"train": "train", "test": "val"}
LISTS = ("trainvalsplit_places205/", "")
IMAGES = ("data/vision/torralba/deeplearning/images256/", "images256/", "images/", "")


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return _lists(root) is not None


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    lists = _lists(root)
    images = next((folder for folder in IMAGES if (root / folder / "a").is_dir()), None)
    if lists is None or images is None:
        raise unlike(root, EXPECTED)
    names: dict[int, str] = {}
    splits = {split: _split(root / lists / f"{name}_places205.csv", images, names) for split, name in SPLITS.items()}
    if gaps := [str(number) for number in range(len(names)) if number not in names]:
        raise LayoutError(f"{root / lists}: no image has the labels {some(gaps)}; expected all of 0, 1 ...; unpack it")
    classes = [names[number] for number in range(len(names))]
    require_all_labelled(root, classes, splits["train"].labels, "train_places205.csv")
    for held in splits.values():
        require_present(root, held.items)
    return Index(KIND, classes, splits)


def _lists(root: Path) -> str | None:
    names = [f"{name}_places205.csv" for name in SPLITS.values()]
    return next((folder for folder in LISTS if all((root / folder / name).is_file() for name in names)), None)


def _split(path: Path, images: str, names: dict[int, str]) -> Split:
    """A list's split; `names` gets the names of its labels."""
    items, labels = [], []
    for item, label in _rows(path):
        if label not in names:
            names[label] = item.partition("/")[2].rpartition("/")[0]
        items.append(images + item)
        labels.append(label)
    if not items:
        raise LayoutError(f"{path}: no line; expected a/abbey/NAME.jpg LABEL; unpack it again")
    return Split(items, labels)


def _rows(path: Path) -> Iterator[tuple[str, int]]:
    """Image and label, a line at a time: there are millions."""
    try:
        with path.open(encoding="utf-8") as file:
            for line in filter(str.strip, file):
                item, _, number = line.strip().lstrip("/").rpartition(" ")
                if not number.isdecimal() or "/" not in item:
                    raise LayoutError(
                        f"{path}: line {line.strip()!r}; expected a/abbey/NAME.jpg LABEL; unpack it again"
                    )
                yield item, int(number)
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(f"{path}: cannot be read ({error}); unpack the archive again") from None
