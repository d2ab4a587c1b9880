"""Oxford-IIIT Pet: two lists of images with the breed's number, and one folder of images.

    annotations/trainval.txt    NAME CLASS-ID SPECIES BREED-ID; '#' starts a comment line
    annotations/test.txt        the same
    images/NAME.jpg             NAME is BREED_NUMBER, such as yorkshire_terrier_12

The root is that folder, or the one that holds torchvision's oxford-iiit-pet/. Class ids count from 1; class names are
what NAME says before its number. There is no official val split.
"""

from pathlib import Path

from suite import inner
from suite.index import Index, LayoutError, Split, lines, require_all_labelled, require_present

KIND = "classification"
EXPECTED = "annotations/trainval.txt, annotations/test.txt and images/"
FOLDERS = ("oxford-iiit-pet",)
LISTS = {"train": "trainval.txt", "test": "test.txt"}


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return _prefix(root) is not None


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    prefix = inner.required(root, _prefix(root), EXPECTED)
    breeds: dict[int, str] = {}
    splits = {split: _split(root, prefix, file, breeds) for split, file in LISTS.items()}
    if sorted(breeds) != list(range(1, len(breeds) + 1)):
        raise LayoutError(f"{root}: class ids are {sorted(breeds)}; expected 1, 2, 3 ... without a gap; mend the lists")
    classes = [breeds[number] for number in sorted(breeds)]
    require_all_labelled(root, classes, splits["train"].labels, LISTS["train"])
    require_present(root, [item for split in splits.values() for item in split.items])
    return Index(KIND, classes, splits)


def _prefix(root: Path) -> str | None:
    return inner.prefix(
        root,
        FOLDERS,
        lambda folder: (folder / "annotations" / "trainval.txt").is_file() and (folder / "images").is_dir(),
    )


def _split(root: Path, prefix: str, file: str, breeds: dict[int, str]) -> Split:
    path = root / prefix / "annotations" / file
    items, labels = [], []
    for line in lines(path):
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(" ")
        number = rest.split(" ")[0]
        if not number.isdecimal():
            raise LayoutError(f"{path}: line '{line}'; expected NAME CLASS-ID SPECIES BREED-ID; unpack the lists again")
        breed = name.rpartition("_")[0]
        if breeds.setdefault(int(number), breed) != breed:
            raise LayoutError(
                f"{path}: class id {number} is '{breeds[int(number)]}' and '{breed}'; expected one breed an id; mend it"
            )
        items.append(f"{prefix}images/{name}.jpg")
        labels.append(int(number) - 1)
    return Split(items, labels)
