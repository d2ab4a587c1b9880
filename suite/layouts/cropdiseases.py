"""CropDiseases (PlantVillage) for few-shot classification (BSCD-FSL): leaves, one folder a plant and its disease.

    dataset/train/PLANT___DISEASE/*.jpg
    dataset/test/                           not read: published episodes are drawn from dataset/train/ alone

Train and test are drawn from dataset/train/ (drawn.py), and few-shot episodes take both together. For the split that
the folders have, name dataset/ with the layout imagefolder.
"""

from pathlib import Path

from suite.drawn import drawn
from suite.index import Index, LayoutError, folders, images, some, unlike

KIND = "classification"
TRAIN = "dataset/train"
EXPECTED = f"{TRAIN}/PLANT___DISEASE/*.jpg"


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return (root / TRAIN).is_dir() and any("___" in name for name in folders(root / TRAIN))


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    if not recognise(root):
        raise unlike(root, EXPECTED)
    classes = folders(root / TRAIN)
    found = [[f"{TRAIN}/{name}/{image}" for image in images(root / TRAIN / name)] for name in classes]
    if empty := [name for name, items in zip(classes, found, strict=True) if not items]:
        raise LayoutError(f"{root}: no image in {TRAIN}/ of {some(empty)}; expected *.jpg; unpack the archive again")
    labels = [label for label, items in enumerate(found) for _ in items]
    return Index(KIND, classes, drawn([item for items in found for item in items], labels))
