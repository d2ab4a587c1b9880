"""Oxford-IIIT Pet, which pixels are the pet's (segmentation): two lists of images and one folder of trimaps.

    annotations/trainval.txt        NAME and more a line; '#' starts a comment line
    annotations/test.txt            the same
    annotations/trimaps/NAME.png    1 pet, 2 background; 3 (not classified: the pet's border) does not count
    images/NAME.jpg

The root is that folder, or the one that holds torchvision's oxford-iiit-pet/. There is no official val split.
"""

from pathlib import Path

from suite import inner
from suite.index import Index, Split, lines, with_endings
from suite.layouts.pets import FOLDERS, LISTS
from suite.pairs import require_pairs

KIND = "segmentation"
EXPECTED = "annotations/trainval.txt, annotations/test.txt, annotations/trimaps/ and images/"
CLASSES = {1: "pet", 2: "background"}
VOID = 3


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return _prefix(root) is not None


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    prefix = inner.required(root, _prefix(root), EXPECTED)
    splits = {split: _split(root, prefix, file) for split, file in LISTS.items()}
    return require_pairs(root, Index(KIND, list(CLASSES.values()), splits, list(CLASSES), void=[VOID]))


def _prefix(root: Path) -> str | None:
    return inner.prefix(root, FOLDERS, lambda folder: _lies(folder / "annotations") and (folder / "images").is_dir())


def _lies(annotations: Path) -> bool:
    return (annotations / "trainval.txt").is_file() and (annotations / "trimaps").is_dir()


def _split(root: Path, prefix: str, file: str) -> Split:
    names = [line.split()[0] for line in lines(root / prefix / "annotations" / file) if not line.startswith("#")]
    masks = [f"{prefix}annotations/trimaps/{name}.png" for name in names]
    return Split(with_endings(root, f"{prefix}images", names), masks)
