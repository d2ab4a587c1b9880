"""Angles: how far predicted directions are from the true ones, image by image, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jobs.lib import arrays, score
from jobs.lib.metrics import Statistic
from suite.result import Metric

PER_DEGREE = 20  # bins: the limits below lie between two
BINS = 180 * PER_DEGREE
LIMITS = (11.25, 22.5, 30.0)
HEADLINE = "within_11.25"


class Measured(NamedTuple):
    """Of one image: a histogram of the angles of all its pixels that count, and their sum in degrees."""

    histogram: np.ndarray
    total: float


def measure(found: np.ndarray, truth: np.ndarray) -> Measured:
    """Of N x 3 vectors and as many true ones; what has no direction is a right angle off."""
    a, b = found.astype(np.float64), truth.astype(np.float64)
    # Of the tangent's two parts each is exact where the cosine alone is not.
    angle = np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(1)))
    angle[~a.any(1)] = 90
    bins = np.minimum((angle * PER_DEGREE).astype(np.int64), BINS - 1)
    return Measured(np.bincount(bins, minlength=BINS), float(angle.sum()))


def evaluate(measured: Sequence[Measured], seed: int) -> tuple[Metric, ...]:
    """Mean and median in degrees, and the parts of pixels below each limit; the pixels of all images are pooled, and
    intervals are by bootstrap over images."""
    counts = torch.from_numpy(np.stack([one.histogram for one in measured])).double()
    totals = torch.tensor([one.total for one in measured], dtype=torch.float64)
    statistics = {f"within_{limit:g}": _within(counts, limit) for limit in LIMITS}
    statistics |= {"mean_angle": _mean(counts, totals), "median_angle": _median(counts)}
    return score.pooled(statistics, len(measured), seed, HEADLINE)


def save(measured: Sequence[Measured], path: Path) -> None:
    """The file appears whole."""
    totals = [one.total for one in measured]
    histogram = np.stack([one.histogram for one in measured]).astype(np.int32)
    arrays.save(path, {"total": totals, "per_degree": PER_DEGREE, "histogram": histogram})


def _within(counts: Tensor, limit: float) -> Statistic:
    inside, pixels = counts[:, : round(limit * PER_DEGREE)].sum(1), counts.sum(1)
    return lambda weights: (weights @ inside) / (weights @ pixels)


def _mean(counts: Tensor, totals: Tensor) -> Statistic:
    pixels = counts.sum(1)
    return lambda weights: (weights @ totals) / (weights @ pixels)


def _median(counts: Tensor) -> Statistic:
    """Interpolated within its bin."""

    def statistic(weights: Tensor) -> Tensor:
        until = (weights @ counts).cumsum(1)
        half = until[:, -1:] / 2
        at = torch.searchsorted(until, half).clamp(max=BINS - 1)
        upper = until.gather(1, at)
        lower = torch.where(at > 0, until.gather(1, (at - 1).clamp(min=0)), 0.0)
        inside = torch.where(upper > lower, (half - lower) / (upper - lower), 0.0)
        return torch.where(half > 0, (at + inside) / PER_DEGREE, torch.nan)[:, 0]

    return statistic
