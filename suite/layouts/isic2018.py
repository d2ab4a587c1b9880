"""ISIC 2018, task 3 (HAM10000): seven kinds of skin lesion, the training images of the challenge.

    ISIC2018_Task3_Training_GroundTruth/ISIC2018_Task3_Training_GroundTruth.csv     image,MEL,NV,BCC,AKIEC,BKL,DF,VASC
    ISIC2018_Task3_Training_Input/ISIC_0024306.jpg

A row has 1.0 under its class and 0.0 under the others; classes are in the order of the columns. Train and test are
drawn (drawn.py): few-shot episodes take both together, as published, and the challenge's own test is not read.
"""

from pathlib import Path

from suite import csvfile
from suite.drawn import drawn
from suite.index import Index, LayoutError, require_all_labelled, require_present, unlike

KIND = "classification"
NAME = "ISIC2018_Task3_Training"
LIST = f"{NAME}_GroundTruth/{NAME}_GroundTruth.csv"
EXPECTED = f"{LIST} and {NAME}_Input/"


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return (root / LIST).is_file() and (root / f"{NAME}_Input").is_dir()


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    if not recognise(root):
        raise unlike(root, EXPECTED)
    head, *rows = csvfile.rows(root / LIST) or [[]]
    classes = head[1:]
    labels = [_label(row[1:], len(classes)) for row in rows]
    odd = [row for row, label in zip(rows, labels, strict=True) if label < 0]
    if head[:1] != ["image"] or not rows or odd:
        told = f"line {','.join((odd or [head])[0])!r}" if head else "it is empty"
        raise LayoutError(
            f"{root / LIST}: {told}; expected image,MEL,NV,BCC,AKIEC,BKL,DF,VASC, then an image a line with 1.0 under "
            "its class and 0.0 under the others; unpack it again"
        )
    items = [f"{NAME}_Input/{row[0]}.jpg" for row in rows]
    require_all_labelled(root, classes, labels, LIST)
    require_present(root, items)
    return Index(KIND, classes, drawn(items, labels))


def _label(cells: list[str], classes: int) -> int:
    """Which of the cells is 1, where all others are 0; else -1."""
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        return -1
    return values.index(1) if sorted(values) == [0] * (classes - 1) + [1] else -1
