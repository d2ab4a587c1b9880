"""An architecture: a network of torchvision, timm or our own, the length of its feature, and how its input is made."""

import csv
import difflib
import functools
from dataclasses import dataclass, fields
from pathlib import Path

TABLE = Path(__file__).with_name("architectures.csv")  # written by jobs/lib/architectures.py
NEAR = 4  # near names that an error message suggests


@dataclass(frozen=True)
class Architecture:
    """What the table says of one network; input sizes are in pixels."""

    name: str  # torchvision's name, timm:NAME, or one of jobs/lib/networks
    dimension: int  # of the pooled feature, the classifier removed
    size: int  # of the square crop
    resize: int  # of the shorter side, before the crop
    interpolation: str  # "bicubic" | "bilinear"
    mean: tuple[float, ...]  # of red, green and blue, for values in [0, 1]
    std: tuple[float, ...]
    weights: str  # timm's default weights on the Hugging Face hub, "" where there are none (torchvision: always)
    strides: tuple[int, ...]  # of its feature maps, ascending (4, 8, 16, 32); () where it gives none
    layered: bool  # whether it has maps of all strides from 2 to 32, as a ResNet's stem and its four stages


COLUMNS = tuple(field.name for field in fields(Architecture))


def find(name: str) -> Architecture:
    """The architecture of that name; raises LookupError with near names."""
    row = _rows().get(name)
    if row is None:
        raise LookupError(
            f"unknown architecture '{name}': {_near(name)}; "
            f"names are torchvision's (resnet50) or timm:NAME, {len(_rows())} in all, in suite/{TABLE.name}"
        )
    _, dimension, size, resize, interpolation, mean, std, weights, strides, layered = row
    return Architecture(
        name,
        int(dimension),
        int(size),
        int(resize),
        interpolation,
        _numbers(mean),
        _numbers(std),
        weights,
        tuple(map(int, strides.split())),
        layered == "yes",
    )


def strides(name: str) -> tuple[int, ...]:
    """Strides of the feature maps of the architecture of that name; () too where it is in no table, as pixels."""
    return find(name).strides if name in _rows() else ()


def layered(name: str) -> bool:
    """Whether the architecture of that name has maps of all strides from 2 to 32."""
    return name in _rows() and find(name).layered


def names() -> list[str]:
    """All names, in the table's order."""
    return list(_rows())


@functools.cache
def _rows() -> dict[str, list[str]]:
    with TABLE.open(newline="", encoding="utf-8") as file:
        table = csv.reader(file)
        next(table)
        return {row[0]: row for row in table}


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split())


def _near(name: str) -> str:
    """Near names, whichever library they are of: one that lacks or wrongly has 'timm:' is found too."""
    bare: dict[str, list[str]] = {}
    for known in _rows():
        bare.setdefault(known.removeprefix("timm:"), []).append(known)
    close = difflib.get_close_matches(name.removeprefix("timm:"), bare, n=NEAR, cutoff=0.6)
    found = [known for match in close for known in bare[match]]
    return f"near names {', '.join(found[:NEAR])}" if found else "no name is near"
