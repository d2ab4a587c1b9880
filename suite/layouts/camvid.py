"""CamVid as the SegNet tutorial has it, the class of each pixel (segmentation): 11 classes.

train.txt       IMAGE MASK a line; of each path what counts is FOLDER/NAME, its last two parts
val.txt         without test.txt it is the test split, and there is no val split
test.txt
train/NAME.png, val/NAME.png, test/NAME.png
trainannot/NAME.png, valannot/NAME.png, testannot/NAME.png      0 to 10 the classes; 11 does not count
"""

from pathlib import Path, PurePosixPath

from suite.index import Index, LayoutError, Split, lines, unlike
from suite.pairs import require_pairs

KIND = "segmentation"
EXPECTED = "train.txt, val.txt or test.txt, train/ and trainannot/ (and the same of val and test)"
CLASSES = [
    *("sky", "building", "pole", "road", "sidewalk", "tree", "sign symbol", "fence", "car", "pedestrian"),
    "bicyclist",
]
VOID = 11


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return (root / "train.txt").is_file() and (root / "train").is_dir() and (root / "trainannot").is_dir()


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    names = [name for name in ("train", "val", "test") if (root / f"{name}.txt").is_file()]
    if not recognise(root) or len(names) == 1:
        raise unlike(root, EXPECTED)
    splits = {name: _split(root / f"{name}.txt") for name in names}
    if "test" not in splits:
        splits["test"] = splits.pop("val")
    return require_pairs(root, Index(KIND, CLASSES, splits, list(range(len(CLASSES))), void=[VOID]))


def _split(path: Path) -> Split:
    rows = [[PurePosixPath(word).parts[-2:] for word in line.split()] for line in lines(path)]
    odd = [number for number, row in enumerate(rows, 1) if [len(parts) for parts in row] != [2, 2]]
    if odd:
        raise LayoutError(
            f"{path}: {len(odd)} of {len(rows)} lines are not two paths (the first is line {odd[0]}); expected "
            "FOLDER/IMAGE FOLDER/MASK; unpack or mend it"
        )
    return Split(["/".join(image) for image, _ in rows], ["/".join(mask) for _, mask in rows])
