"""Few-shot classification with prototypes, over the images of all splits."""

from __future__ import annotations

import numpy as np

from jobs.lib import episodes, metrics, seeds
from jobs.lib.failure import BadData
from jobs.lib.rows import Rows
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.result import Metric, Outcome


def run(cell: Cell, workspace: Workspace) -> Outcome:
    s = cell.task.settings
    splits = [workspace.features(cell, name) for name in workspace.index(cell.dataset).splits]
    rows, labels = Rows(*((split.x, None) for split in splits)), np.concatenate([split.y for split in splits])
    counts = np.bincount(labels, minlength=cell.dataset.classes).tolist()
    how = {"way": s["way"], "query": s["query"], "min_query": s["min_query"], "min_way": s.get("min_way", 2)}
    plans = {shots: plan for shots in s["shots"] if (plan := episodes.plan(counts, shots=shots, **how))}
    if not plans:
        least = min(s["shots"]) + s["min_query"]
        raise BadData(
            f"{cell.dataset.name}: few-shot needs {how['min_way']} classes with {least} images each; "
            f"the classes have {sorted(counts)[-3:]} images at most"
        )
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
