"""Accuracies, average precision (11-point and full), calibration, and intervals for them."""

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


def correct(scores: Tensor, labels: Tensor, among: int = 1) -> Tensor:
    """1.0 where the label's score is the highest (`among` 5: one of the five highest), else 0.0 (float64)."""
    _check(scores)
    if among == 1:
        return (scores.argmax(1) == labels).double()
    best = scores.topk(min(among, scores.shape[1])).indices
    return (best == labels[:, None]).any(1).double()


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


def average_precision(
    scores: Tensor, labels: Tensor, ignored: Tensor | None = None, *, interpolated: bool = True
) -> tuple[Tensor, Tensor]:
    """Average precision of each class (K), and which classes have a positive; 0 for those without.

    `labels` are N x K of 0/1, `ignored` N x K of True where an image does not count for a class. It is the area under
    the precision-recall curve: `interpolated`, where precision is the highest at this recall or beyond (VOC's since
    2010), or not, as scikit-learn has it. Equal scores are one point of the curve: their order does not matter.
    """
    once = torch.ones(1, len(scores), dtype=torch.float64)
    points, kept = _weighted_ap(scores, labels, ignored, once, interpolated)
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
    names, dense = torch.unique(labels, return_inverse=True)

    def statistic(weights: Tensor) -> Tensor:
        none = weights.new_zeros(len(weights), len(names))
        total, hits = none.index_add(1, dense, weights), none.index_add(1, dense, weights * right.double())
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


def map_statistic(scores: Tensor, labels: Tensor, ignored: Tensor | None = None) -> Statistic:
    """For `bootstrap`: mean of the interpolated `average_precision` over the classes with a positive drawn; NaN where
    none has."""
    _check(scores)

    def statistic(weights: Tensor) -> Tensor:
        points, kept = _weighted_ap(scores, labels, ignored, weights, True)
        return torch.where(kept, points, 0.0).sum(1) / kept.sum(1)

    return statistic


def _weighted_ap(
    scores: Tensor, labels: Tensor, ignored: Tensor | None, weights: Tensor, interpolated: bool
) -> tuple[Tensor, Tensor]:
    """Average precisions R x K with every image counted `weights` (R x N) times, and which have a positive."""
    _check(scores)
    columns = []
    for k in range(scores.shape[1]):
        rows = torch.arange(len(scores)) if ignored is None else (~ignored[:, k]).nonzero()[:, 0]
        columns.append(_weighted_ap_of(scores[rows, k], labels[rows, k], weights, rows, interpolated))
    return torch.stack([points for points, _ in columns], 1), torch.stack([kept for _, kept in columns], 1)


def _weighted_ap_of(
    score: Tensor, label: Tensor, weights: Tensor, rows: Tensor, interpolated: bool
) -> tuple[Tensor, Tensor]:
    """One class, whose images are `rows`. Recall grows only where equal scores have a positive among them, and the
    precision there is the highest for it: only the ends of such runs are looked at."""
    order = torch.argsort(score, descending=True, stable=True)
    ranked, positive = score[order], (label[order] > 0).double()
    ends = torch.cat([(ranked[1:] != ranked[:-1]).nonzero()[:, 0], torch.tensor([len(ranked) - 1])[: len(ranked)]])
    held = positive.cumsum(0)[ends]
    ends = ends[held.diff(prepend=held.new_zeros(1)) > 0]
    if not len(ends):
        return torch.zeros(len(weights), dtype=torch.float64), torch.zeros(len(weights), dtype=torch.bool)
    # numpy gathers and sums columns several times faster than torch does on a CPU.
    drawn = np.take(weights.numpy(), rows[order].numpy(), axis=1)
    seen = torch.from_numpy(np.cumsum(drawn, axis=1)[:, ends.numpy()])
    true = torch.from_numpy(np.cumsum(drawn * positive.numpy(), axis=1)[:, ends.numpy()])
    total = true[:, -1:]
    precision = torch.where(true > 0, true / seen, 0.0)
    best = precision.flip(1).cummax(1).values.flip(1) if interpolated else precision
    gained = true.diff(dim=1, prepend=true.new_zeros(len(true), 1))
    area = (gained * best).sum(1) / total[:, 0]
    return torch.where(total[:, 0] > 0, area, 0.0), total[:, 0] > 0


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


def temperature(scores: Tensor, labels: Tensor, least: float = 1e-2, most: float = 1e2, rounds: int = 60) -> float:
    """The T from `least` to `most` for which softmax(scores / T) has the least cross-entropy (Guo et al., ICML 2017).

    The cross-entropy is convex in 1/T: Newton's steps find where its slope is 0, halving where they leave the bracket.
    A score of -inf is a class that is never predicted; images of such a class do not count.
    """
    _check(scores)
    own = scores.gather(1, labels[:, None])[:, 0].double()
    scores, own = scores[own.isfinite()], own[own.isfinite()]
    if not len(own):
        return 1.0
    low, high = 1 / most, 1 / least
    if _slope(scores, own, high)[0] <= 0:
        return least
    if _slope(scores, own, low)[0] >= 0:
        return most
    at = 1.0
    for _ in range(rounds):
        slope, curvature = _slope(scores, own, at)
        low, high = (at, high) if slope < 0 else (low, at)
        step = at - slope / curvature if curvature > 0 else low
        step = step if low < step < high else (low * high) ** 0.5
        if abs(step - at) <= 1e-10 * at:
            break
        at = step
    return 1 / at


def folded_ece(scores: Tensor, labels: Tensor, bins: int = BINS, folds: int = 5) -> float:
    """Expected calibration error after a temperature that another fold of the same images gave, averaged over folds.

    As Ericsson et al., CVPR 2021, have it: images shuffled by numpy's generator of seed 0, folds of floor(N / folds)
    (the rest is dropped), the temperature fitted on one, the error measured on the others together.
    """
    size = len(labels) // folds
    parts = torch.from_numpy(np.random.RandomState(0).permutation(len(labels))[: size * folds]).reshape(folds, size)
    found = []
    for number in range(folds):
        others = torch.cat([part for other, part in enumerate(parts) if other != number])
        at = temperature(scores[parts[number]], labels[parts[number]])
        found.append(ece(scores[others] / at, labels[others], bins))
    return float(np.mean(found))


def _slope(scores: Tensor, own: Tensor, inverse: float, most: int = 1 << 22) -> tuple[float, float]:
    """First and second derivative of the mean cross-entropy of softmax(inverse * scores) with respect to `inverse`;
    `own` is the score of each image's class. So many numbers of float64 are worked on at a time."""
    rows = max(1, most // scores.shape[1])
    slope = curvature = 0.0
    for start in range(0, len(scores), rows):
        z = scores[start : start + rows].double()
        z = z - z.max(1, keepdim=True).values
        chance = (inverse * z).softmax(1)
        z = torch.where(z.isfinite(), z, 0.0)
        mean = (chance * z).sum(1)
        curvature += float(((chance * z.square()).sum(1) - mean.square()).sum())
        slope += float(mean.sum())
    highest = scores.max(1).values.double()
    return (slope - float((own - highest).sum())) / len(scores), curvature / len(scores)
