"""Model: a pre-trained backbone, and how its input is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suite.entry import rare, remark
from suite.recipe import Recipe


@dataclass(frozen=True)
class Input:
    """How an image becomes the network's input: shorter side to `resize`, centre crop to `size`, [0, 1], normalise."""

    size: int = 224
    resize: int = 224
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    channels: str = "RGB"  # "BGR"; "sobel": two channels of edges, of the mean over the normalised colours


@dataclass(frozen=True)
class Weights:
    """Where a backbone's weights are. `file` is absolute, or relative to the store's weights/ folder.

    `sha256` is the whole digest or the leading part that is known; `prefix` picks one network of several in the file
    (`module.encoder_q.`), found by itself where empty; `leftover` are name patterns of heads that may stay unused.
    """

    file: str = remark()
    sha256: str = ""
    prefix: str = ""
    leftover: tuple[str, ...] = ()
    urls: tuple[str, ...] = remark(())


@dataclass(frozen=True)
class Model:
    """A backbone: `name` is <title>_<architecture>; without `weights` it is a random initialisation (seed `init`).

    One that is made here by pre-training has its `recipe` and the name of the data set, and is called
    RECIPE_ARCHITECTURE@DATASET or, of another seed than 0, RECIPE_ARCHITECTURE@DATASET~SEED.
    """

    name: str = remark()
    architecture: str = ""
    dimension: int = 0
    input: Input = Input()
    weights: Weights | None = None
    init: int = 0
    recipe: Recipe | None = rare()
    trained_on: str = rare("")
    pretraining: str = remark()
    licence: str = remark()
    citation: str = remark()


def from_json(record: Mapping[str, Any]) -> Model:
    """The model that `entry.as_json` wrote."""
    known = dict(record)
    made_by = dict(known.pop("input"))
    made_by |= {"mean": tuple(made_by["mean"]), "std": tuple(made_by["std"])}
    weights = known.pop("weights")
    if weights is not None:
        weights = Weights(**weights | {name: tuple(weights[name]) for name in ("leftover", "urls")})
    return Model(**known, input=Input(**made_by), weights=weights)
