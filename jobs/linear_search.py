"""Linear probe by L-BFGS whose C is searched for: hold-out of train + validation, refitted on both, test touched once.

The trials that are asked for together are solved as one path from the smallest C upwards: the same optima, in fewer
passes over the features than one after another. Their values are kept in a checkpoint: a cell that goes on solves the
others only, and ends with the numbers of an unbroken one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.lib import logistic, metrics, score, seeds
from jobs.lib.rows import Rows
from jobs.lib.search import Search
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.result import Metric, Outcome


def run(cell: Cell, workspace: Workspace) -> Outcome:
    s, classes = cell.task.settings, cell.dataset.classes
    both, labels = workspace.trainval(cell)
    kept, held = seeds.holdout(labels, s["holdout"], cell.seed)
    train, val = both.subset(kept), both.subset(held)
    x, x_val = train.normalised(s["features"]), val.normalised(s["features"], like=train)
    truth, passes = torch.from_numpy(labels[held]), 0
    search, checkpoint = searching(cell, {"C": s["C"]}), workspace.checkpoint(cell)
    done: list[tuple[int, list[float]]] = (checkpoint.load() or {}).get("done", [])  # passes and values, by turns
    turn = 0
    while asked := search.ask():
        if turn == len(done):
            fits = logistic.path(x, labels[kept], classes, [trial["C"] for trial in asked], device=workspace.device)
            values = [score.value(fit.decision(x_val).cpu(), truth, "top1") for fit in fits]
            done.append((sum(fit.iterations for fit in fits), values))
            checkpoint.save({"done": done})
        search.tell(done[turn][1])
        passes += done[turn][0]
        turn += 1
        best = search.best
        told = f"{len(search.trials)}/{s['trials']} trials, {passes} passes"
        print(f"{told}: C = {best.parameters['C']:g}, {best.value:.4f} on validation", flush=True)

    C = search.best.parameters["C"]
    x_both = both.normalised(s["features"])
    final = logistic.fit(x_both, labels, classes, C, tolerance=1e-5, max_iterations=300, device=workspace.device)
    test = workspace.features(cell, "test")
    x_test = Rows((test.x, None)).normalised(s["features"], like=both)
    found = accuracies(final.decision(x_test).cpu(), torch.from_numpy(test.y), cell.seed)
    details = {
        "trials": [{**trial.parameters, "top1": trial.value} for trial in search.trials],
        "passes": passes + final.iterations,
        "objective": final.objective,
        "images": {"train": len(kept), "val": len(held), "test": len(test.y)},
        "extraction": test.manifest,
    }
    return Outcome(found, {"C": C}, details)


def searching(cell: Cell, space: dict[str, tuple[float, float]], *purpose: object) -> Search:
    """The search that the cell's settings ask for."""
    s = cell.task.settings
    return Search(
        space,
        trials=s["trials"],
        startup=s["startup"],
        at_once=s["at_once"],
        multivariate=s["multivariate"],
        seed=seeds.number(cell.seed, "search", *purpose),
    )


def accuracies(
    scores: Tensor, labels: Tensor, seed: int, suffix: str = "", headline: bool = True
) -> tuple[Metric, ...]:
    """Top-1, which is the headline, mean per class, and top-5 where there are more than 5 classes: N x C scores."""
    right = metrics.correct(scores, labels)
    statistics = {
        "top1": metrics.mean_statistic(right),
        "mean_per_class": metrics.mean_per_class_statistic(right, labels),
    }
    if scores.shape[1] > 5:
        statistics["top5"] = metrics.mean_statistic(metrics.correct(scores, labels, among=5))
    named = {f"{name}{suffix}": statistic for name, statistic in statistics.items()}
    return score.pooled(named, len(labels), seed, f"top1{suffix}" if headline else "")
