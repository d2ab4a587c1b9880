"""Linear support vector machines: one-vs-rest, squared hinge, L2-regularised, many at a time.

Each column p minimises, over weights w and bias b (which is regularised too, as the weight of one more feature of 1),

    |w|^2 / 2 + b^2 / 2 + cost_p * sum_i weights_ip * max(0, 1 - signs_ip * (w . x_i + b))^2,

which is liblinear's primal with intercept_scaling 1 (Fan et al., JMLR 2008, L2-loss SVC): the optimum is unique, so
that how it is found makes no difference. It is found by truncated Newton steps (Keerthi and DeCoste, JMLR 2005), in the
coordinates of Chapelle (Neural Computation 2007): w = sum_i beta_i x_i, so that a step needs the rows' inner products K
only. These are computed once, and shared by all classes, costs and folds: a row of weight 0 is not in a column's
problem, but gets its score. A step of conjugate gradients on P columns is one product K v, 2 N^2 P operations or, where
rows are more than twice as many as features, two with the rows themselves, 4 N D P. All in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jobs.lib.failure import Diverged
from jobs.lib.rows import Rows

BLOCK = 2048  # rows that are read at a time
FLOOR = 1e-5  # added to a row's length before it is divided by it
STEPS = 200  # of Newton; some 5 to 20 are needed
INNER = 2000  # of conjugate gradients in a step, at most
FORCING = 0.1  # the part of the gradient that a step may leave
Product = Callable[[Tensor], Tensor]  # N x P -> K times it


class UnitRows(Rows):
    """Rows of length (nearly) 1: x / (|x| + 1e-5), as the published SVMs have it."""

    def __getitem__(self, asked: slice | np.ndarray) -> np.ndarray:
        x = super().__getitem__(asked)
        return x / (np.linalg.norm(x, axis=1, keepdims=True) + np.float32(FLOOR))


class Fit(NamedTuple):
    """What was found: the rows' multiples `beta` and scores w . x_i + b, both N x P, and the Newton steps it took."""

    beta: Tensor
    scores: Tensor
    steps: int


def gram(rows: Rows, device: torch.device | str = "cpu") -> Tensor:
    """Inner products of all rows, N x N: those of the features, and 1 for the bias. N^2 D operations."""
    made = torch.empty(len(rows), len(rows), dtype=torch.float64, device=device)
    for at, block in _blocks(rows, device):
        for other, against in _blocks(rows, device, at.stop):
            found = block @ against.mT + 1
            made[at, other], made[other, at] = found, found.mT
    return made


def cross(others: Rows, rows: Rows, device: torch.device | str = "cpu") -> Tensor:
    """Inner products, M x N, of `others` with `rows`, as `gram` has them. 2 M N D operations."""
    made = torch.empty(len(others), len(rows), dtype=torch.float64, device=device)
    for at, block in _blocks(others, device):
        for other, against in _blocks(rows, device):
            made[at, other] = block @ against.mT + 1
    return made


def product(rows: Rows, device: torch.device | str = "cpu") -> Product:
    """v -> K v, by whichever way is shorter: with the Gram matrix, or with the rows, which then stay on disk."""
    if len(rows) <= 2 * rows.shape[1]:
        return gram(rows, device).__matmul__
    return lambda v: scores(rows, v, rows)


def scores(rows: Rows, beta: Tensor, others: Rows) -> Tensor:
    """w . x + b of each of `others` (M) for the multiples `beta` (N x P) of `rows`: M x P."""
    weight = torch.zeros(rows.shape[1], beta.shape[1], dtype=torch.float64, device=beta.device)
    for at, block in _blocks(rows, beta.device):
        weight += block.mT @ beta[at]
    return torch.cat([block @ weight for _, block in _blocks(others, beta.device)]) + beta.sum(0)


def problem(labels: Tensor, positive_weight: float) -> tuple[Tensor, Tensor]:
    """Signs and weights of rows, in the shape of their 0/1 labels, as `fit` takes them; a negative has weight 1."""
    signs = torch.where(labels > 0, 1.0, -1.0).double()
    return signs, torch.where(labels > 0, positive_weight, 1.0).double()


def fit(
    times: Product, signs: Tensor, weights: Tensor, costs: Tensor, start: Fit | None = None, tolerance: float = 1e-4
) -> Fit:
    """The optimum of each column: `signs` and `weights` N x P, `costs` P, float64 on one device. Diverged where none.

    The distance of w (with b) to the optimum is at most `tolerance` of its length: that is proved by the gradient,
    as the objective is strongly convex with modulus 1.
    """
    twice = 2 * costs * weights
    beta, found = (start.beta.clone(), start.scores.clone()) if start else (torch.zeros_like(signs) for _ in range(2))
    for step in range(STEPS):
        gradient, slope = _gradient(twice, signs, beta, found)
        slopes = times(gradient)
        short = (gradient * slopes).sum(0) > tolerance**2 * (beta * found).sum(0)
        if not short.any():
            return Fit(beta, found, step)
        at = short.nonzero()[:, 0]
        towards, change = _direction(times, slope[:, at], gradient[:, at], slopes[:, at])
        length = _length(twice[:, at], signs[:, at], beta[:, at], found[:, at], towards, change)
        beta[:, at] += length * towards
        found[:, at] += length * change
    raise Diverged(f"{int(short.sum())} of {len(short)} SVMs are not found after {STEPS} steps")


def path(
    times: Product, signs: Tensor, weights: Tensor, costs: list[float], tolerance: float = 1e-4
) -> Iterator[tuple[float, Fit]]:
    """(cost, fit) from the smallest cost to the largest, each begun where the last one ended."""
    found = None
    for cost in sorted(costs):
        found = fit(times, signs, weights, torch.full_like(signs[0], cost), found, tolerance)
        yield cost, found


def _gradient(twice: Tensor, signs: Tensor, beta: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """The objective's gradient as multiples of the rows, and its second derivative by each row's score."""
    slope = twice * (signs * found < 1)
    return beta - slope * (signs - found), slope


def _direction(times: Product, slope: Tensor, gradient: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Newton's direction as multiples of the rows, and how it changes the scores, by conjugate gradients.

    `slopes` is K times `gradient`; a column that has reached its tolerance rests, and is left out of products.
    """
    towards, change = torch.zeros_like(gradient), torch.zeros_like(gradient)
    live = torch.arange(gradient.shape[1], device=gradient.device)
    left, seen = -gradient, -slopes
    ahead, shown = left.clone(), seen.clone()
    squared = (left * seen).sum(0)
    enough = FORCING**2 * squared
    for _ in range(INNER):
        bent = ahead + slope * shown
        length = squared / (shown * bent).sum(0)
        towards[:, live] += length * ahead
        change[:, live] += length * shown
        left = left - length * bent
        seen = times(left)
        before, squared = squared, (left * seen).sum(0)
        going = squared > enough
        if not going.any():
            break
        ahead, shown = left + squared / before * ahead, seen + squared / before * shown
        if not going.all():
            live, slope, enough, squared = live[going], slope[:, going], enough[going], squared[going]
            left, ahead, shown = left[:, going], ahead[:, going], shown[:, going]
    return towards, change


def _length(twice: Tensor, signs: Tensor, beta: Tensor, found: Tensor, towards: Tensor, change: Tensor) -> Tensor:
    """How far to go, for each column: 1, or the first half of it that lowers the objective as it should (Armijo)."""

    def objective(length: Tensor) -> Tensor:
        gap = (1 - signs * (found + length * change)).clamp_min(0)
        norm = (beta * found + 2 * length * towards * found + length**2 * towards * change).sum(0)
        return (norm + (twice * gap.square()).sum(0)) / 2

    gradient, _ = _gradient(twice, signs, beta, found)
    promised = 1e-4 * (gradient * change).sum(0)
    length = torch.ones_like(promised)
    begun = objective(torch.zeros_like(length))
    for _ in range(40):
        poor = objective(length) > begun * (1 + 1e-12) + length * promised
        if not poor.any():
            break
        length = torch.where(poor, length / 2, length)
    return length


def _blocks(rows: Rows, device: torch.device | str, stop: int | None = None) -> Iterator[tuple[slice, Tensor]]:
    """The rows before `stop` (all of them), block by block, and which they are."""
    stop = len(rows) if stop is None else stop
    for start in range(0, stop, BLOCK):
        at = slice(start, min(start + BLOCK, stop))
        yield at, torch.from_numpy(rows[at]).to(device).double()
