"""Average precision of detections that are matched already, over images drawn any number of times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jobs.lib import metrics

CELLS = 20_000_000  # of the largest array that a bootstrap makes: resamples x detections of one class


@dataclass(frozen=True)
class Matches:
    """N detections of K classes, class after class, within a class by falling score, at T overlaps.

    `points` are the recalls at which precision is read; None takes the area under the whole interpolated curve.
    """

    image: np.ndarray  # N, row of the image
    start: np.ndarray  # K + 1, where each class starts
    hit: np.ndarray  # T x N, found an object
    ignored: np.ndarray  # T x N, neither right nor wrong
    positives: np.ndarray  # images x K, objects to find
    points: np.ndarray | None


def per_class(matches: Matches, weights: np.ndarray, levels: Sequence[int]) -> np.ndarray:
    """Average precision, R x len(levels) x K, with each image counted R x images times; NaN where no object is."""
    totals = weights @ matches.positives
    found = np.full((len(weights), len(levels), totals.shape[1]), np.nan)
    by_image = np.ascontiguousarray(weights.T)  # numpy gathers rows, and sums down columns, several times faster
    for label in np.flatnonzero(totals.any(axis=0)):
        rows = slice(*matches.start[label : label + 2])
        drawn = by_image[matches.image[rows]]
        seen = drawn.cumsum(axis=0)
        for at, level in enumerate(levels):
            hit, ignored = matches.hit[level, rows], matches.ignored[level, rows]
            found[:, at, label] = _under_curve(drawn, seen, hit, ignored, totals[:, label], matches.points)
    return found


def _under_curve(
    drawn: np.ndarray,
    seen: np.ndarray,
    hit: np.ndarray,
    ignored: np.ndarray,
    total: np.ndarray,
    points: np.ndarray | None,
) -> np.ndarray:
    """One class at one overlap: drawn and seen N x R, hit and ignored N, total R -> R; NaN where total is 0.

    Precision is highest, for a given recall, right at a hit: only those are looked at.
    """
    at, passed = np.flatnonzero(hit), np.flatnonzero(ignored)
    true, counted = drawn[at].cumsum(axis=0), seen[at]
    if len(passed):
        less = np.concatenate([np.zeros_like(drawn[:1]), drawn[passed].cumsum(axis=0)])
        counted = counted - less[np.searchsorted(passed, at)]
    precision = np.divide(true, counted, out=np.zeros_like(true), where=true > 0)
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]  # at this recall or beyond
    recall = np.divide(true, total, out=np.zeros_like(true), where=total > 0)
    reached = recall if points is None else np.searchsorted(points, recall.T, side="right").T
    area = (best * np.diff(reached, axis=0, prepend=0)).sum(axis=0)
    return np.where(total > 0, area if points is None else area / len(points), np.nan)


def value(matches: Matches, levels: Sequence[int]) -> float:
    """Mean over the overlaps, and over the classes that have an object."""
    once = torch.ones(1, len(matches.positives), dtype=torch.float64)
    return float(statistic(matches, levels)(once))


def statistic(matches: Matches, levels: Sequence[int]) -> metrics.Statistic:
    """For `bootstrap`: mean over the overlaps, and over the classes that have an object among the images drawn."""

    def mean(weights: Tensor) -> Tensor:
        found = torch.from_numpy(per_class(matches, weights.numpy(), levels))
        return found.mean(1).nanmean(1)

    return mean


def interval(matches: Matches, levels: Sequence[int], resamples: int, seed: int) -> tuple[float, float]:
    """95 % interval of `value`, by drawing the images again.

    An image drawn twice has its hits side by side, which lifts precision: the mean over the draws is above the value,
    at times by more than half the interval where classes are many and objects few. So the interval is moved by as much.
    """
    largest = max(1, int(np.diff(matches.start).max()))
    chunk = min(100, max(1, CELLS // largest))
    draw, drawn = statistic(matches, levels), []

    def kept(weights: Tensor) -> Tensor:
        drawn.append(draw(weights))
        return drawn[-1]

    low, high = metrics.bootstrap(kept, len(matches.positives), resamples=resamples, seed=seed, chunk=chunk)
    lift = float(torch.cat(drawn).nanmean()) - value(matches, levels)
    return max(low - lift, 0.0), min(high - lift, 1.0)
