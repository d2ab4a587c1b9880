"""Low-shot: SVMs of every class on a few images of it, drawn several times, and how good they are on other images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jobs.lib import metrics, seeds, svm
from jobs.lib.failure import BadData


class Labels(NamedTuple):
    """N x K of 0/1, and N x K, True where a class is there only as a difficult thing: it counts neither way."""

    there: Tensor
    difficult: Tensor


class Few(NamedTuple):
    """The SVMs of one class: the rows that it was given, and their multiples, rows x costs."""

    rows: Tensor
    beta: Tensor


def draw(labels: Labels, label: int, shots: int, negatives: int, seed: int, sample: int) -> np.ndarray:
    """Rows for one class: `shots` positives, and `negatives` times as many others, or all where there are fewer.

    A pure function of the labels and (seed, shots, sample, class), whichever layer it is for.
    """
    generator = seeds.generator(seed, "low-shot", shots, sample, label)
    there = labels.there[:, label] > 0
    positive, negative = (rows.nonzero()[:, 0].numpy() for rows in (there, ~there & ~labels.difficult[:, label]))
    kept = generator.permutation(positive)[:shots], generator.permutation(negative)[: negatives * shots]
    return np.concatenate(kept)


def fit(gram: Tensor, there: Tensor, rows: np.ndarray, costs: Tensor, positive_weight: float, tolerance: float) -> Few:
    """The SVMs of one class, of each cost, on some rows of the N whose inner products `gram` has."""
    at = torch.from_numpy(rows).to(gram.device)
    signs, weights = svm.problem(there[rows].to(gram.device), positive_weight)
    times = gram[at][:, at].__matmul__
    columns = (signs[:, None].expand(-1, len(costs)), weights[:, None].expand(-1, len(costs)))
    return Few(at, svm.fit(times, *columns, costs, tolerance=tolerance).beta)


def mean_ap(products: Tensor, few: Sequence[Few], labels: Labels, costs: Sequence[int], *, undrawn: bool) -> Tensor:
    """Mean over the classes with a positive of their interpolated average precision, for some of the costs (float64).
    BadData where there is no such class.

    `products` are those of the images that are judged (M, with `labels`) with the N; `undrawn` where both are the same
    images: those that a class was given do not count for it.
    """
    points, kept = torch.zeros(len(costs), dtype=torch.float64), 0
    for label, (rows, beta) in enumerate(few):
        scores = (products[:, rows] @ beta[:, list(costs)]).cpu()
        ignored = labels.difficult[:, label].clone()
        if undrawn:
            ignored[rows.cpu()] = True
        there, away = (column[:, None].expand_as(scores) for column in (labels.there[:, label], ignored))
        found, has = metrics.average_precision(scores, there, away)
        points, kept = points + found, kept + int(has[0])
    if not kept:
        raise BadData(
            f"no class has a positive {'left to choose the cost on; take fewer shots' if undrawn else 'at test'}"
        )
    return points / kept
