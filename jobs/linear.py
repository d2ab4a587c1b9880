"""Linear probe: C chosen on validation data, refitted on train + validation, test touched once."""

from __future__ import annotations

import numpy as np
import torch

from jobs.lib import logistic, metrics, score, seeds
from jobs.lib.failure import BadData, BadTask
from jobs.lib.rows import Rows
from jobs.lib.workspace import Workspace
from suite import published
from suite.cell import Cell
from suite.grid import unpublished
from suite.result import Metric, Outcome


def run(cell: Cell, workspace: Workspace) -> Outcome:
    s, classes = cell.task.settings, cell.dataset.classes
    loss = "sigmoid" if cell.dataset.kind == "multilabel" else "softmax"
    (train, y_train), (val, y_val) = selection(cell, workspace)
    values = candidates(cell)
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
    found, more = [*score.evaluate(scores, labels, cell)], {}
    if loss == "softmax":
        bins, at = s["ece_bins"], metrics.temperature(best.decision(x_val).cpu(), truth)
        found.append(calibration("ece", scores, labels, bins, cell.seed))
        found.append(calibration("ece_temperature", scores / at, labels, bins, cell.seed))
        more["temperature"] = at
        if "ece_folds" in s:
            more["ece_temperature_folds"] = metrics.folded_ece(scores, labels, bins, s["ece_folds"])
    rows = {"train": len(train), "val": len(val), "test": len(test.y)}
    details = {
        "validation": {f"{c:.6g}": value for c, value in scored.items()},
        "passes": sum(fit.iterations for fit in fits) + final.iterations,
        "objective": final.objective,
        "images": rows,
        "extraction": test.manifest,
        **more,
    }
    return Outcome(tuple(found), {"C": best.C}, details)


def candidates(cell: Cell) -> list[float]:
    """The values of C that are chosen from: a grid, descending; or the one that is given, or was published. BadTask
    where none was."""
    s = cell.task.settings
    if "C" not in s:
        values: list[float] = np.logspace(np.log10(s["c_max"]), np.log10(s["c_min"]), s["c_values"]).tolist()
        return values
    if s["C"] != "published":
        return [s["C"]]
    if why := unpublished(cell.task, cell.dataset, cell.model):
        raise BadTask(why)
    return [published.best_c()[cell.model.name][cell.dataset.name]]


def selection(cell: Cell, workspace: Workspace) -> tuple[tuple[Rows, np.ndarray], tuple[Rows, np.ndarray]]:
    """(features, labels) of training and of validation: official, or held out of train where there is none."""
    train = workspace.features(cell, "train")
    if "val" in workspace.index(cell.dataset).splits:
        val = workspace.features(cell, "val")
        return (Rows((train.x, None)), train.y), (Rows((val.x, None)), val.y)
    share = cell.task.settings["holdout"]
    if cell.task.settings.get("holdout_draw") == "ssl-transfer":
        kept, held = published_holdout(len(train.y), share)
    else:
        kept, held = seeds.holdout(train.y, share, cell.seed)
    return (Rows((train.x, kept)), train.y[kept]), (Rows((train.x, held)), train.y[held])


def published_holdout(images: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """(training rows, validation rows), as Ericsson et al., CVPR 2021, draw them: numpy's generator of seed 0 shuffles
    the list of all rows, and the first floor(share * images), not by class, are validation. BadData where that is none.
    """
    if not int(share * images):
        raise BadData(f"of {images} training images {share:g} are to be held out: that is none")
    order = list(range(images))
    np.random.RandomState(0).shuffle(order)
    first = int(share * images)
    return np.sort(order[first:]), np.sort(order[:first])


def calibration(name: str, scores: torch.Tensor, labels: torch.Tensor, bins: int, seed: int) -> Metric:
    """Expected calibration error with its bootstrap interval."""
    statistic = metrics.ece_statistic(scores, labels, bins)
    low, high = score.interval(name, statistic, len(labels), seed)
    return Metric(name, metrics.ece(scores, labels, bins), low, high, len(labels))
