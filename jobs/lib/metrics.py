"""Accuracies, 11-point average precision, calibration, and intervals for them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

BINS = 15  # of the calibration error
Z95 = 1.96
Statistic = Callable[[Tensor], Tensor]  # weights R x N -> R values


def top1(scores: Tensor, labels: Tensor) -> float:
    """Part of the rows whose highest score is the label's."""
    return float(correct(scores, labels).mean())


def correct(scores: Tensor, labels: Tensor) -> Tensor:
    """1.0 where the highest score is the label's, else 0.0 (float64)."""
    _check(scores)
    return (scores.argmax(1) == labels).double()


def mean_per_class(scores: Tensor, labels: Tensor) -> float:
    """Mean, over the classes that occur in `labels`, of the part of their rows that is right."""
    right = correct(scores, labels)
    return float(mean_per_class_statistic(right, labels)(torch.ones(1, len(labels), dtype=torch.float64)))


def map11(scores: Tensor, labels: Tensor) -> tuple[float, int]:
    """(mean 11-point VOC average precision, number of classes left out for want of a positive); labels N x K of 0/1."""
    points, kept = average_precision11(scores, labels)
    if not kept.any():
        raise ValueError("no class has a positive: mean average precision is not defined")
    return float(points[kept].mean()), int((~kept).sum())


def average_precision11(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """11-point average precision of each class (K), and which classes have a positive; 0 for those without."""
    points, kept = _weighted_ap11(scores, labels, torch.ones(1, len(scores), dtype=torch.float64))
    return points[0], kept[0]


def ece(scores: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error of softmax(scores), equal-width bins (low, high]."""
    return float(ece_statistic(scores, labels, bins)(torch.ones(1, len(labels), dtype=torch.float64)))


def ece_statistic(scores: Tensor, labels: Tensor, bins: int = BINS) -> Statistic:
    """For `bootstrap`: the expected calibration error."""
    _check(scores)
    confidence, predicted = scores.double().softmax(1).max(1)
    gap = (predicted == labels).double() - confidence
    bin_of = (confidence * bins).ceil().long().clamp(1, bins) - 1
    member = torch.nn.functional.one_hot(bin_of, bins).double() * gap[:, None]
    return lambda weights: (weights @ member).abs().sum(1) / weights.sum(1)


def mean_interval(values: Tensor) -> tuple[float, float, float]:
    """(mean, low, high): mean -+ 1.96 sigma / sqrt(n), sigma of the population."""
    values = values.double()
    _check(values)
    half = Z95 * float(values.std(correction=0)) / len(values) ** 0.5
    mean = float(values.mean())
    return mean, mean - half, mean + half


def bootstrap(
    statistic: Statistic, count: int, *, resamples: int = 1000, seed: int = 0, chunk: int = 100
) -> tuple[float, float]:
    """Percentile 95 % interval of a statistic over `count` images drawn again with replacement.

    The statistic takes how often each image was drawn (R x count, float64) and gives R values; a resample on which it
    is not defined (NaN) is left out.
    """
    if count < 1:
        raise ValueError("there are no images to draw from")
    generator = np.random.default_rng(seed)
    values = []
    for start in range(0, resamples, chunk):
        drawn = generator.integers(count, size=(min(chunk, resamples - start), count))
        drawn += count * np.arange(len(drawn))[:, None]
        times = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        values.append(statistic(torch.from_numpy(times).double()))
    found = torch.cat(values)
    found = found[~found.isnan()]
    if not len(found):
        raise ValueError("the statistic was undefined on every resample")
    low, high = torch.quantile(found, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def mean_statistic(per_image: Tensor) -> Statistic:
    """For `bootstrap`: the mean of a number per image, such as `correct`."""
    _check(per_image)
    return lambda weights: weights @ per_image.double() / weights.sum(1)


def mean_per_class_statistic(right: Tensor, labels: Tensor) -> Statistic:
    """For `bootstrap`: mean over the classes drawn of their accuracy."""
    _check(right)
    _, dense = torch.unique(labels, return_inverse=True)
    member = torch.nn.functional.one_hot(dense).double()

    def statistic(weights: Tensor) -> Tensor:
        total, hits = weights @ member, weights @ (member * right.double()[:, None])
        present = total > 0
        return torch.where(present, hits / total, 0.0).sum(1) / present.sum(1)

    return statistic


def map11_statistic(scores: Tensor, labels: Tensor) -> Statistic:
    """For `bootstrap`: mean 11-point average precision over the classes with a positive drawn; NaN where none has."""
    _check(scores)

    def statistic(weights: Tensor) -> Tensor:
        points, kept = _weighted_ap11(scores, labels, weights)
        return torch.where(kept, points, 0.0).sum(1) / kept.sum(1)

    return statistic


def _weighted_ap11(scores: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Average precisions R x K with every image counted `weights` (R x N) times, and which have a positive."""
    _check(scores)
    columns = [_weighted_ap11_of(scores[:, k], labels[:, k], weights) for k in range(scores.shape[1])]
    return torch.stack([points for points, _ in columns], 1), torch.stack([kept for _, kept in columns], 1)


def _weighted_ap11_of(score: Tensor, label: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """One class. Precision is highest, for a given recall, right at a positive: only those are looked at.

    Equal scores keep the order of the images, as a stable sort does.
    """
    order = torch.argsort(score, descending=True, stable=True)
    hit = (label[order] > 0).nonzero()[:, 0]
    if not len(hit):
        return torch.zeros(len(weights), dtype=torch.float64), torch.zeros(len(weights), dtype=torch.bool)
    # numpy gathers and sums columns several times faster than torch does on a CPU.
    drawn = np.take(weights.numpy(), order.numpy(), axis=1)
    seen = torch.from_numpy(np.cumsum(drawn, axis=1)[:, hit.numpy()])
    true = torch.from_numpy(np.cumsum(drawn[:, hit.numpy()], axis=1))
    total = true[:, -1:]
    precision = torch.where(true > 0, true / seen, 0.0)
    best = precision.flip(1).cummax(1).values.flip(1)  # highest precision at this recall or beyond
    recall = torch.where(total > 0, true / total, 0.0)
    steps = torch.arange(11, dtype=torch.float64) / 10
    at = torch.searchsorted(recall.contiguous(), (steps - 1e-12).expand(len(weights), 11).contiguous())
    return best.gather(1, at.clamp(max=len(hit) - 1)).mean(1) * (total[:, 0] > 0), total[:, 0] > 0


def _check(values: Tensor) -> None:
    if values.numel() == 0:
        raise ValueError("there are no values")
    if torch.isnan(values).any():
        raise ValueError(f"{int(torch.isnan(values).sum())} of {values.numel()} scores are NaN")
