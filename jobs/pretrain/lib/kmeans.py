"""k-means and whitening of many rows into many clusters: in chunks, never with all distances in memory.

Rows are N x D float32, on any device, also of a mapped file; all is computed where they are, and is a function of the
arguments alone: sums are over rows in order, not in the order in which threads come.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

CELLS = 1 << 24  # numbers in the largest array that is made: 64 MB of distances
BLOCK = 1 << 16  # centroids that rows are compared with at once
APART = 0.1  # how far, towards a member, the halves of a cluster begin from its centroid
NOTHING = 1e-10  # of the largest variance: directions with less have none


class Clusters(NamedTuple):
    """`centroids` K x D, the cluster of each row, N `labels`, and the sum of squared distances to the centroids."""

    centroids: Tensor
    labels: Tensor
    inertia: float


@torch.no_grad()
def kmeans(
    rows: Tensor, clusters: int, draw: np.random.Generator | int, *, iterations: int = 20, first: Tensor | None = None
) -> Clusters:
    """Lloyd's algorithm from `first` or else random rows, until no label changes or so many iterations are over.

    A cluster that gets empty is refilled: it takes a half of the largest one. It stays empty only where all members of
    the largest are the same.
    """
    if clusters > len(rows):
        raise ValueError(f"{len(rows)} rows cannot begin {clusters} clusters")
    if first is None:
        chosen = np.random.default_rng(draw).choice(len(rows), clusters, replace=False)
        first = rows[torch.from_numpy(chosen).to(rows.device)]
    centroids = first.to(rows)
    labels = nearest(rows, centroids)
    for _ in range(iterations):
        centroids, before = means(rows, labels, centroids), labels
        refilled = _refill(rows, labels, centroids)
        labels = nearest(rows, centroids)
        if not refilled and torch.equal(labels, before):
            break
    return Clusters(centroids, labels, _inertia(rows, centroids, labels))


@torch.no_grad()
def nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    """The number of the centroid nearest to each row."""
    found = torch.zeros(len(rows), dtype=torch.long, device=rows.device)
    for at in _chunks(len(rows), min(len(centroids), BLOCK)):
        # |x - c|^2 / 2 but for what all centroids share, |x|^2 / 2
        some, best = rows[at], torch.full((at.stop - at.start,), torch.inf, device=rows.device)
        for begin in range(0, len(centroids), BLOCK):
            block = centroids[begin : begin + BLOCK]
            least, where = torch.addmm(block.square().sum(1) / 2, some, block.T, alpha=-1).min(1)
            found[at] = torch.where(least < best, where + begin, found[at])
            best = torch.minimum(least, best)
    return found


@torch.no_grad()
def means(rows: Tensor, labels: Tensor, centroids: Tensor) -> Tensor:
    """The mean of the rows of each cluster, summed in float64; of an empty one the centroid that it had."""
    sums = torch.zeros(centroids.shape, dtype=torch.float64, device=rows.device)
    for at in _chunks(len(rows), rows.shape[1] * (1 if rows.is_cuda else 16)):
        (_add_sorted if rows.is_cuda else _add)(sums, rows[at], labels[at])
    sizes = torch.bincount(labels, minlength=len(sums))[:, None]
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), centroids.double()).to(rows.dtype)


@torch.no_grad()
def whiten(rows: Tensor, dimension: int, device: torch.device | str | None = None) -> Tensor:
    """The rows' first principal components, each divided by its deviation, as unit vectors, on `device`.

    Directions without variance give zeros, as do components that the rows do not have.
    """
    device = device or rows.device
    mean = torch.zeros(rows.shape[1], dtype=torch.float64, device=device)
    for at in _chunks(len(rows), rows.shape[1]):
        mean += rows[at].to(device).double().sum(0) / len(rows)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=device)
    for at in _chunks(len(rows), rows.shape[1]):
        centred = rows[at].to(device).double() - mean
        covariance.addmm_(centred.T, centred, alpha=1 / max(len(rows) - 1, 1))
    variances, directions = (found.flip(-1)[..., :dimension] for found in torch.linalg.eigh(covariance.cpu()))
    there = variances > NOTHING * variances.max().clamp(min=1e-300)
    directions = (directions * torch.where(there, variances, torch.inf) ** -0.5).to(device)
    made = torch.zeros(len(rows), dimension, device=device)
    for at in _chunks(len(rows), rows.shape[1]):
        made[at, : len(variances)] = F.normalize((rows[at].to(device).double() - mean) @ directions, dim=1).float()
    return made


def _chunks(count: int, width: int) -> Iterator[slice]:
    """Slices of rows that have, with so many numbers for each, no more than CELLS."""
    step = max(CELLS // width, 1)
    return (slice(begin, min(begin + step, count)) for begin in range(0, count, step))


def _add(sums: Tensor, rows: Tensor, labels: Tensor) -> None:
    sums.index_add_(0, labels, rows.double())


def _add_sorted(sums: Tensor, rows: Tensor, labels: Tensor) -> None:
    """The same for a GPU, where adding to an index has no fixed order: rows of a cluster become neighbours."""
    sizes, order = torch.bincount(labels, minlength=len(sums)), labels.argsort(stable=True)
    sums += torch.segment_reduce(rows[order].double(), "sum", lengths=sizes, initial=0.0)


def _refill(rows: Tensor, labels: Tensor, centroids: Tensor) -> int:
    """Gives every empty cluster half of what is then the largest, in place; how many were empty.

    The plane between the two new centroids goes through the old one, across the direction to one of the farthest
    members, of which every further split takes the next.
    """
    sizes = torch.bincount(labels, minlength=len(centroids)).tolist()
    empty = [cluster for cluster, size in enumerate(sizes) if not size]
    if not empty:
        return 0
    heap = [(-size, cluster, 0) for cluster, size in enumerate(sizes) if size]
    heapq.heapify(heap)
    order, ends = labels.argsort(stable=True), np.cumsum(sizes)
    split: dict[int, Tensor] = {}
    for cluster in empty:
        size, large, times = heapq.heappop(heap)
        if large not in split:
            members = order[ends[large] - sizes[large] : ends[large]]
            away = rows[members] - centroids[large]
            farthest = away.square().sum(1).sort(descending=True, stable=True).indices
            split[large] = away[farthest[: len(empty)]]
        aside = APART * split[large][times % len(split[large])]
        centroids[cluster] = centroids[large] + aside
        centroids[large] -= aside
        heapq.heappush(heap, (size / 2, large, times + 1))
    return len(empty)


def _inertia(rows: Tensor, centroids: Tensor, labels: Tensor) -> float:
    parts = ((rows[at] - centroids[labels[at]]).square().sum(dtype=torch.float64) for at in _chunks(*rows.shape))
    return float(sum(parts))
