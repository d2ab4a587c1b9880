"""Weighted k-nearest neighbours: train + validation are the bank, test the queries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jobs.lib import neighbours, score
from jobs.lib.features import Features
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.result import Outcome


def run(cell: Cell, workspace: Workspace) -> Outcome:
    s = cell.task.settings
    votes, test, banked = voted(cell, workspace, s["ks"], s["temperature"])
    truth = torch.from_numpy(test.y)
    found = [
        metric
        for k, scores in votes.items()
        for metric in score.evaluate(scores, truth, cell, f"_k{k}", headline=k == s["headline_k"])
    ]
    details = {"images": {"bank": banked, "test": len(truth)}, "extraction": test.manifest}
    return Outcome(tuple(found), {}, details)


def voted(
    cell: Cell, workspace: Workspace, ks: Sequence[int], temperature: float
) -> tuple[dict[int, Tensor], Features, int]:
    """Votes for each k, images x classes, on the test images; their features; and how many images are the bank."""
    bank, labels = workspace.trainval(cell)
    test = workspace.features(cell, "test")
    classes = cell.dataset.classes
    votes = neighbours.predict(bank, labels, test.x, classes, ks, temperature, device=workspace.device)
    return votes, test, len(bank)
