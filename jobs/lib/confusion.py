"""Confusion: how many pixels of each class were taken for which, image by image, and the metrics of that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from jobs.lib import arrays, score
from jobs.lib.labelled import VOID
from jobs.lib.metrics import Statistic
from suite.result import Metric

HEADLINE = "miou"


class Counted(NamedTuple):
    """The entries of one image's confusion matrix that are not 0: n pairs of classes, and pixels."""

    truth: np.ndarray
    found: np.ndarray
    pixels: np.ndarray


def count(truth: np.ndarray, found: np.ndarray, classes: int) -> Counted:
    """Of one image, two arrays of class numbers; pixels whose truth is VOID do not count."""
    there = truth != VOID
    pairs = np.bincount(truth[there].astype(np.int64) * classes + found[there], minlength=classes**2)
    at = np.flatnonzero(pairs)
    return Counted(at // classes, at % classes, pairs[at])


class Confusion:
    """N images' confusion matrices of K classes, sparse."""

    def __init__(self, counted: Sequence[Counted], classes: int) -> None:
        self.images, self.classes = len(counted), classes
        self.image = np.repeat(np.arange(len(counted)), [len(one.pixels) for one in counted])
        self.truth, self.found, self.pixels = (
            np.concatenate([one[part] for one in counted]) if counted else np.zeros(0, np.int64) for part in range(3)
        )

    @property
    def whole(self) -> np.ndarray:
        """K x K, truth by found, over all images."""
        made = np.zeros((self.classes, self.classes), np.int64)
        np.add.at(made, (self.truth, self.found), self.pixels)
        return made

    def areas(self) -> tuple[Tensor, Tensor, Tensor]:
        """N x K each: pixels of a class, pixels taken for it, pixels that are both."""
        right = self.truth == self.found
        return (
            self._by(self.truth, self.pixels),
            self._by(self.found, self.pixels),
            self._by(self.truth, self.pixels * right),
        )

    def save(self, path: Path) -> None:
        """The file appears whole."""
        parts = {"image": self.image, "truth": self.truth, "found": self.found, "pixels": self.pixels}
        arrays.save(path, {"shape": (self.images, self.classes), **parts})

    def _by(self, classes: np.ndarray, pixels: np.ndarray) -> Tensor:
        made = np.zeros((self.images, self.classes))
        np.add.at(made, (self.image, classes), pixels)
        return torch.from_numpy(made)


def evaluate(confusion: Confusion, names: Sequence[str], seed: int) -> tuple[tuple[Metric, ...], dict[str, Any]]:
    """(metrics, details): mean intersection over union, over the classes that are there or were found; part of pixels
    that are right; mean over classes of it. Pixels of all images are pooled; intervals are by bootstrap over images.
    """
    areas = confusion.areas()
    statistics = {"miou": _mean_iou(*areas), "pixel_accuracy": _accuracy(*areas), "mean_accuracy": _per_class(*areas)}
    found = score.pooled(statistics, confusion.images, seed, HEADLINE)
    each = iou(*(area.sum(0) for area in areas))
    there = {name: float(value) for name, value in zip(names, each, strict=True) if not value.isnan()}
    absent = [name for name, pixels in zip(names, areas[0].sum(0), strict=True) if not pixels]
    return found, {"per_class_iou": there, "classes_without_pixels": absent}


def iou(truth: Tensor, found: Tensor, both: Tensor) -> Tensor:
    """Intersection over union; NaN where there is neither."""
    return both / (truth + found - both)


def _mean_iou(truth: Tensor, found: Tensor, both: Tensor) -> Statistic:
    return lambda weights: iou(weights @ truth, weights @ found, weights @ both).nanmean(1)


def _accuracy(truth: Tensor, found: Tensor, both: Tensor) -> Statistic:
    return lambda weights: (weights @ both).sum(1) / (weights @ truth).sum(1)


def _per_class(truth: Tensor, found: Tensor, both: Tensor) -> Statistic:
    return lambda weights: ((weights @ both) / (weights @ truth)).nanmean(1)
