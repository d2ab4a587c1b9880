"""Weighted k-nearest neighbours: train + validation are the bank, test the queries."""

from __future__ import annotations

import numpy as np
import torch

from jobs.lib import neighbours, score
from jobs.lib.rows import Rows
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.result import Outcome


def run(cell: Cell, workspace: Workspace) -> Outcome:
    s = cell.task.settings
    official = workspace.index(cell.dataset).splits
    splits = [workspace.features(cell, name) for name in ("train", "val") if name in official]
    bank, labels = Rows(*((split.x, None) for split in splits)), np.concatenate([split.y for split in splits])
    test = workspace.features(cell, "test")
    votes = neighbours.predict(
        bank, labels, test.x, cell.dataset.classes, s["ks"], s["temperature"], device=workspace.device
    )
    truth = torch.from_numpy(test.y)
    found = [
        metric
        for k, scores in votes.items()
        for metric in score.evaluate(scores, truth, cell, f"_k{k}", headline=k == s["headline_k"])
    ]
    details = {"images": {"bank": len(bank), "test": len(truth)}, "extraction": test.manifest}
    return Outcome(tuple(found), {}, details)
