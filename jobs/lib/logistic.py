"""L2-regularised logistic regression, softmax or one-vs-rest, for one C or a whole path of them.

Objective: 0.5 * ||W||^2 + C * sum_i loss_i, intercept not penalised, as scikit-learn's LogisticRegression.
Two classes under "softmax" are one sigmoid whose single weight vector is penalised, also as scikit-learn; its result
is returned as two rows -w/2, w/2. A class without a training sample (or, multi-label, without a negative) has its
optimum at an infinite intercept: it is left out of the fit and returned as weight 0, bias -inf (+inf).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from jobs.lib.lbfgs import Outcome, Solver
from jobs.lib.problem import Fit, Problem

FRESH = 5  # values of C after which extrapolated logits are computed anew
COARSE = 1e-2  # tolerance of the values of C that are only passed through
LEAST = 2  # passes for each C of a path: right after an extrapolation the estimate of the gap is too good to be true
RUNG = math.sqrt(10.0)  # largest ratio between neighbouring values of C that one warm start bridges


def fit(
    x: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    classes: int,
    C: float,
    *,
    loss: str = "softmax",
    start: Fit | None = None,
    max_iterations: int = 2000,
    tolerance: float = 1e-6,
    device: str | torch.device = "cpu",
    memory: int = 4 << 30,
) -> Fit:
    """The minimiser for one C.

    `converged`: strong convexity certifies that the objective is within `tolerance` of the least, relative to itself
    or, if less, to what the weights gain over intercepts alone. Where float32 cannot resolve that (a large C): there
    was no progress for STALL iterations, and the quasi-Newton model's estimate of the gap is below it.
    x: N x D, float16 or float32, tensor or memmap; y: N class numbers, or N x K of 0/1 with loss="sigmoid".
    Features (as float32) of up to `memory` bytes stay on the device, larger ones are streamed in every iteration;
    besides them the solver holds about 3 * N * K float32 on the device.
    """
    _check(x, y, classes, [C], loss)
    problem = Problem(x, y, classes, loss, torch.device(device), memory)
    if not problem.columns:
        return problem.result(problem.zeros(), C, Outcome(0.0, 0, True))
    state, spent = None if start is None else problem.state(start), 0
    if state is None:
        for _, at, outcome in _solve_path(problem, _ladder(problem, C)[:-1], [], COARSE, max_iterations):
            state, spent = at, spent + outcome.iterations
    solver = Solver(problem)
    state = problem.zeros() if state is None else state
    at, _, outcome = solver.minimise(1 / C, state, tolerance, max_iterations, None)
    return problem.result(at, C, replace(outcome, iterations=outcome.iterations + spent))


def path(
    x: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    classes: int,
    Cs: Sequence[float],
    *,
    loss: str = "softmax",
    max_iterations: int = 100,
    tolerance: float = 1e-4,
    device: str | torch.device = "cpu",
    memory: int = 4 << 30,
) -> list[Fit]:
    """A Fit for each C, in the order of `Cs`, solved from the smallest C upwards.

    `converged` says less than in `fit`: it goes by the quasi-Newton model's estimate of the gap, which is not a bound.
    Seen, on features of a real network: within 1e-3 of the least; a few percent at large C on 100 classes that overlap.
    """
    _check(x, y, classes, Cs, loss)
    problem = Problem(x, y, classes, loss, torch.device(device), memory)
    if not problem.columns:
        return [problem.result(problem.zeros(), C, Outcome(0.0, 0, True)) for C in Cs]
    wanted = sorted(set(Cs))
    rungs = _ladder(problem, wanted[0]) + [C for low, high in pairwise(wanted) for C in _between(low, high)]
    found, spent = {}, 0
    for C, at, outcome in _solve_path(problem, rungs, wanted, tolerance, max_iterations):
        spent += outcome.iterations
        if C in wanted:
            found[C], spent = problem.result(at, C, replace(outcome, iterations=spent)), 0
    return [found[C] for C in Cs]


def select(fits: Sequence[Fit], score: Callable[[Fit], float]) -> tuple[Fit, float]:
    """The fit with the highest score, and that score; among equals the one with the largest C."""
    scored = [(score(each), each.C, each) for each in fits]
    if any(math.isnan(value) for value, _, _ in scored):
        raise ValueError(f"a validation score is NaN: {[(C, value) for value, C, _ in scored]}")
    value, _, best = max(scored, key=lambda row: row[:2])
    return best, value


def _check(x: Tensor | np.ndarray, y: Tensor | np.ndarray, classes: int, Cs: Sequence[float], loss: str) -> None:
    """Refuse input that would give a wrong number rather than an error."""
    if loss not in ("softmax", "sigmoid"):
        raise ValueError(f"loss is {loss!r}; known: 'softmax', 'sigmoid'")
    shape = (len(x),) if loss == "softmax" else (len(x), classes)
    if tuple(y.shape) != shape or len(x) == 0:
        raise ValueError(f"labels are {tuple(y.shape)}; loss={loss!r} needs {shape}, with at least one row")
    highest = classes - 1 if loss == "softmax" else 1
    if y.min() < 0 or y.max() > highest:
        raise ValueError(f"labels run from {int(y.min())} to {int(y.max())}; expected 0 to {highest}")
    if not Cs or not all(0 < C < math.inf for C in Cs):
        raise ValueError(f"C must be positive and finite: {list(Cs)}")


def _between(low: float, high: float) -> list[float]:
    """Values after `low` up to and with `high`, no two further apart than RUNG."""
    steps = max(1, math.ceil(math.log(high / low) / math.log(RUNG) - 1e-9))
    return [low * (high / low) ** (step / steps) for step in range(1, steps)] + [high]


def _ladder(problem: Problem, C: float) -> list[float]:
    """Values of C from one where the penalty rules (any start is good there) up to and with `C`."""
    easy = 1 / max(float(problem.eigenvalues[-1]), 1e-12)
    return [C] if easy >= C else [easy, *_between(easy, C)]


def _solve_path(
    problem: Problem, rungs: Sequence[float], wanted: Sequence[float], tolerance: float, limit: int
) -> Iterator[tuple[float, Tensor, Outcome]]:
    """Solve for ascending C, coarsely where not wanted; starts are extrapolated linearly in log C from the last two."""
    solver = Solver(problem)
    now, before = None, None
    for number, C in enumerate(rungs):
        if now is None:
            at, z = problem.zeros(), None
        else:
            at, z = now[1], now[2].clone()
        if now is not None and before is not None:
            ratio = min(1.0, math.log(C / now[0]) / math.log(now[0] / before[0]))
            at = torch.lerp(before[1], at, 1 + ratio)
            z = torch.lerp(before[2], z, 1 + ratio)
        if number % FRESH == 0:
            z = None
        least, enough = (LEAST, tolerance) if C in wanted else (1, COARSE)
        at, z, outcome = solver.minimise(1 / C, at, enough, limit, least, z)
        now, before = (C, at, z), now
        yield C, at, outcome
