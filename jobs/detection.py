"""Object detection: a detector on the backbone, trained, and its average precision on the test images."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from jobs.lib import detections, interrupt, seeds
from jobs.lib.detector import Detected, Detector
from jobs.lib.found import Found, to_coco
from jobs.lib.learner import built
from jobs.lib.training import Trainer
from jobs.lib.view import View, Views
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.result import Outcome
from suite.store import write_text

RANKS = True  # it may run in several
ENGINES = {"detectron2": ("jobs.lib.detectron", "Detectron"), "torchvision": ("jobs.lib.lite", "Lite")}
PREDICTIONS = "predictions.json"


def run(cell: Cell, workspace: Workspace) -> Outcome:
    index, root = workspace.index(cell.dataset), workspace.root(cell.dataset)
    masks = cell.task.settings["masks"]
    train = [Views(root, index.splits[name], masks) for name in ("train", "val") if name in index.splits]
    test = Views(root, index.splits["test"])
    with interrupt.deferred():  # from here on it leaves between two steps
        detector = build(cell, workspace)
        trainer = Trainer(cell, workspace, detector, train)
        trainer.check(*train, test)
        trainer.train()
        found = find(trainer, detector, test)
    if not workspace.ranks.first:
        return Outcome(())
    write_text(workspace.folder(cell) / PREDICTIONS, json.dumps(to_coco(found, test.split, index)))
    seed = seeds.number(cell.seed, "bootstrap")
    metrics, details = detections.evaluate(found, test.split, index, cell.dataset.metric, seed, masks=masks)
    images = {"train": sum(map(len, train)), "used": len(trainer.rows), "test": len(test)}
    details = {**details, **trainer.details, "images": images, "dropped": dict(index.dropped)}
    return Outcome(metrics, trainer.chosen, details)


def build(cell: Cell, workspace: Workspace) -> Detector:
    """The detector of a task, by its engine."""
    module, name = ENGINES[cell.task.settings["engine"]]
    make: type[Detector] = getattr(importlib.import_module(module), name)
    return built(make, cell, workspace, cell.dataset.classes)


@torch.inference_mode()
def find(trainer: Trainer, detector: Detector, views: Views) -> Found:
    """What is found in a split."""
    s = trainer.settings
    detector.eval()

    def use(view: View) -> Detected:
        with trainer.precision():
            return detector.detect([view])[0]

    make = partial(views.test, short=s["test_short_side"], longest=s["longest_side"])
    return gathered(trainer.each(make, range(len(views)), use), s["masks"])


def gathered(found: Sequence[Detected], masks: bool) -> Found:
    """What was found in all images, one after another."""
    counts = [len(one.labels) for one in found]
    return Found(
        image=np.repeat(np.arange(len(found)), counts),
        label=np.concatenate([one.labels.cpu().numpy() for one in found] or [np.zeros(0, np.int64)]),
        score=np.concatenate([one.scores.cpu().numpy() for one in found] or [np.zeros(0)]),
        box=np.concatenate([one.boxes.cpu().numpy().reshape(-1, 4) for one in found] or [np.zeros((0, 4))]),
        masks=[mask for one in found for mask in one.masks or ()] if masks else None,
    )
