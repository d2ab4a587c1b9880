"""L-BFGS on a logistic regression, preconditioned by the features' scatter; nothing in an iteration waits for a GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.lib.problem import Problem, sigmoid, softmax

PAIRS = 6  # L-BFGS memory
SEARCH = 16  # most evaluations of a line search; they cost no pass over the features
SEARCH_BLIND = 5  # and where looking whether it may end would wait for a GPU
SLOPE = 0.5  # a line search ends where the slope has fallen to this part of the first
REFRESH = 50  # iterations after which the cached logits are computed anew, against rounding drift
STALL = 20  # iterations without relative progress of STALL_GAIN after which float32 has no more to give
STALL_GAIN = 1e-8
FLOOR = 1e-5  # of the objective: no smaller part of it is resolved to the tolerance


@dataclass(frozen=True)
class Outcome:
    """What one minimisation reports besides its point."""

    objective: float
    iterations: int
    converged: bool


class Solver:
    """L-BFGS in the eigenbasis; its line search is on cached logits, so an iteration is one pass over the features.

    It works on lambda/2 ||W||^2 + sum of losses, lambda = 1/C. All scalars are 1 x 1 tensors for softmax and 1 x K for
    one-vs-rest, whose K problems thus run side by side, each with its own steps and curvature.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []  # step, gradient difference, 1 / their product
        self.lam = 0.0  # what the gradient differences belong to
        # Iterations between looks at convergence, each of which is a round trip to the host.
        self.look = 1 if problem.device.type == "cpu" else 4

    def minimise(
        self, lam: float, at: Tensor, tolerance: float, limit: int, least: int | None, z: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Outcome]:
        """Minimise from `at`, until the model's estimate of the gap will do and `least` passes are done.

        With least=None until the rigorous bound will do. `z` are the logits there, if known, and will be written to.
        """
        self._rescale(lam)
        z = self.problem.logits(at) if z is None else z
        value, residual, curvature = self._evaluate(z)
        gradient = self._gradient(residual, at, lam)
        passes, best, best_at, converged = 1, math.inf, 0, False
        while True:
            scale = self._scale(curvature, lam)
            step = self._direction(gradient, scale)
            if passes % self.look == 0 or passes >= limit:
                objective = value + lam / 2 * at[:-1].square().sum(dtype=torch.float64)
                model = -(gradient * step).sum(dtype=torch.float64) / 2
                now, bound, guess = torch.stack([objective, self._bound(gradient, scale, lam), model]).tolist()
                if now < best * (1 - STALL_GAIN):
                    best, best_at = now, passes
                stalled = passes - best_at >= STALL
                # Where the penalty rules, nearly all of the objective is what no classifier could change.
                enough = tolerance * max(min(now, self.problem.null - now), FLOOR * now)
                if least is None and not stalled:
                    converged = bound <= enough
                else:
                    converged = guess <= enough and passes >= (least or 1)
                if converged or stalled or passes >= limit or not math.isfinite(now):
                    break
            slope = self.problem.logits(step)
            t = self._search(z, slope, at, gradient, step, lam)
            at = at + t * step
            z = self.problem.logits(at) if passes % REFRESH == 0 else z.addcmul_(t, slope)
            value, residual, curvature = self._evaluate(z)
            after = self._gradient(residual, at, lam)
            self.pairs = [*self.pairs[1 - PAIRS :], self._pair(t * step, after - gradient)]
            gradient, passes = after, passes + 1
        if not math.isfinite(now):
            raise ValueError("the objective is not finite: are there NaN or huge values among the features?")
        return at, z, Outcome(now / lam, passes, converged)

    def _evaluate(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Summed loss, residual N x K, and the mean curvature p(1-p) of each column."""
        value = torch.zeros((), dtype=torch.float64, device=z.device)
        curvature = torch.zeros(z.shape[1], device=z.device)
        residuals = []
        for part in self._parts():
            row, residual, p = self._loss(z[part], self.problem.y[part])
            value += row.sum(dtype=torch.float64)
            curvature += (p * (1 - p)).sum(0)
            residuals.append(residual)
        return value, residuals[0] if len(residuals) == 1 else torch.cat(residuals), curvature / len(z)

    def _loss(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return softmax(z, y) if self.problem.softmax else sigmoid(z, y)

    def _parts(self) -> list[slice]:
        rows = self.problem.rows
        return [slice(start, start + rows) for start in range(0, len(self.problem.y), rows)]

    def _gradient(self, residual: Tensor, at: Tensor, lam: float) -> Tensor:
        gradient = self.problem.gradient(residual)
        gradient[:-1] += lam * at[:-1]
        return gradient

    def _dot(self, a: Tensor, b: Tensor) -> Tensor:
        if self.problem.softmax:
            return torch.dot(a.flatten(), b.flatten()).view(1, 1)
        return (a * b).sum(0, keepdim=True)

    def _scale(self, curvature: Tensor, lam: float) -> Tensor:
        """Diagonal inverse Hessian: what it would be if every sample had its column's mean curvature."""
        curvature = curvature.clamp(min=1e-20)
        weight = 1 / (lam + self.problem.eigenvalues[:, None] * curvature)
        return torch.cat([weight, 1 / (len(self.problem.x) * curvature + 1e-20)[None]])

    def _bound(self, gradient: Tensor, scale: Tensor, lam: float) -> Tensor:
        """Distance to the optimum: by lambda-strong convexity, and for the intercept the Newton decrement."""
        penalised = gradient[:-1].square().sum(dtype=torch.float64) / (2 * lam)
        return penalised + (gradient[-1].square() * scale[-1]).sum(dtype=torch.float64) / 2

    def _pair(self, step: Tensor, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        product = self._dot(step, change)
        return step, change, torch.where(product > 1e-30, 1 / product, 0.0)

    def _rescale(self, lam: float) -> None:
        """Bring the pairs to another lambda, exactly: the penalty's part of a gradient difference is lambda * step."""
        for step, change, _ in self.pairs:
            change[:-1].add_(step[:-1], alpha=lam - self.lam)
        self.pairs = [self._pair(step, change) for step, change, _ in self.pairs]
        self.lam = lam

    def _direction(self, gradient: Tensor, scale: Tensor) -> Tensor:
        """The L-BFGS two-loop recursion from the diagonal, which is stretched to fit the newest pair."""
        q, alphas = gradient.clone(), []
        for step, change, inverse in reversed(self.pairs):
            alphas.append(inverse * self._dot(step, q))
            q.addcmul_(alphas[-1], change, value=-1)
        if self.pairs:
            _, change, inverse = self.pairs[-1]
            stretch = self._dot(change * scale, change) * inverse
            q *= torch.where(stretch > 0, 1 / stretch, 1.0)
        q *= scale
        for (step, change, inverse), alpha in zip(self.pairs, reversed(alphas), strict=True):
            q.addcmul_(alpha - inverse * self._dot(change, q), step)
        return q.neg_()

    def _search(self, z: Tensor, slope: Tensor, at: Tensor, gradient: Tensor, step: Tensor, lam: float) -> Tensor:
        """The step length: safeguarded Newton on the line, from t = 1; never one that goes up."""
        fixed, moving = lam * self._dot(at[:-1], step[:-1]), lam * self._dot(step[:-1], step[:-1])
        t, low, high = torch.ones_like(moving), torch.zeros_like(moving), torch.full_like(moving, math.inf)
        enough = SLOPE * self._dot(gradient, step).abs()
        for _ in range(SEARCH if self.look == 1 else SEARCH_BLIND):
            first, second = self._derivatives(z, slope, t)
            first, second = first + fixed + t * moving, second + moving
            low, high = torch.where(first <= 0, t, low), torch.where(first > 0, t, high)
            done = first.abs() <= enough
            if self.look == 1 and bool(done.all()):
                return t
            newton = t - first / second.clamp(min=1e-30)
            retreat = torch.where(low > 0, (low + high) / 2, 0.1 * high)
            safe = torch.where(high < math.inf, retreat, 2 * t)
            bracketed = torch.where((newton > low) & (newton < high), newton, safe)
            t = torch.where(done, t, torch.minimum(bracketed, 10 * t))
        return torch.where(done, t, low)  # the slope at `low` is not positive, so by convexity nothing between goes up

    def _derivatives(self, z: Tensor, slope: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """First and second derivative of the summed loss along the line."""
        first, second = torch.zeros_like(t), torch.zeros_like(t)
        for part in self._parts():
            d = slope[part]
            _, residual, p = self._loss(torch.addcmul(z[part], t, d), self.problem.y[part])
            first += self._dot(residual, d)
            if self.problem.softmax:
                p *= d
                second += self._dot(p, d) - p.sum(1).square().sum()
            else:
                second += self._dot(p * (1 - p), d * d)
        return first, second
