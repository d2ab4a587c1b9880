"""EuroSAT, the colour images: ten folders of them, and no published split.

    2750/AnnualCrop/AnnualCrop_1.jpg            and nine more classes of 2,000 to 3,000 images of 64x64

The root is the folder that holds 2750/ or EuroSAT_RGB/ (as the set was published later), or the ten folders' own.

The split is as in Sariyildiz et al. 2023 (t-ReX), after Feng et al. 2022: of each class, shuffled, the first 810 images
are test, the next 540 val, and the rest train, 13,500 in all. They drew anew in each run; here one generator,
random.Random(0), gives the sorted names of each class, class by class, the numbers by which they are put in order.
"""

import random
from pathlib import Path

from suite import inner
from suite.index import Index, LayoutError, Split, images

KIND = "classification"
EXPECTED = "2750/ with ten folders, AnnualCrop/ to SeaLake/, of *.jpg"
FOLDERS = ("2750", "EuroSAT_RGB", "EuroSAT/2750")
CLASSES = [
    *("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial"),
    *("Pasture", "PermanentCrop", "Residential", "River", "SeaLake"),
]
TEST, VAL, SEED = 810, 540, 0


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return _prefix(root) is not None


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    prefix = inner.required(root, _prefix(root), EXPECTED)
    draw = random.Random(SEED)
    items: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    labels: dict[str, list[int]] = {split: [] for split in items}
    for label, name in enumerate(CLASSES):
        found = [f"{prefix}{name}/{image}" for image in images(root / prefix / name) if image.endswith(".jpg")]
        if len(found) <= TEST + VAL:
            raise LayoutError(
                f"{root}: {len(found)} images in {prefix}{name}/; expected 2000 to 3000 *.jpg, of which {TEST} are "
                f"tested and {VAL} validated; unpack EuroSAT.zip again (the *.tif of all bands are not read)"
            )
        shuffled = sorted(found, key=lambda _: draw.random())  # which draws the same in all of Python's versions
        for split, part in _parts(shuffled).items():
            items[split] += part
            labels[split] += [label] * len(part)
    return Index(KIND, list(CLASSES), {split: Split(items[split], labels[split]) for split in items})


def _prefix(root: Path) -> str | None:
    return inner.prefix(root, FOLDERS, lambda folder: all((folder / name).is_dir() for name in CLASSES))


def _parts(shuffled: list[str]) -> dict[str, list[str]]:
    return {"train": shuffled[TEST + VAL :], "val": shuffled[TEST : TEST + VAL], "test": shuffled[:TEST]}
