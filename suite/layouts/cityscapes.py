"""Cityscapes, the class of each pixel with its fine annotations (segmentation): the usual 19 classes.

    leftImg8bit/train/CITY/NAME_leftImg8bit.png
    leftImg8bit/val/CITY/NAME_leftImg8bit.png           the test split: the annotations of test/ are withheld
    gtFine/train/CITY/NAME_gtFine_labelIds.png          label ids 7 to 33; those of no class, and 255, do not count
    gtFine/val/CITY/NAME_gtFine_labelIds.png

The label -1 (licence plate) is 255 in a mask of 8 bits.
"""

from pathlib import Path

from suite.index import Index, unlike
from suite.pairs import by_name, paired, require_folders, require_pairs

KIND = "segmentation"
EXPECTED = "leftImg8bit/train/, leftImg8bit/val/, gtFine/train/ and gtFine/val/"
SPLITS = {"train": "train", "test": "val"}
PHOTO, MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"
CLASSES = {
    **{7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light"},
    **{20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car"},
    **{27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"},
}
VOID = [value for value in (*range(34), 255) if value not in CLASSES]


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return (root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir()


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    if not recognise(root):
        raise unlike(root, EXPECTED)
    folders = {split: (f"leftImg8bit/{name}", f"gtFine/{name}") for split, name in SPLITS.items()}
    require_folders(root, (folder for both in folders.values() for folder in both), EXPECTED)
    splits = {
        split: paired(root, by_name(root, photos, PHOTO), by_name(root, masks, MASK))
        for split, (photos, masks) in folders.items()
    }
    return require_pairs(root, Index(KIND, list(CLASSES.values()), splits, list(CLASSES), void=VOID))
