"""ChestX-ray8 for few-shot classification (BSCD-FSL): X-rays with one finding of seven.

    Data_Entry_2017.csv             or Data_Entry_2017_v2020.csv: Image Index,Finding Labels,...; labels between '|'
    images/NAME.png                 or images_001/images/NAME.png ... images_012/images/NAME.png, as Kaggle has them

Left out are images with several findings, without one, and with one that is not among the seven. Train and test are
drawn (drawn.py): few-shot episodes take both together, as published.
"""

from collections import Counter
from pathlib import Path

from suite import csvfile
from suite.drawn import drawn
from suite.index import Index, LayoutError, folders, require_all_labelled, some, unlike

KIND = "classification"
LISTS = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
EXPECTED = f"{LISTS[0]} (or {LISTS[1]}) and images/*.png or images_001/images/*.png ..."
CLASSES = ["Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumothorax"]
OTHERS = {"No Finding": "no finding"}
HEAD = ["Image Index", "Finding Labels"]


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return any((root / name).is_file() for name in LISTS)


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    path = next((root / name for name in LISTS if (root / name).is_file()), None)
    where = _images(root) if path else {}
    if path is None or not where:
        raise unlike(root, EXPECTED)
    names, labels = [], []
    dropped: Counter[str] = Counter()
    for name, finding in _rows(path):
        if finding in CLASSES:
            names.append(name)
            labels.append(CLASSES.index(finding))
        else:
            dropped["several findings" if "|" in finding else OTHERS.get(finding, "another finding")] += 1
    if gone := [name for name in names if name not in where]:
        raise LayoutError(f"{root}: {len(gone)} listed images are not there ({some(gone)}); unpack all of the archives")
    require_all_labelled(root, CLASSES, labels, path.name)
    return Index(KIND, CLASSES, drawn([where[name] for name in names], labels), dropped=dict(dropped))


def _images(root: Path) -> dict[str, str]:
    """An image's name -> its path."""
    if not root.is_dir():
        return {}
    held = [name for name in folders(root) if name == "images" or name.startswith("images_")]
    places = [place for name in held for place in (name, f"{name}/images") if (root / place).is_dir()]
    return {image.name: f"{place}/{image.name}" for place in places for image in (root / place).iterdir()}


def _rows(path: Path) -> list[tuple[str, str]]:
    head, *rows = [row[:2] for row in csvfile.rows(path)] or [[]]
    odd = [row for row in rows if len(row) != 2]
    if head != HEAD or not rows or odd:
        told = f"line {','.join((odd or [head])[0])!r}" if head else "it is empty"
        raise LayoutError(f"{path}: {told}; expected {','.join(HEAD)},... and an image a line; bring it again")
    return [(name, finding) for name, finding in rows]
