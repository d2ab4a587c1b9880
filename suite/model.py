"""Model: a pre-trained backbone, and how its input is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from suite.entry import rare, remark
from suite.recipe import Recipe


@dataclass(frozen=True)
class Input:
    """How an image becomes the network's input: shorter side to `resize`, centre crop to `size`, [0, 1], normalise.

    With `squash` both sides go to `resize`, whatever the image's proportions.
    """

    size: int = 224
    resize: int = 224
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    channels: str = "RGB"  # "BGR"; "sobel": two channels of edges, of the mean over the normalised colours
    squash: bool = rare(False)

    def seen(self, view: Mapping[str, Any]) -> Input:
        """The same where a protocol has images made otherwise: `view` has the `ratio` of resize to size, and whatever
        other field is not to be the model's own."""
        own = {name: value for name, value in view.items() if name != "ratio"}
        return replace(self, **own, resize=int(self.size * view["ratio"] + 1e-6) if "ratio" in view else self.resize)


@dataclass(frozen=True)
class Origin:
    """A published checkpoint: where it is, what it is packed in, and which of its tensors are the network's.

    urls        tried in turn, each the same file: HTTP(S), or FILE{a,b,c} for one checkpoint of several files
    page        what to open in a browser, where no program gets the file: then --from takes it
    file        the published file's name, where it is not the last part of the address
    sha256      the whole digest, or the leading part that is known; md5 the same
    member      within a zip or tar archive: the pattern of the checkpoint's name
    reader      "torch" (each of its formats, TorchScript, safetensors) | "tensorflow" | "haiku"
    opaque      patterns of what a pickle may name beside tensors and plain data: it stays closed, nothing of it runs
    prefix      of the network's tensors; it is cut off
    rename      (regular expression, replacement): each in turn, on what is left of a name
    names       for what patterns cannot say: a function of jobs/lib/names.py, which may turn axes, too
    leftover    patterns of whole names, as in the file, of what is not the network's: heads, other networks, counters
    missing     patterns of names of the network that the file does not have
    """

    urls: tuple[str, ...] = ()
    page: str = ""
    file: str = ""
    sha256: str = ""
    md5: str = ""
    member: str = ""
    reader: str = "torch"
    opaque: tuple[str, ...] = ()
    prefix: str = ""
    rename: tuple[tuple[str, str], ...] = ()
    names: str = ""
    leftover: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Weights:
    """Where a backbone's weights are. `file` is absolute, or relative to the store's weights/ folder.

    `sha256` is the whole digest or the leading part that is known; `prefix` picks one network of several in the file
    (`module.encoder_q.`), found by itself where empty; `leftover` are name patterns of heads that may stay unused.
    A published checkpoint is brought from its `origin` and converted once, to safetensors with the names of the
    architecture's library: `file` is then that, and needs neither prefix nor leftover.
    """

    file: str = remark()
    sha256: str = ""
    prefix: str = ""
    leftover: tuple[str, ...] = ()
    origin: Origin | None = remark(None)


@dataclass(frozen=True)
class Accuracy:
    """Top-1 in percent that was published for a model on ImageNet-1K's validation images.

    `by` is "classifier" (its own), "linear" (a probe) or "knn".
    """

    top1: float
    by: str
    source: str


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
    families: tuple[str, ...] = remark(())  # the studies that measure it: "cog", "ssl-transfer", "trex" ...
    classes: int = remark(0)  # of the classifier that its file keeps beside the backbone
    accuracy: tuple[Accuracy, ...] = remark(())
    fingerprint: str = remark()  # of its features on a fixed input: see jobs/verify.py


def from_json(record: Mapping[str, Any]) -> Model:
    """The model that `entry.as_json` wrote."""
    known = dict(record)
    for told in ("families", "accuracy"):  # of entries; a record needs none
        known.pop(told, None)
    made_by = dict(known.pop("input"))
    made_by |= {"mean": tuple(made_by["mean"]), "std": tuple(made_by["std"])}
    weights = known.pop("weights")
    if weights is not None:
        weights = {name: value for name, value in weights.items() if name not in ("origin", "urls")}
        weights = Weights(**weights | {"leftover": tuple(weights["leftover"])})
    return Model(**known, input=Input(**made_by), weights=weights)
