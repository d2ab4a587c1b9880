"""Score: from what was found on the images of a split to the metrics of a result, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from jobs.lib import metrics, seeds
from jobs.lib.failure import Diverged
from jobs.lib.metrics import Statistic
from suite.cell import Cell
from suite.result import Metric


def value(scores: Tensor, labels: Tensor, metric: str) -> float:
    """One number to choose by: 'top1', 'mean_per_class' or 'map11'."""
    if scores.isnan().any():
        raise Diverged(f"{int(scores.isnan().sum())} of {scores.numel()} class scores are not a number")
    if metric == "map11":
        return metrics.map11(scores, labels)[0]
    return {"top1": metrics.top1, "mean_per_class": metrics.mean_per_class}[metric](scores, labels)


def evaluate(scores: Tensor, labels: Tensor, cell: Cell, suffix: str = "", headline: bool = True) -> tuple[Metric, ...]:
    """The metrics of a dataset's kind, N x K scores against labels, with bootstrap intervals over the N images.

    The dataset's own metric is the headline; `suffix` tells variants apart ('top1_k10').
    """
    names = ("map11",) if cell.dataset.kind == "multilabel" else ("top1", "mean_per_class")
    found = []
    for name in names:
        at = value(scores, labels, name)
        low, high = interval(name, _statistic(name, scores, labels), len(labels), cell.seed)
        found.append(Metric(f"{name}{suffix}", at, low, high, len(labels), headline and name == cell.dataset.metric))
    return tuple(found)


def pooled(statistics: Mapping[str, Statistic], images: int, seed: int, headline: str) -> tuple[Metric, ...]:
    """Statistics over all images as metrics, with bootstrap intervals over the images; `headline` names one of them."""
    once, found = torch.ones(1, images, dtype=torch.float64), []
    for name, statistic in statistics.items():
        low, high = interval(name, statistic, images, seed)
        found.append(Metric(name, float(statistic(once)), low, high, images, name == headline))
    return tuple(found)


def interval(name: str, statistic: Statistic, images: int, seed: int) -> tuple[float, float]:
    """(low, high) of a metric by bootstrap over images, which are drawn for it alone."""
    return metrics.bootstrap(statistic, images, seed=seeds.number(seed, "bootstrap", name))


def _statistic(name: str, scores: Tensor, labels: Tensor) -> Statistic:
    if name == "map11":
        return metrics.map11_statistic(scores, labels)
    right = metrics.correct(scores, labels)
    return metrics.mean_statistic(right) if name == "top1" else metrics.mean_per_class_statistic(right, labels)
