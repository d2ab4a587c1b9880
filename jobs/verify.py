"""Verification: a model's own classifier, or k-NN, on labelled images, and a fingerprint of its features."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs import knn
from jobs.lib import backbone, metrics, score
from jobs.lib.failure import BadTask
from jobs.lib.images import normalise
from jobs.lib.workspace import Workspace
from suite import checkpoint
from suite.cell import Cell
from suite.model import Model
from suite.result import Metric, Outcome

WHOLE = (1000, 50_000)  # classes and validation images of ImageNet-1K, on which top-1 is published
IMAGES = 2  # of the fixed input
LISTS = {1000: "imagenet-1k", 11221: "imagenet-21k-miil", 21841: "imagenet-22k", 21843: "imagenet-21k-goog"}


def run(cell: Cell, workspace: Workspace) -> Outcome:
    found, data = workspace.backbone(cell.model), cell.dataset
    outputs = classifier(cell.model, workspace.store.weights)
    places, ordered = numbers(workspace.index(data).classes, outputs)
    if cell.model.classes and not places:
        raise BadTask(
            f"{cell.model.name} has a classifier of {outputs} classes, and {data.name} {data.classes} others; name "
            "images whose folders are called by WordNet's numbers, or which have all of its classes"
        )
    if places:
        by, (scores, labels) = f"its classifier ({ordered})", _classified(cell, workspace, outputs, places)
    else:
        by, (scores, labels) = "k-NN", _voted(cell, workspace)
    top1, top5 = _metrics(scores, labels, cell)
    mark = fingerprint(found.network, cell.model)
    details = {"by": by, "images": len(labels), "fingerprint": mark, "report": found.report}
    return Outcome((top1, top5), {}, details | _published(cell, top1, "classifier" if places else "knn", mark))


def classifier(model: Model, folder: Path) -> int:
    """How many outputs the classifier has that a model's file in `folder` keeps beside the backbone; 0 for none.

    An entry says so; of another file its tensors' names do.
    """
    if model.weights is None or model.weights.origin:
        return model.classes
    names = backbone.whole(replace(model, classes=2)).state_dict().keys() - backbone.build(model).state_dict().keys()
    held = checkpoint.inspect(folder / model.weights.file).tensors
    found = {name: {shape for at, shape in held.items() if f".{at}".endswith(f".{name}")} for name in names}
    counts = {shape[0] for shapes in found.values() for shape in shapes if shape}
    return counts.pop() if names and all(found.values()) and len(counts) == 1 else 0


def numbers(classes: Sequence[str], outputs: int) -> tuple[list[int], str]:
    """Which output is which of the classes, and how that is known; [] where it is not.

    Of WordNet's numbers timm has the lists that ImageNet's classifiers are in the order of; where classes are others,
    but as many as outputs, they are taken to be in the same order.
    """
    if outputs in LISTS:
        from timm.data import ImageNetInfo

        place = {wnid: number for number, wnid in enumerate(ImageNetInfo(LISTS[outputs]).label_names())}
        if place.keys() >= set(classes):
            return [place[wnid] for wnid in classes], "by WordNet's numbers"
    return (list(range(outputs)), "in the data set's order") if outputs == len(classes) else ([], "")


def fingerprint(network: nn.Module, model: Model) -> str:
    """16 hex digits over the backbone's features of two fixed images, made in float64 on the CPU."""
    shape = (IMAGES, 3, model.input.size, model.input.size)
    noise = hashlib.shake_256(b"a fixed input").digest(int(np.prod(shape)))
    images = normalise(torch.from_numpy(np.frombuffer(noise, np.uint8).reshape(shape).copy()), model.input)
    home = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            found = network.to("cpu", torch.float64)(images.double())
    finally:
        network.to(home, torch.float32)
    return hashlib.sha256(found.numpy().astype("<f4").tobytes()).hexdigest()[:16]


def _classified(cell: Cell, workspace: Workspace, outputs: int, places: list[int]) -> tuple[Tensor, Tensor]:
    """Logits of the model's own classifier on the test images, over all its outputs, and which is right."""
    loaded = backbone.load(replace(cell.model, classes=outputs), workspace.store.weights, classifier=True)
    test = workspace.features(cell, "test", replace(loaded, model=replace(cell.model, dimension=outputs)))
    return torch.from_numpy(np.array(test.x)), torch.tensor(places)[torch.from_numpy(test.y)]


def _voted(cell: Cell, workspace: Workspace) -> tuple[Tensor, Tensor]:
    """Votes of k-NN on the test images, and their classes."""
    if "train" not in workspace.index(cell.dataset).splits:
        raise BadTask(
            f"{cell.model.name} has no classifier, and {cell.dataset.name} no training images for k-NN; "
            "name a data set that has some"
        )
    k = cell.task.settings["k"]
    votes, test, _ = knn.voted(cell, workspace, [k], cell.task.settings["temperature"])
    return votes[k], torch.from_numpy(test.y)


def _metrics(scores: Tensor, labels: Tensor, cell: Cell) -> tuple[Metric, Metric]:
    statistics = {f"top{among}": metrics.mean_statistic(metrics.correct(scores, labels, among)) for among in (1, 5)}
    top1, top5 = score.pooled(statistics, len(labels), cell.seed, "top1")
    return top1, top5


def _published(cell: Cell, top1: Metric, by: str, mark: str) -> Mapping[str, Any]:
    """What the entry says beside what was found; `agrees` is None where it says nothing of such images."""
    told = next((one for one in cell.model.accuracy if one.by == by), None)
    comparable = told is not None and (cell.dataset.classes, top1.n) == WHOLE
    agrees = [abs(100 * top1.value - told.top1) <= cell.task.settings["tolerance"]] if told and comparable else []
    agrees += [mark == cell.model.fingerprint] if cell.model.fingerprint else []
    published = {"top1": told.top1, "source": told.source} if told else None
    return {"published": published, "comparable": comparable, "agrees": all(agrees) if agrees else None}
