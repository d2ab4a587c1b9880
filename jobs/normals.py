"""Surface normals: a decoder on the frozen backbone sorts each pixel among the words of a codebook, and its normal is
the mean of the words by their probabilities (Ericsson et al., CVPR 2021, section 4.4; Goyal et al., ICCV 2019)."""

from __future__ import annotations

import numpy as np
import torch

from jobs.lib import angles, codebook, interrupt, seeds, segmenter
from jobs.lib.angles import Measured
from jobs.lib.codebook import Codebook
from jobs.lib.labelled import LabelledViews, Shown
from jobs.lib.learner import built
from jobs.lib.psp import Psp
from jobs.lib.segmenter import Logits
from jobs.lib.training import Trainer
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.result import Outcome

RANKS = True  # it may run in several
KEPT = "angles.npz"


def run(cell: Cell, workspace: Workspace) -> Outcome:
    index, root = workspace.index(cell.dataset), workspace.root(cell.dataset)
    files = [root / str(name) for name in index.splits["train"].labels]
    count, ranks = cell.task.settings["words"], workspace.ranks
    words = ranks.same(codebook.read(root, files, count, cell.seed) if ranks.first else None)
    train = LabelledViews(root, index.splits["train"], words.labels)
    test = LabelledViews(root, index.splits["test"], words.labels)
    with interrupt.deferred():  # from here on it leaves between two steps
        made = built(Psp, cell, workspace, cell.task.settings["words"])
        trainer = Trainer(cell, workspace, made, [train])
        trainer.check(train, test)
        trainer.train()
        made.eval()
        tested = Tested(cell, test, made.logits, words, workspace.device)
        with torch.inference_mode(), trainer.precision():
            measured = trainer.each(tested.make, range(len(test)), tested.use)
    if not workspace.ranks.first:
        return Outcome(())
    angles.save(measured, workspace.folder(cell) / KEPT)
    images = {"train": len(trainer.rows), "test": len(test)}
    details = {**trainer.details, "codebook": words.source, "images": images, "constant": constant(train, test)}
    return Outcome(angles.evaluate(measured, seeds.number(cell.seed, "bootstrap")), trainer.chosen, details)


class Tested:
    """How far the normals of each image of a split are from the true ones: `make` prepares it, `use` looks at it."""

    def __init__(self, cell: Cell, views: LabelledViews, logits: Logits, words: Codebook, device: torch.device) -> None:
        self.cell, self.views, self.logits, self.device = cell, views, logits, device
        self.words = torch.from_numpy(words.words).float().to(device)

    def make(self, row: int) -> tuple[Shown, np.ndarray]:
        return self.views.test(row, self.cell.task.settings), codebook.normals(self.views.label_file(row))

    def use(self, made: tuple[Shown, np.ndarray]) -> Measured:
        shown, truth = made
        settings, made_by = self.cell.task.settings, self.cell.model.input
        likely = segmenter.probabilities(self.logits, shown, made_by, settings, self.device)
        with torch.autocast(self.device.type, enabled=False):  # a sum of words is one of full precision
            found = torch.einsum("khw,kd->hwd", likely, self.words).cpu().numpy()
        there = codebook.valid(truth)
        return angles.measure(found[there], truth[there])


def constant(train: LabelledViews, test: LabelledViews) -> dict[str, float]:
    """The metrics of one normal for all pixels, the mean of those that were trained on: what has to be beaten."""
    mean = sum(codebook.normals(train.label_file(row)).sum((0, 1), dtype=np.float64) for row in range(len(train)))
    measured = []
    for row in range(len(test)):
        truth = codebook.normals(test.label_file(row))
        held = truth[codebook.valid(truth)]
        measured.append(angles.measure(np.broadcast_to(mean, held.shape), held))
    return {metric.name: metric.value for metric in angles.evaluate(measured, 0)}
