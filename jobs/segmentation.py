"""Semantic segmentation: a decoder on the backbone, trained, and its mean IoU on the test images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from jobs.lib import confusion, interrupt, seeds, segmenter
from jobs.lib.confusion import Confusion, Counted
from jobs.lib.labelled import LabelledViews, Legend, Shown
from jobs.lib.learner import built
from jobs.lib.segmenter import Logits, Segmenter
from jobs.lib.training import Trainer
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.dataset import Dataset
from suite.result import Outcome

RANKS = True  # it may run in several
KEPT = "confusion.npz"


def run(cell: Cell, workspace: Workspace) -> Outcome:
    views = splits(cell.dataset, workspace)
    train, test = [views[name] for name in ("train", "val") if name in views], views["test"]
    with interrupt.deferred():  # from here on it leaves between two steps
        made = build(cell, workspace)
        trainer = Trainer(cell, workspace, made, train)
        trainer.check(*train, test)
        trainer.train()
        made.eval()
        tested = Tested(cell, test, made.logits, workspace.device)
        with torch.inference_mode(), trainer.precision():
            counted = trainer.each(tested.make, range(len(test)), tested.use)
    if not workspace.ranks.first:
        return Outcome(())
    images = {"train": len(trainer.rows), "test": len(test)}
    return outcome(cell, workspace, counted, trainer.chosen, {**trainer.details, "images": images})


def build(cell: Cell, workspace: Workspace) -> Segmenter:
    """The segmenter of a task."""
    from jobs.lib.mmsegmentation import Mmsegmentation  # which takes seconds

    return built(Mmsegmentation, cell, workspace, cell.dataset.classes)


def splits(dataset: Dataset, workspace: Workspace) -> dict[str, LabelledViews]:
    """Split -> its images with masks."""
    index, root = workspace.index(dataset), workspace.root(dataset)
    read = Legend(index.categories, index.void)
    return {name: LabelledViews(root, split, read) for name, split in index.splits.items()}


class Tested:
    """What the pixels of each image of a split are taken for: `make` prepares an image, `use` looks at it."""

    def __init__(self, cell: Cell, views: LabelledViews, logits: Logits, device: torch.device) -> None:
        self.cell, self.views, self.logits, self.device = cell, views, logits, device

    def make(self, row: int) -> tuple[Shown, np.ndarray]:
        return self.views.test(row, self.cell.task.settings), self.views.labels(row)

    def use(self, made: tuple[Shown, np.ndarray]) -> Counted:
        shown, truth = made
        settings, made_by = self.cell.task.settings, self.cell.model.input
        scores = segmenter.probabilities(self.logits, shown, made_by, settings, self.device)
        return confusion.count(truth, scores.argmax(0).cpu().numpy(), self.cell.dataset.classes)


def outcome(
    cell: Cell, workspace: Workspace, counted: list[Counted], chosen: Mapping[str, Any], details: Mapping[str, Any]
) -> Outcome:
    """The result of what test pixels were taken for, which is kept beside it."""
    kept = Confusion(counted, cell.dataset.classes)
    kept.save(workspace.folder(cell) / KEPT)
    names = workspace.index(cell.dataset).classes
    metrics, more = confusion.evaluate(kept, names, seeds.number(cell.seed, "bootstrap"))
    return Outcome(metrics, chosen, {**more, **details})
