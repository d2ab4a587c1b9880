"""Few-shot classification with prototypes, over the images of all splits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jobs.lib import episodes, metrics, seeds
from jobs.lib.failure import BadData
from jobs.lib.rows import Rows
from jobs.lib.workspace import Workspace
from suite import enough
from suite.cell import Cell
from suite.result import Metric, Outcome


def run(cell: Cell, workspace: Workspace) -> Outcome:
    s = cell.task.settings
    splits = [workspace.features(cell, name) for name in workspace.index(cell.dataset).splits]
    rows, labels = Rows(*((split.x, None) for split in splits)), np.concatenate([split.y for split in splits])
    counts = np.bincount(labels, minlength=cell.dataset.classes).tolist()
    plans = {shots: plan for shots in s["shots"] if (plan := enough.episodes(counts, shots=shots, **enough.limits(s)))}
    if not plans:
        raise BadData(enough.lack(cell.task, replace(cell.dataset, images=tuple(counts))))
    headline = s["headline_shots"] if s["headline_shots"] in plans else max(plans)
    found = []
    for shots, (way, query, _) in plans.items():
        seed = seeds.number(cell.seed, "episodes", shots)
        correct = episodes.accuracies(
            rows, labels, shots=shots, way=way, query=query, episodes=s["episodes"], seed=seed, device=workspace.device
        )
        mean, low, high = metrics.mean_interval(correct)
        found.append(Metric(f"{way}-way {shots}-shot", mean, low, high, len(correct), shots == headline))
    details = {
        "queries": {shots: query for shots, (_, query, _) in plans.items()},
        "classes": {shots: len(eligible) for shots, (_, _, eligible) in plans.items()},
        "images": len(labels),
        "extraction": splits[0].manifest,
    }
    return Outcome(tuple(found), {}, details)
