"""Oxford-IIIT Pet, which pixels are the pet's (segmentation): two lists of images and one folder of trimaps.

    annotations/trainval.txt        NAME and more a line; '#' starts a comment line
    annotations/test.txt            the same
    annotations/trimaps/NAME.png    1 pet, 2 background; 3 (not classified: the pet's border) does not count
    images/NAME.jpg

There is no official val split.
"""

from pathlib import Path

from suite.index import Index, Split, lines, unlike, with_endings
from suite.pairs import require_pairs

KIND = "segmentation"
EXPECTED = "annotations/trainval.txt, annotations/test.txt, annotations/trimaps/ and images/"
LISTS = {"train": "trainval.txt", "test": "test.txt"}
CLASSES = {1: "pet", 2: "background"}
VOID = 3


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    held = root / "annotations"
    return (held / "trainval.txt").is_file() and (held / "trimaps").is_dir() and (root / "images").is_dir()


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    if not recognise(root):
        raise unlike(root, EXPECTED)
    splits = {split: _split(root, file) for split, file in LISTS.items()}
    return require_pairs(root, Index(KIND, list(CLASSES.values()), splits, list(CLASSES), void=[VOID]))


def _split(root: Path, file: str) -> Split:
    names = [line.split()[0] for line in lines(root / "annotations" / file) if not line.startswith("#")]
    return Split(with_endings(root, "images", names), [f"annotations/trimaps/{name}.png" for name in names])
