"""Linear SVMs on the five pooled layers of a frozen ResNet: on all images, or on a few of each class (low-shot)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

from jobs.lib import layers, lowshot, metrics, score, seeds, svm
from jobs.lib.backbone import Backbone
from jobs.lib.failure import BadTask
from jobs.lib.features import Features
from jobs.lib.lowshot import Labels
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.result import Metric, Outcome

LARGEST = 500_000_000  # inner products of low-shot's images with the training images, which are kept: 4 GB


@dataclass(frozen=True)
class Side:
    """Images of one side, training or test: features of all layers, side by side, and labels."""

    splits: list[Features]
    labels: Labels

    def rows(self, columns: slice) -> svm.UnitRows:
        return svm.UnitRows(*((split.x[:, columns], None) for split in self.splits))


def run(cell: Cell, workspace: Workspace) -> Outcome:
    s = cell.task.settings
    official = workspace.index(cell.dataset).splits
    _require_small(cell, {name: len(split.items) for name, split in official.items()})
    network, columns = layers.flat(workspace.backbone(cell.model))
    train = _side(cell, workspace, network, [name for name in ("train", "val") if name in official])
    test = _side(cell, workspace, network, ["test"])
    use = {name: at for name, at in zip(layers.NAMES, columns, strict=True) if name in s["layers"]}
    outcome = (low_shot if "shots" in s else full)(cell, workspace, train, test, use)
    images = {"train": len(train.labels.there), "test": len(test.labels.there)}
    images["ignored"] = int(test.labels.difficult.sum())
    details = {**outcome.details, "images": images, "extraction": test.splits[0].manifest}
    return Outcome(outcome.metrics, outcome.settings, details)


def _require_small(cell: Cell, counts: Mapping[str, int]) -> None:
    """BadTask for a data set that does not go into memory, before its features are extracted."""
    s, test = cell.task.settings, counts["test"]
    train = sum(counts.values()) - test
    if "shots" in s and train * (train + test) > LARGEST:
        raise BadTask(
            f"{cell.dataset.name}: {train} training images are too many for low-shot SVMs, which keep all pairs"
        )
    if train * cell.dataset.classes * s.get("folds", 1) > LARGEST // 10:
        raise BadTask(f"{cell.dataset.name}: {train} images x {cell.dataset.classes} classes are too many for SVMs")


def _side(cell: Cell, workspace: Workspace, network: Backbone, names: Sequence[str]) -> Side:
    """Splits of the cell's data set; the labels of a set of one label an image become 0/1."""
    splits = [workspace.features(cell, name, network) for name in names]
    y = torch.from_numpy(np.concatenate([split.y for split in splits]))
    there = y if y.ndim == 2 else torch.nn.functional.one_hot(y, cell.dataset.classes)
    hard = torch.zeros_like(there, dtype=torch.bool)
    official, at = workspace.index(cell.dataset).splits, 0
    for name, split in zip(names, splits, strict=True):
        for row, only in enumerate(official[name].difficult):
            hard[at + row, only] = True
        at += len(split.y)
    return Side(splits, Labels(there, hard))


def full(cell: Cell, workspace: Workspace, train: Side, test: Side, use: dict[str, slice]) -> Outcome:
    """SVMs on all training images, of each layer that is the columns of the features that `use` says; the cost of each
    class, and the layer, are chosen by cross-validation."""
    s, device = cell.task.settings, workspace.device
    there = train.labels.there
    folds = _folds(there, s["folds"], cell.seed)
    signs, weights = svm.problem(there.to(device), s["positive_weight"])
    validated, costs, scored, steps = {}, {}, {}, {}
    for name, columns in use.items():
        rows = train.rows(columns)
        times = svm.product(rows, device)
        points = _validate(times, there, signs, weights, folds, s)
        best = points.argmax(0)  # of several, the smallest cost
        costs[name] = [sorted(s["costs"])[at] for at in best.tolist()]
        validated[name] = float(points.gather(0, best[None]).mean())
        chosen = torch.tensor(costs[name], dtype=torch.float64, device=device)
        fit = svm.fit(times, signs, weights, chosen, tolerance=s["tolerance"])
        scored[name], steps[name] = svm.scores(rows, fit.beta, test.rows(columns)).cpu(), fit.steps
        print(f"svm: {name}: mAP {validated[name]:.4f} in {s['folds']}-fold cross-validation", flush=True)
    layer = max(validated, key=lambda name: validated[name])
    tested = {name: _measured(f"map_{name}", scores, test, cell) for name, scores in scored.items()}
    published = max(tested, key=lambda name: tested[name].value)
    found = [replace(tested[layer], name="map", headline=True), *tested.values()]
    found.append(replace(tested[published], name="map_best_on_test"))
    details = {"validation": validated, "costs": costs, "best_on_test": published, "steps": steps}
    return Outcome(tuple(found), {"layer": layer, "costs": costs[layer]}, details)


def _folds(labels: Tensor, count: int, seed: int) -> Tensor:
    """N x K: the fold that an image is in for a class, drawn for it alone, with as many of its positives in each."""
    found = torch.empty_like(labels)
    for k in range(labels.shape[1]):
        draw, begun = seeds.generator(seed, "folds", k), 0
        for value in (1, 0):
            rows = (labels[:, k] == value).nonzero()[:, 0].numpy()
            found[draw.permutation(rows), k] = (torch.arange(len(rows)) + begun) % count
            begun += len(rows)
    return found


def _validate(
    times: svm.Product, labels: Tensor, signs: Tensor, weights: Tensor, folds: Tensor, s: Mapping[str, Any]
) -> Tensor:
    """Average precision, costs ascending x classes: mean over the folds that have a positive; 0 where none has."""
    parts = range(s["folds"])
    kept = torch.cat([weights * (folds != part).to(weights.device) for part in parts], 1)
    found = []
    for _, fit in svm.path(times, signs.repeat(1, len(parts)), kept, s["costs"], s["tolerance"]):
        total, folds_with = torch.zeros(labels.shape[1], dtype=torch.float64), torch.zeros(labels.shape[1])
        for part, scores in zip(parts, fit.scores.cpu().chunk(len(parts), 1), strict=True):
            points, there = metrics.average_precision(scores, labels, folds != part, interpolated=False)
            total, folds_with = total + points, folds_with + there
        found.append(total / folds_with.clamp_min(1))
    return torch.stack(found)


def _measured(name: str, scores: Tensor, test: Side, cell: Cell) -> Metric:
    """Mean interpolated average precision on the test images, and its interval by bootstrap over them."""
    statistic = metrics.map_statistic(scores, *test.labels)
    low, high = score.interval("map", statistic, len(scores), cell.seed)
    points, kept = metrics.average_precision(scores, *test.labels)
    return Metric(name, float(points[kept].mean()), low, high, len(scores))


def low_shot(cell: Cell, workspace: Workspace, train: Side, test: Side, use: dict[str, slice]) -> Outcome:
    """SVMs on k images of each class, several times; the cost for each k, and the layer, are chosen on the training
    images that were not drawn or, as published, on the test images."""
    s = cell.task.settings
    rows = _draws(train.labels, s, cell.seed)
    tables: dict[str, dict[int, Table]] = {}
    for name, columns in use.items():
        of_train = svm.gram(train.rows(columns), workspace.device)
        of_test = svm.cross(test.rows(columns), train.rows(columns), workspace.device)
        tables[name] = {k: _table(rows[k], of_train, of_test, train.labels, test.labels, s) for k in s["shots"]}
        told = ", ".join(f"{k}: {table.value:.4f}" for k, table in tables[name].items())
        print(f"svm: {name}: mAP by shots on {s['chosen_on']}: {told}", flush=True)
    layer = max(tables, key=lambda name: sum(table.value for table in tables[name].values()))
    tested, headline = len(test.labels.there), s["headline_shots"]
    found = [_mean(f"map_{k}shot", table.tested, tested, k == headline) for k, table in tables[layer].items()]
    details = {
        "layers": {name: {k: _told(table) for k, table in held.items()} for name, held in tables.items()},
        "images_given": {k: _given(train.labels, rows[k][0]) for k in rows},
    }
    return Outcome(tuple(found), {"layer": layer, "costs": {k: t.cost for k, t in tables[layer].items()}}, details)


def _given(labels: Labels, rows: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Positives and others of each class: fewer than was asked for where it has no more."""
    there = [labels.there[at, label] > 0 for label, at in enumerate(rows)]
    return [(int(mask.sum()), int((~mask).sum())) for mask in there]


class Table(NamedTuple):
    """Of one layer and k: the cost that was chosen, the mAP that it was chosen by, and that on test for each sample."""

    cost: float
    value: float
    tested: Tensor


def _draws(labels: Labels, s: Mapping[str, Any], seed: int) -> dict[int, list[list[np.ndarray]]]:
    """k -> for each sample, the rows of each class."""
    classes = range(labels.there.shape[1])
    return {
        k: [[lowshot.draw(labels, c, k, s["negatives"], seed, n) for c in classes] for n in range(s["samples"])]
        for k in s["shots"]
    }


def _table(
    samples: list[list[np.ndarray]],
    of_train: Tensor,
    of_test: Tensor,
    train: Labels,
    test: Labels,
    s: Mapping[str, Any],
) -> Table:
    costs = torch.tensor(sorted(s["costs"]), dtype=torch.float64, device=of_train.device)
    how, every = (costs, s["positive_weight"], s["tolerance"]), range(len(costs))
    few = [[lowshot.fit(of_train, train.there[:, c], at, *how) for c, at in enumerate(rows)] for rows in samples]
    if s["chosen_on"] == "test":
        tested = torch.stack([lowshot.mean_ap(of_test, one, test, every, undrawn=False) for one in few])
        best = int(tested.mean(0).argmax())
        return Table(float(costs[best]), float(tested[:, best].mean()), tested[:, best])
    left = torch.stack([lowshot.mean_ap(of_train, one, train, every, undrawn=True) for one in few]).mean(0)
    best = int(left.argmax())
    tested = torch.cat([lowshot.mean_ap(of_test, one, test, [best], undrawn=False) for one in few])
    return Table(float(costs[best]), float(left[best]), tested)


def _told(table: Table) -> dict[str, Any]:
    tested = table.tested
    spread = {"mean": float(tested.mean()), "min": float(tested.min()), "max": float(tested.max())}
    return {**spread, "std": float(tested.std(correction=0)), "cost": table.cost, "chosen_by": table.value}


def _mean(name: str, tested: Tensor, images: int, headline: bool) -> Metric:
    """Mean over the samples, each on all test `images`, with Student's interval for it: it is about other samples, not
    about other test images."""
    n, mean = len(tested), float(tested.mean())
    half = float(stdtrit(n - 1, 0.975) * tested.std() / n**0.5) if n > 1 else 0.0
    return Metric(name, mean, mean - half, mean + half, images, headline)
