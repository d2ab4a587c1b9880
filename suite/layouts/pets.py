"""Oxford-IIIT Pet: two lists of images with the breed's number, and one folder of images.

    annotations/trainval.txt    NAME CLASS-ID SPECIES BREED-ID; '#' starts a comment line
    annotations/test.txt        the same
    images/NAME.jpg             NAME is BREED_NUMBER, such as yorkshire_terrier_12

Class ids count from 1; class names are what NAME says before its number. There is no official val split.
"""

from pathlib import Path

from suite.index import Index, LayoutError, Split, lines, require_all_labelled, require_present, unlike

KIND = "classification"
EXPECTED = "annotations/trainval.txt, annotations/test.txt and images/"
LISTS = {"train": "trainval.txt", "test": "test.txt"}


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return (root / "annotations" / "trainval.txt").is_file() and (root / "images").is_dir()


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    if not recognise(root):
        raise unlike(root, EXPECTED)
    breeds: dict[int, str] = {}
    splits = {split: _split(root / "annotations" / file, breeds) for split, file in LISTS.items()}
    if sorted(breeds) != list(range(1, len(breeds) + 1)):
        raise LayoutError(f"{root}: class ids are {sorted(breeds)}; expected 1, 2, 3 ... without a gap; mend the lists")
    classes = [breeds[number] for number in sorted(breeds)]
    require_all_labelled(root, classes, splits["train"].labels, LISTS["train"])
    require_present(root, [item for split in splits.values() for item in split.items])
    return Index(KIND, classes, splits)


def _split(path: Path, breeds: dict[int, str]) -> Split:
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
        items.append(f"images/{name}.jpg")
        labels.append(int(number) - 1)
    return Split(items, labels)
