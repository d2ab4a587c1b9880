"""Backbone: a model's network without its classifier, with its weights, giving one feature vector an image."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from jobs.lib import networks, seeds
from jobs.lib import weights as files
from jobs.lib.failure import BadTask, BadWeights
from suite import checkpoint
from suite.model import Model


@dataclass(frozen=True)
class Backbone:
    """`network` maps N x 3 x S x S to N x dimension; `digest` names its weights; `report` says how they were loaded."""

    model: Model
    network: nn.Module
    digest: str
    report: str


def load(model: Model, folder: Path, *, classifier: bool = False) -> Backbone:
    """The backbone of a model whose weights lie under `folder`, or with its `classifier` the network as it was
    published, which gives logits. BadWeights where they are not what the entry says."""
    if model.weights is None:
        return Backbone(model, build(model), f"init-{model.init}", f"{model.name}: random weights, seed {model.init}")
    file = folder / model.weights.file
    if not file.is_file():
        raise BadWeights(f"{model.name}: no file {file}; bring it with: launch.py fetch {model.name}")
    sha256 = checkpoint.sha256(file, None)
    if not sha256.startswith(model.weights.sha256):
        raise BadWeights(f"{file} has SHA-256 {sha256[:16]}..., but {model.name} was {model.weights.sha256[:16]}...")
    network = whole(model) if classifier else build(model)
    report = files.load(network, model.weights, file)
    return Backbone(model, network, f"{sha256}/{model.weights.prefix}{'+classifier' if classifier else ''}", report)


def build(model: Model) -> nn.Module:
    """The network of a model's architecture, in evaluation mode, initialised from `model.init`."""
    return _made(model, 0)


def whole(model: Model) -> nn.Module:
    """The same network with a classifier of `model.classes` outputs, or as `build` gives it where that is 0.

    The tensors of `build` are in it by the same names, so that one file serves both.
    """
    return _made(model, model.classes)


def _made(model: Model, classes: int) -> nn.Module:
    name, edges = model.architecture, model.input.channels == "sobel"
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's notes on slow initialisation
        torch.manual_seed(seeds.number(model.init, "initialisation", name))
        if name == "pixels":
            return nn.Flatten().eval()
        if name.startswith("timm:"):
            import timm  # one library is loaded, the one that is needed: each takes seconds

            more = {"in_chans": 2} if edges else {}
            return timm.create_model(name.removeprefix("timm:"), num_classes=classes, **more).eval()
        from torchvision.models import get_model, list_models

        make = None if name in list_models() else networks.find(name)
        if make:
            network = make(classes)
        elif classes:
            network = get_model(name, weights=None, num_classes=classes)
        else:
            network = headless(get_model(name, weights=None))
        return (of_edges(network) if edges else network).eval()


def of_edges(network: nn.Module) -> nn.Module:
    """The same network, whose first convolution takes two channels, of edges, not three. BadTask where it has none."""
    name, first = next(((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d)), ("", None))
    if first is None:
        raise BadTask(f"{type(network).__name__} has no convolution: it cannot be given two channels of edges")
    parent, _, own = name.rpartition(".")
    how = {"stride": first.stride, "padding": first.padding, "bias": first.bias is not None}
    made = type(first)(2, first.out_channels, first.kernel_size, **how)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    setattr(network.get_submodule(parent), own, made)
    return network


def classifier(model: nn.Module) -> tuple[str, int]:
    """Name of a torchvision model's last classifier layer, and the width of its input: the feature's dimension."""
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    name, layer = layers[-1]
    return name, layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def headless(model: nn.Module) -> nn.Module:
    """The same torchvision model, its last classifier layer replaced by the identity."""
    parent, _, name = classifier(model)[0].rpartition(".")
    setattr(model.get_submodule(parent), name, nn.Identity())
    return model
