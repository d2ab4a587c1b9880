"""ADE20K as the scene parsing challenge has it, the class of each pixel (segmentation): 150 classes.

    [ADEChallengeData2016/]objectInfo150.txt                    Idx<tab>Ratio<tab>Train<tab>Val<tab>Name, a class a line
    [ADEChallengeData2016/]images/training/NAME.jpg
    [ADEChallengeData2016/]images/validation/NAME.jpg           the test split: test has no published annotations
    [ADEChallengeData2016/]annotations/training/NAME.png        1, 2, 3 ... the classes; 0 does not count
    [ADEChallengeData2016/]annotations/validation/NAME.png

A class is called by the first of its names.
"""

from pathlib import Path

from suite.index import Index, LayoutError, lines, some, unlike
from suite.pairs import by_name, paired, require_folders, require_pairs

KIND = "segmentation"
NAMES = "objectInfo150.txt"
EXPECTED = f"[ADEChallengeData2016/]{NAMES}, images/training/, annotations/training/ and the same of validation/"
SPLITS = {"train": "training", "test": "validation"}
VOID = 0


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return _inner(root) is not None


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    inner = _inner(root)
    if inner is None:
        raise unlike(root, EXPECTED)
    folders = {split: (f"{inner}images/{name}", f"{inner}annotations/{name}") for split, name in SPLITS.items()}
    require_folders(root, (folder for both in folders.values() for folder in both), EXPECTED)
    splits = {split: paired(root, *(by_name(root, folder) for folder in both)) for split, both in folders.items()}
    names = _names(root / inner / NAMES)
    return require_pairs(root, Index(KIND, names, splits, list(range(1, len(names) + 1)), void=[VOID]))


def _inner(root: Path) -> str | None:
    """The challenge's folder, relative to the root and with a '/', or '' where the root is it."""
    for inner in ("", "ADEChallengeData2016/"):
        if (root / inner / NAMES).is_file() and (root / inner / "annotations").is_dir():
            return inner
    return None


def _names(path: Path) -> list[str]:
    rows = [[word.strip() for word in line.split("\t")] for line in lines(path)[1:]]
    odd = ["\t".join(row) for number, row in enumerate(rows, 1) if len(row) != 5 or row[0] != str(number)]
    if odd or not rows:
        told = f"{len(odd)} lines are not so ({some(odd)})" if odd else "it names no class"
        raise LayoutError(
            f"{path}: {told}; expected Idx<tab>Ratio<tab>Train<tab>Val<tab>Name, Idx 1, 2, 3 ...; unpack it again"
        )
    return [row[4].split(",")[0] for row in rows]
