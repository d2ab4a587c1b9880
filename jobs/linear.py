"""Linear probe: C chosen on validation data, refitted on train + validation, test touched once."""

from __future__ import annotations

import numpy as np
import torch

from jobs.lib import logistic, metrics, score, seeds
from jobs.lib.rows import Rows
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.result import Metric, Outcome


def run(cell: Cell, workspace: Workspace) -> Outcome:
    s, classes = cell.task.settings, cell.dataset.classes
    loss = "sigmoid" if cell.dataset.kind == "multilabel" else "softmax"
    (train, y_train), (val, y_val) = selection(cell, workspace)
    values = np.logspace(np.log10(s["c_max"]), np.log10(s["c_min"]), s["c_values"]).tolist()
    how = {"loss": loss, "device": workspace.device}
    x = train.normalised(s["features"])
    fits = logistic.path(x, y_train, classes, values, **how)
    x_val = val.normalised(s["features"], like=train)
    truth, metric = torch.from_numpy(y_val), cell.dataset.metric
    scored = {fit.C: score.value(fit.decision(x_val).cpu(), truth, metric) for fit in fits}
    best, _ = logistic.select(fits, lambda fit: scored[fit.C])
    print(f"linear: C = {best.C:g} of {len(values)}, {sum(fit.iterations for fit in fits)} passes", flush=True)

    both, y_both = Rows(*train.parts, *val.parts), np.concatenate([y_train, y_val])
    x_both = both.normalised(s["features"])
    final = logistic.fit(x_both, y_both, classes, best.C, tolerance=1e-5, max_iterations=300, **how)
    test = workspace.features(cell, "test")
    x_test = Rows((test.x, None)).normalised(s["features"], like=both)
    scores, labels = final.decision(x_test).cpu(), torch.from_numpy(test.y)
    found = [*score.evaluate(scores, labels, cell)]
    if loss == "softmax":
        found.append(calibration(scores, labels, s["ece_bins"], cell.seed))
    rows = {"train": len(train), "val": len(val), "test": len(test.y)}
    details = {
        "validation": {f"{c:.6g}": value for c, value in scored.items()},
        "passes": sum(fit.iterations for fit in fits) + final.iterations,
        "objective": final.objective,
        "images": rows,
        "extraction": test.manifest,
    }
    return Outcome(tuple(found), {"C": best.C}, details)


def selection(cell: Cell, workspace: Workspace) -> tuple[tuple[Rows, np.ndarray], tuple[Rows, np.ndarray]]:
    """(features, labels) of training and of validation: official, or held out of train where there is none."""
    train = workspace.features(cell, "train")
    if "val" in workspace.index(cell.dataset).splits:
        val = workspace.features(cell, "val")
        return (Rows((train.x, None)), train.y), (Rows((val.x, None)), val.y)
    kept, held = seeds.holdout(train.y, cell.task.settings["holdout"], cell.seed)
    return (Rows((train.x, kept)), train.y[kept]), (Rows((train.x, held)), train.y[held])


def calibration(scores: torch.Tensor, labels: torch.Tensor, bins: int, seed: int) -> Metric:
    """Expected calibration error with its bootstrap interval."""
    statistic = metrics.ece_statistic(scores, labels, bins)
    low, high = score.interval("ece", statistic, len(labels), seed)
    return Metric("ece", metrics.ece(scores, labels, bins), low, high, len(labels))
