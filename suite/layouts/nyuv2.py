"""NYU Depth v2, the surface normal of each pixel (normals).

    train.txt                   an id a line
    test.txt
    train/rgb/ID.jpg            or .jpeg, .png
    train/normals/ID.png
    test/rgb/, test/normals/    the same

A normal is three channels of 8 bits, n = value / 127.5 - 1: x to the right, y down, z forward, so that what is seen has
z < 0, of length 1 up to rounding. (0, 0, 0) is a pixel without one, which does not count. There is no official val.
"""

from pathlib import Path

from suite.index import Index, Split, lines, unlike, with_endings
from suite.pairs import require_pairs

KIND = "normals"
EXPECTED = "train.txt, test.txt, train/rgb/, train/normals/, test/rgb/ and test/normals/"
SPLITS = ("train", "test")


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    held = root / "train"
    return (root / "train.txt").is_file() and (held / "rgb").is_dir() and (held / "normals").is_dir()


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    if not recognise(root):
        raise unlike(root, EXPECTED)
    return require_pairs(root, Index(KIND, [], {split: _split(root, split) for split in SPLITS}))


def _split(root: Path, split: str) -> Split:
    names = lines(root / f"{split}.txt")
    return Split(with_endings(root, f"{split}/rgb", names), [f"{split}/normals/{name}.png" for name in names])
