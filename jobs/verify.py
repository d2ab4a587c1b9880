"""Verification: a model's own classifier, or k-NN, on labelled images, and a fingerprint of its features."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs.lib import backbone, metrics, neighbours, score
from jobs.lib.failure import BadTask
from jobs.lib.images import normalise
from jobs.lib.rows import Rows
from jobs.lib.workspace import Workspace
from suite import checkpoint
from suite.cell import Cell
from suite.model import Model
from suite.result import Metric, Outcome

WHOLE = (1000, 50_000)  # classes and validation images of ImageNet-1K, on which top-1 is published
IMAGES = 2  # of the fixed input
WNID = re.compile(r"n\d{8}")
LISTS = {1000: "imagenet-1k", 11221: "imagenet-21k-miil", 21841: "imagenet-22k", 21843: "imagenet-21k-goog"}


def run(cell: Cell, workspace: Workspace) -> Outcome:
    found = workspace.backbone(cell.model)
    outputs = classifier(cell.model, workspace)
    classes = workspace.index(cell.dataset).classes
    places = numbers(classes, outputs)
    if cell.model.classes and not places:
        raise BadTask(
            f"{cell.model.name} has a classifier of {outputs} classes, and {cell.dataset.name} {cell.dataset.classes} "
            "others; name images whose folders are called by WordNet's numbers, or which have all of its classes"
        )
    by, measured = ("classifier", _classified(cell, workspace, outputs, places)) if places else ("knn", None)
    top1, top5, images = measured or _voted(cell, workspace)
    mark = fingerprint(found.network, cell.model)
    ordered = "WordNet's numbers" if all(WNID.fullmatch(name) for name in classes) else "in the data set's order"
    details = {"by": by, "classes": ordered, "images": images, "fingerprint": mark, "report": found.report}
    return Outcome((top1, top5), {}, details | _published(cell, top1, by, mark))


def classifier(model: Model, workspace: Workspace) -> int:
    """How many outputs the classifier has that a model's file keeps beside the backbone; 0 where it keeps none.

    Of a model with an entry that says so; of another one by its tensors' names.
    """
    if model.weights is None or model.classes or model.weights.origin:
        return model.classes if model.weights else 0
    names = backbone.whole(replace(model, classes=2)).state_dict().keys() - backbone.build(model).state_dict().keys()
    held = checkpoint.inspect(workspace.store.weights / model.weights.file).tensors
    found = {name: {shape for at, shape in held.items() if f".{at}".endswith(f".{name}")} for name in names}
    counts = {shape[0] for shapes in found.values() for shape in shapes if shape}
    return counts.pop() if names and all(found.values()) and len(counts) == 1 else 0


def numbers(classes: Sequence[str], outputs: int) -> list[int]:
    """Which output is which of the classes; [] where that is not known.

    Of WordNet's numbers timm has the lists that ImageNet's classifiers are in the order of; where classes are others,
    but as many as outputs, they are taken to be in the same order.
    """
    if outputs in LISTS:
        from timm.data import ImageNetInfo

        place = {wnid: number for number, wnid in enumerate(ImageNetInfo(LISTS[outputs]).label_names())}
        if place.keys() >= set(classes):
            return [place[wnid] for wnid in classes]
    return list(range(outputs)) if len(classes) == outputs else []


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


def _classified(cell: Cell, workspace: Workspace, outputs: int, places: list[int]) -> tuple[Metric, Metric, int]:
    """Top-1 and top-5 of the model's own classifier, over all its outputs."""
    loaded = backbone.load(replace(cell.model, classes=outputs), workspace.store.weights, classifier=True)
    test = workspace.features(cell, "test", replace(loaded, model=replace(cell.model, dimension=outputs)))
    return _metrics(torch.from_numpy(np.array(test.x)), torch.tensor(places)[torch.from_numpy(test.y)], cell)


def _voted(cell: Cell, workspace: Workspace) -> tuple[Metric, Metric, int]:
    """Top-1 and top-5 of weighted k-NN: all labelled images beside the test are the bank."""
    there, s = workspace.index(cell.dataset).splits, cell.task.settings
    splits = [workspace.features(cell, name) for name in ("train", "val") if name in there]
    if not splits:
        raise BadTask(
            f"{cell.model.name} has no classifier, and {cell.dataset.name} no training images for k-NN; "
            "name a data set that has some"
        )
    bank, labels = Rows(*((split.x, None) for split in splits)), np.concatenate([split.y for split in splits])
    test = workspace.features(cell, "test")
    votes = neighbours.predict(
        bank, labels, test.x, cell.dataset.classes, [s["k"]], s["temperature"], device=workspace.device
    )
    return _metrics(votes[s["k"]], torch.from_numpy(test.y), cell)


def _metrics(scores: Tensor, labels: Tensor, cell: Cell) -> tuple[Metric, Metric, int]:
    best = scores.topk(min(5, scores.shape[1])).indices == labels[:, None]
    top5 = metrics.mean_statistic(best.any(1).float())
    top1 = metrics.mean_statistic(metrics.correct(scores, labels))
    first, second = score.pooled({"top1": top1, "top5": top5}, len(labels), cell.seed, "top1")
    return first, second, len(labels)


def _published(cell: Cell, top1: Metric, by: str, mark: str) -> Mapping[str, Any]:
    """What the entry says beside what was found; `agrees` is None where it says nothing of such images."""
    told = next((one for one in cell.model.accuracy if one.by == by), None)
    comparable = told is not None and (cell.dataset.classes, top1.n) == WHOLE
    agrees = [abs(100 * top1.value - told.top1) <= cell.task.settings["tolerance"]] if told and comparable else []
    agrees += [mark == cell.model.fingerprint] if cell.model.fingerprint else []
    published = {"top1": told.top1, "source": told.source} if told else None
    return {"published": published, "comparable": comparable, "agrees": all(agrees) if agrees else None}
