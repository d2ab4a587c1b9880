"""Places205: two lists of images with the class's number, and one folder of images.

    [trainvalsplit_places205/]train_places205.csv       a/abbey/NAME.jpg LABEL a line, LABEL from 0
    [trainvalsplit_places205/]val_places205.csv         the test split: the labels of test were never published
    data/vision/torralba/deeplearning/images256/        as imagesPlaces205_resize.tar.gz has them; or images256/, or
        a/abbey/NAME.jpg                                images/, or a/, b/ ... in the root

A class is called by its folder without the letter, such as abbey or apartment_building/outdoor.
"""

from itertools import chain
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
    if twice := sorted({name for name in classes if classes.count(name) > 1}):
        raise LayoutError(f"{root / lists}: several labels for {some(twice)}; expected one a folder; unpack it again")
    require_all_labelled(root, classes, splits["train"].labels, "train_places205.csv")
    require_present(root, chain.from_iterable(held.items for held in splits.values()))
    return Index(KIND, classes, splits)


def _lists(root: Path) -> str | None:
    names = [f"{name}_places205.csv" for name in SPLITS.values()]
    return next((folder for folder in LISTS if all((root / folder / name).is_file() for name in names)), None)


def _split(path: Path, images: str, names: dict[int, str]) -> Split:
    """A list's split; `names` gets the names of its labels. Of its millions of lines little is done with each."""
    items: list[str] = []
    labels: list[int] = []
    known: dict[str, tuple[str, int, str]] = {}  # a line's end -> its start, its label, and the folder of its image
    unknown = ("?", 0, "")
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                start, _, rest = line.rpartition("/")
                name, _, end = rest.rpartition(" ")
                usual, label, folder = known.get(end, unknown)
                if start != usual:
                    if not line.strip():
                        continue
                    folder, name, number = _parts(path, line.strip(), names)
                    label, folder = int(number), f"{images}{folder}/"
                    known[f"{number}\n"] = start, label, folder
                items.append(folder + name)
                labels.append(label)
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(f"{path}: cannot be read ({error}); unpack the archive again") from None
    if not items:
        raise LayoutError(f"{path}: no line; expected a/abbey/NAME.jpg LABEL; unpack it again")
    return Split(items, labels)


def _parts(path: Path, line: str, names: dict[int, str]) -> tuple[str, str, str]:
    """A line's folder, image and label; `names` gets the name of that label, or has the same."""
    item, _, number = line.rpartition(" ")
    folder, _, image = item.lstrip("/").rpartition("/")
    name = folder.partition("/")[2]
    if not name or not number.isdecimal():
        raise LayoutError(f"{path}: line {line!r}; expected a/abbey/NAME.jpg LABEL; unpack it again")
    if (other := names.setdefault(int(number), name)) != name:
        raise LayoutError(
            f"{path}: line {line!r}, but another line has {number} for {other}; expected one label a folder; "
            "unpack it again"
        )
    return folder, image, number
