"""PASCAL VOC, the class of each pixel (segmentation), one year.

    [VOCdevkit/]VOC2012/ImageSets/Segmentation/train.txt    a name a line; what follows it on the line is not read
    [VOCdevkit/]VOC2012/ImageSets/Segmentation/val.txt
    [VOCdevkit/]VOC2012/ImageSets/Segmentation/test.txt     without it, or its masks (VOC withholds them), val is tested
    [VOCdevkit/]VOC2012/JPEGImages/NAME.jpg                 or .jpeg, .png
    [VOCdevkit/]VOC2012/SegmentationClass/NAME.png          0 background, 1, 2 ... the classes; 255 does not count

    [VOCdevkit/]VOC2012/ImageSets/Segmentation/trainaug.txt or train_aug.txt; or aug.txt, with what train.txt has not
    [VOCdevkit/]VOC2012/SegmentationClassAug/NAME.png       masks of SBD

With the last two, training is on those lists: a mask is SegmentationClassAug/'s, or where that has none
SegmentationClass/'s; val and test are always the latter's. The root may be the year's folder, VOCdevkit/ or the folder
that holds either. Without train.txt, training is on trainval.txt, given that a test list is used. Classes are VOC's 21,
or "background" and the lines of classes.txt (in ImageSets/Segmentation, the year or the root).
"""

from pathlib import Path, PurePosixPath

from suite.index import Index, LayoutError, Split, lines, with_endings
from suite.layouts import voc
from suite.pairs import classes, require_pairs

KIND = "segmentation"
EXPECTED = "[VOCdevkit/]VOC2012/SegmentationClass/ and ImageSets/Segmentation/train.txt (or another year's)"
LISTS = ("train", "val", "trainval", "test")
MASKS, MORE_MASKS = "SegmentationClass", "SegmentationClassAug"
AUGMENTED = (("trainaug",), ("train_aug",), ("train", "aug"))  # the first whose lists are all there
BACKGROUND = "background"
CLASSES = [
    *(BACKGROUND, "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
]
VOID = 255


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return bool(voc.years(root, _is_year))


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    year = root / voc.year(root, _is_year, EXPECTED)
    names = _classes(root, year)
    splits = {split: _split(root, year, *held) for split, held in _listed(year).items()}
    return require_pairs(root, Index(KIND, names, splits, list(range(len(names))), void=[VOID]))


def _is_year(folder: Path) -> bool:
    return (folder / MASKS).is_dir() and any(_list(folder, name).is_file() for name in LISTS)


def _list(year: Path, name: str) -> Path:
    return year / "ImageSets" / "Segmentation" / f"{name}.txt"


def _listed(year: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Split -> the names of its images, and the folders of masks of which the first that has one counts."""
    held = {name: _names(_list(year, name)) for name in LISTS if _list(year, name).is_file()}
    there = {path.stem for path in (year / MASKS).iterdir()}
    tested = "test" in held and ("val" not in held or any(name in there for name in held["test"]))
    test, train = "test" if tested else "val", "train"
    if train not in held and tested:
        train = "trainval"  # which holds val
    found = {"train": (held.get(train, []), [MASKS]), "test": (held.get(test, []), [MASKS])}
    if tested and train != "trainval" and "val" in held:
        found["val"] = (held["val"], [MASKS])
    if (year / MORE_MASKS).is_dir() and (more := _augmented(year)):
        found["train"] = (more, [MORE_MASKS, MASKS])
    if empty := [split for split, (names, _) in found.items() if not names]:
        lists = ", ".join(f"{name}.txt" for name in held)
        raise LayoutError(
            f"{year}: no list for the {empty[0]} split: ImageSets/Segmentation has {lists}; expected train.txt with "
            "val.txt or test.txt, or trainval.txt with test.txt, and names in them; unpack the lists again"
        )
    return found


def _augmented(year: Path) -> list[str]:
    for lists in AUGMENTED:
        if all(_list(year, name).is_file() for name in lists):
            return [name for held in lists for name in _names(_list(year, held))]
    return []


def _names(path: Path) -> list[str]:
    """A list's names; some lists of SBD have '/JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png' for each."""
    words = (line.split()[0] for line in lines(path))
    return [PurePosixPath(word).stem if "/" in word else word for word in words]


def _split(root: Path, year: Path, names: list[str], folders: list[str]) -> Split:
    inner = year.relative_to(root)
    there = {folder: {path.stem for path in (year / folder).iterdir()} for folder in folders}
    used = [next((folder for folder in folders if name in there[folder]), folders[0]) for name in names]
    masks = [(inner / folder / f"{name}.png").as_posix() for folder, name in zip(used, names, strict=True)]
    return Split(with_endings(root, (inner / "JPEGImages").as_posix(), names), masks)


def _classes(root: Path, year: Path) -> list[str]:
    for folder in (year / "ImageSets" / "Segmentation", year, root):
        if (folder / "classes.txt").is_file():
            return classes(folder / "classes.txt", BACKGROUND)
    return CLASSES
