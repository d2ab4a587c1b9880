"""Oxford Flowers-102: one folder of images, their classes and their splits in MAT-files.

    imagelabels.mat             labels: for image 1, 2, 3 ... its class, from 1
    setid.mat                   trnid, valid, tstid: the images' numbers of train, val (official) and test
    jpg/image_00001.jpg

The root is that folder, or the one that holds flowers-102/. The classes' names are in none of the files: here they are
the numbers, "1" to "102".
"""

from pathlib import Path

from suite import inner, matfile
from suite.index import Index, LayoutError, Split, require_all_labelled, require_present, some

KIND = "classification"
EXPECTED = "imagelabels.mat, setid.mat and jpg/"
FOLDERS = ("flowers-102",)
SPLITS = {"train": "trnid", "val": "valid", "test": "tstid"}


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return _prefix(root) is not None


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    prefix = inner.required(root, _prefix(root), EXPECTED)
    labels = matfile.read(root / prefix / "imagelabels.mat").numbers("labels")
    ids = matfile.read(root / prefix / "setid.mat")
    classes = [str(number) for number in range(1, max(labels, default=0) + 1)]
    splits = {split: _split(root, prefix, ids.numbers(name), labels) for split, name in SPLITS.items()}
    for split, rows in splits.items():
        require_all_labelled(root, classes, rows.labels, split)
    require_present(root, [item for split in splits.values() for item in split.items])
    return Index(KIND, classes, splits)


def _prefix(root: Path) -> str | None:
    return inner.prefix(root, FOLDERS, lambda folder: (folder / "setid.mat").is_file() and (folder / "jpg").is_dir())


def _split(root: Path, prefix: str, numbers: list[int], labels: list[int]) -> Split:
    if bad := [str(number) for number in numbers if not 1 <= number <= len(labels) or labels[number - 1] < 1]:
        raise LayoutError(
            f"{root}: setid.mat names {len(bad)} images that imagelabels.mat has no class of ({some(bad)}; it has "
            f"{len(labels)}); bring both files again"
        )
    return Split(
        [f"{prefix}jpg/image_{number:05d}.jpg" for number in numbers], [labels[number - 1] - 1 for number in numbers]
    )
