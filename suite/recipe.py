"""Recipe: how a backbone is pre-trained without labels, with the settings that were published for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from suite.entry import remark
from suite.task import Resources


@dataclass(frozen=True)
class Expected:
    """What linear probing was published to give: top-1 on ImageNet, in percent, after so many epochs."""

    architecture: str
    epochs: int
    top1: float
    source: str


@dataclass(frozen=True)
class Recipe:
    """A method (the file jobs/pretrain/METHOD.py) and its settings.

    `name` is METHOD or METHOD-VARIANT; NAME@DATASET is what NAME means on one data set. `architecture` is the published
    one; `takes` says which others do: "any", "cnn", "resnet" or "vit". Settings that all recipes have:

    size                the input's side in pixels, of the product too
    channels            "RGB", or "sobel": two channels of edges
    views               for each kind of view of an image a mapping: see jobs/pretrain/lib/views.py
    batch, epochs       images a step over all GPUs; images left over at the end of an epoch are dropped
    published_batch     to which learning_rate and least_rate belong: they follow `batch` by the linear rule
    optimizer           "sgd" | "lars" | "adamw"; momentum (of the first two), betas (of adamw), weight_decay
    undecayed           what has no weight decay (and, under LARS, no trust ratio): "norms", "biases", "tokens"
    schedule            "cosine" to least_rate | "step": times `factor` at each epoch of `drops` | "constant"
    warmup              epochs of a linear rise, from `warmup_from` times the rate
    rules               (pattern, {"weight_decay", "momentum", "rate", "fixed"}) for parameters of matching names: other
                        values, "rate" as a factor, "fixed" where the rate has no schedule
    synced              batch norm is over the batches of all GPUs
    precision           "float32" | "bfloat16"; `compile` the network; `accumulate`: turns in which a batch is taken
    knn_every           epochs between two looks at a labelled set by k-NN, 0 for none
    """

    name: str = remark()
    method: str = ""
    architecture: str = remark()
    takes: str = remark("any")
    settings: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources = remark(Resources(gpus=8, cpus=64, memory_gb=256, minutes=3000))
    expected: tuple[Expected, ...] = remark(())
    drift: str = remark("")  # where published versions differ: which one this is
    source: str = remark()


COMMON: Mapping[str, Any] = {
    "size": 224,
    "channels": "RGB",
    "batch": 256,
    "published_batch": 256,
    "epochs": 200,
    "optimizer": "sgd",
    "learning_rate": 0.03,
    "least_rate": 0.0,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "undecayed": (),
    "schedule": "cosine",
    "warmup": 0,
    "warmup_from": 0.0,
    "rules": (),
    "synced": True,
    "precision": "float32",
    "compile": False,
    "accumulate": 1,
    "knn_every": 10,
}
# What the short recipes have, for thousands of small images and a laptop; they are ours, and no paper's.
SMALL: Mapping[str, Any] = {
    "size": 32,
    "batch": 32,
    "published_batch": 32,
    "epochs": 30,
    "optimizer": "sgd",
    "learning_rate": 0.06,
    "warmup": 1,
    "weight_decay": 5e-4,
    "undecayed": (),
}
OURS: Mapping[str, Any] = {
    "resources": Resources(gpus=1, cpus=8, memory_gb=8, minutes=5),
    "expected": (),
    "drift": "",
    "source": "our own",
}
