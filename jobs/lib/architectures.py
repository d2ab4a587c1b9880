"""Writes suite/architectures.csv: python -m jobs.lib.architectures > suite/architectures.csv (a quarter of an hour).

Every model is built, and run a few times, on PyTorch's meta device: shapes only, no memory and no weights. What cannot
serve as a backbone (an input that is not square, an output that is not one vector an image) is left out and named on
stderr; so is, with the reason, what gives no feature maps, whose `strides` are empty.
"""

import csv
import math
import sys
import warnings
from collections.abc import Iterator

import timm
import torch
import torchvision
from torch import nn
from torchvision.models import get_model, list_models

from jobs.lib import networks
from jobs.lib.backbone import classifier, headless
from jobs.lib.failure import BadTask
from jobs.lib.layers import Layers
from jobs.lib.maps import maps
from jobs.lib.way import NoMaps
from suite.architecture import COLUMNS, Architecture

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


class Unsuitable(Exception):
    """A model that gives no single vector for a square image."""


def torchvision_architecture(name: str) -> Architecture:
    """The row of a torchvision model; the input is the protocol's default, not that of torchvision's weights."""
    inception = name == "inception_v3"
    size = 299 if inception else 224
    mean, std = (HALF, HALF) if inception else (IMAGENET_MEAN, IMAGENET_STD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # inception and googlenet warn of slow initialisation
        # RegNet computes its widths with tensors, which the meta device does not have.
        with torch.device("cpu" if name.startswith("regnet") else "meta"):
            model = get_model(name).to("meta")
    expected = classifier(model)[1]
    dimension = width(headless(model), size)
    if dimension != expected:
        raise Unsuitable(f"the classifier takes {expected} numbers, but the model without it gives {dimension}")
    return Architecture(name, dimension, size, size, "bicubic", mean, std, "", *mapped(model, name))


def timm_architecture(name: str) -> Architecture:
    """The row of a timm model; the input is that of its default weights."""
    default = timm.models.get_pretrained_cfg(name)
    _, height, breadth = default.input_size
    if height != breadth:
        raise Unsuitable(f"its input is {height} x {breadth}, not square")
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = timm.create_model(name, num_classes=0)
    dimension = width(model, height)
    resize = math.floor(height / default.crop_pct)
    weights = default.hf_hub_id or ""
    return Architecture(
        f"timm:{name}",
        dimension,
        height,
        resize,
        default.interpolation,
        tuple(default.mean),
        tuple(default.std),
        weights,
        *mapped(model, f"timm:{name}"),
    )


def own_architecture(name: str) -> Architecture:
    """The row of a network of jobs/lib/networks."""
    make, usual = networks.find(name), networks.usual_input(name)
    assert make is not None
    with torch.device("meta"):
        model = make(0)
    return Architecture(
        name,
        width(model, usual.size),
        usual.size,
        usual.resize,
        usual.interpolation,
        usual.mean,
        usual.std,
        "",
        *mapped(model, name),
    )


def width(model: nn.Module, size: int) -> int:
    """Length of the vector that a model gives for one image."""
    with torch.device("meta"), torch.no_grad():
        output = model.eval()(torch.zeros(2, 3, size, size))
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        shape = list(output.shape[1:]) if isinstance(output, torch.Tensor) else type(output).__name__
        raise Unsuitable(f"its output for an image is {shape}, not one vector")
    return output.shape[1]


def mapped(model: nn.Module, name: str) -> tuple[tuple[int, ...], bool]:
    """Strides of the feature maps that a model gives, () where it gives none; whether it has five layers to pool."""
    try:
        strides = maps(model, name).strides
    except NoMaps as why:
        sys.stderr.write(f"no maps: {why}\n")
        return (), False
    return strides, layered(model, name)


def layered(model: nn.Module, name: str) -> bool:
    try:
        Layers(model.eval(), name)
    except BadTask:
        return False
    return True


def architectures() -> Iterator[Architecture]:
    """All rows, torchvision's first, then ours; says on stderr which models are left out and why."""
    makers = [(name, torchvision_architecture) for name in list_models(module=torchvision.models)]
    makers += [(name, own_architecture) for name in networks.names()]
    makers += [(name, timm_architecture) for name in timm.list_models()]
    for name, make in makers:
        try:
            yield make(name)
        except (Unsuitable, RuntimeError, NotImplementedError, ImportError, TypeError, ValueError) as error:
            sys.stderr.write(f"left out: {name}: {error}\n")


def cells(row: Architecture) -> list[str]:
    """A row's cells as text, in the order of COLUMNS."""
    values = (getattr(row, column) for column in COLUMNS)
    return [_text(value) for value in values]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return " ".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)


def main() -> None:
    """Write the table to stdout."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in architectures():
        table.writerow(cells(row))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
