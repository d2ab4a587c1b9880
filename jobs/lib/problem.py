"""Problem: a logistic regression as the solver sees it: centred features in their eigenbasis, targets, losses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jobs.lib.lbfgs import Outcome

FAR = -60.0  # logit differences below this have no weight; their exponentials would be denormal, and those are slow


@dataclass(frozen=True)
class Fit:
    """A linear classifier: weight K x D, bias K, and how it came about."""

    weight: Tensor
    bias: Tensor
    C: float
    objective: float
    iterations: int
    converged: bool

    def decision(self, x: Tensor | np.ndarray, rows: int = 8192) -> Tensor:
        """Scores N x K, computed `rows` rows at a time on the weight's device."""
        out = torch.empty(len(x), len(self.bias), device=self.weight.device)
        for start in range(0, len(x), rows):
            block = rows_of(x, start, start + rows, self.weight.device)
            torch.addmm(self.bias, block, self.weight.T, out=out[start : start + rows])
        return out


class Problem:
    """Centred features in the eigenbasis of their scatter, targets, and the maps from and to the user's coordinates."""

    def __init__(
        self,
        x: Tensor | np.ndarray,
        y: Tensor | np.ndarray,
        classes: int,
        loss: str,
        device: torch.device,
        memory: int,
    ) -> None:
        self.x, self.device, self.classes = x, device, classes
        self.rows = max(1, min(len(x), (memory // 16) // (4 * max(x.shape[1], classes))))
        self.mean, self.eigenvalues, self.basis = self._eigenbasis()
        self.resident: Tensor | None = None
        if 4 * len(x) * self.basis.shape[1] <= memory:
            self.resident = torch.cat([(block - self.mean) @ self.basis for block in self._raw()])
        self._targets(torch.as_tensor(y), loss)
        if not torch.isfinite(self.eigenvalues).all():
            raise ValueError("the features hold NaN or infinite values")

    def _targets(self, y: Tensor, loss: str) -> None:
        """Keep the columns that have a finite optimum; `absent` is the bias of the others."""
        y = y.to(self.device).long()
        if loss == "softmax":
            counts = torch.bincount(y, minlength=self.classes)
            kept = counts > 0
            y = (torch.cumsum(kept, 0) - 1)[y]
            self.absent = torch.full((self.classes,), -math.inf)
        else:
            counts = y.sum(0)
            kept = (counts > 0) & (counts < len(y))
            self.absent = torch.where(counts.cpu() > 0, math.inf, -math.inf)
        self.kept = kept.nonzero()[:, 0]
        number = len(self.kept)
        self.binary = loss == "softmax" and number == 2
        self.softmax = loss == "softmax" and number > 2
        self.columns = 1 if self.binary else (0 if loss == "softmax" and number == 1 else number)
        if loss == "softmax" and number == 1:
            self.absent[self.kept.cpu()] = 0.0
        if self.softmax:
            self.y = y
        else:
            self.y = (y[:, self.kept] if loss == "sigmoid" else y[:, None]).float()
        prior = counts[self.kept].double() / len(y)
        entropy = -torch.special.xlogy(prior, prior).sum()
        if loss == "sigmoid":
            entropy -= torch.special.xlogy(1 - prior, 1 - prior).sum()
        self.null = float(entropy) * len(y)  # loss of the best classifier without weights

    def _raw(self) -> Iterator[Tensor]:
        for start in range(0, len(self.x), self.rows):
            yield rows_of(self.x, start, start + self.rows, self.device)

    def _eigenbasis(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, eigenvalues and eigenvectors of the scatter matrix.

        The basis must be orthonormal, but need not be exactly the eigenvectors: they only precondition.
        """
        total = sum(block.sum(0, dtype=torch.float64) for block in self._raw())
        mean = (total / len(self.x)).float()
        scatter = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=self.device)
        for block in self._raw():
            centred = block - mean
            scatter += centred.T @ centred
        values, vectors = torch.linalg.eigh(scatter)
        rank = min(len(self.x), len(mean))  # beyond it the eigenvalues are zero, and so is the solution
        return mean, values[-rank:].clamp(min=0).float(), vectors[:, -rank:].float().contiguous()

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Row ranges with their features: rotated if resident, else only centred."""
        for start in range(0, len(self.x), self.rows):
            part = slice(start, min(start + self.rows, len(self.x)))
            if self.resident is not None:
                yield part, self.resident[part]
            else:
                yield part, rows_of(self.x, part.start, part.stop, self.device) - self.mean

    def logits(self, at: Tensor) -> Tensor:
        weight = at[:-1] if self.resident is not None else self.basis @ at[:-1]
        out = torch.empty(len(self.x), self.columns, device=self.device)
        for part, block in self.blocks():
            torch.addmm(at[-1], block, weight, out=out[part])
        return out

    def gradient(self, residual: Tensor) -> Tensor:
        """Gradient of the summed loss in the eigenbasis, the intercept's in the last row."""
        width = self.basis.shape[1] if self.resident is not None else len(self.mean)
        total = torch.zeros(width, self.columns, device=self.device)
        for part, block in self.blocks():
            total.addmm_(block.T, residual[part])
        if self.resident is None:
            total = self.basis.T @ total
        return torch.cat([total, residual.sum(0, keepdim=True)])

    def zeros(self) -> Tensor:
        return torch.zeros(self.basis.shape[1] + 1, self.columns, device=self.device)

    def state(self, start: Fit) -> Tensor:
        """A Fit's weights in the coordinates of this problem."""
        weight, bias = start.weight.to(self.device)[self.kept], start.bias.to(self.device)[self.kept]
        bias = torch.where(torch.isfinite(bias), bias, torch.zeros_like(bias))
        if self.binary:
            weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
        return torch.cat([self.basis.T @ weight.T, (bias + weight @ self.mean)[None]])

    def result(self, at: Tensor, C: float, outcome: Outcome) -> Fit:
        weight = torch.zeros(self.classes, len(self.mean), device=self.device)
        bias = self.absent.to(self.device, copy=True)
        if self.columns:
            rows = (self.basis @ at[:-1]).T
            shift = at[-1] - rows @ self.mean
            if self.binary:
                rows, shift = torch.cat([-rows, rows]) / 2, torch.cat([-shift, shift]) / 2
            weight[self.kept], bias[self.kept] = rows, shift
        return Fit(weight, bias, C, outcome.objective, outcome.iterations, outcome.converged)


def softmax(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per-row loss, residual and probabilities; the label's residual is minus the sum of the others, never 1 - p."""
    u = z - z.gather(1, y[:, None])
    top = u.amax(1, keepdim=True).clamp_(min=0)
    u -= top
    e = torch.where(u < FAR, 0.0, u.exp()).scatter_(1, y[:, None], 0.0)
    label, others = torch.exp(-top), e.sum(1, keepdim=True)
    # log1p keeps losses far below float32's epsilon; it is only right where the label has the largest logit.
    row = top + torch.where(top == 0, torch.log1p(others), torch.log(label + others))
    e /= label + others
    residual = e.scatter(1, y[:, None], -others / (label + others))
    return row, residual, e.scatter_(1, y[:, None], label / (label + others))


def sigmoid(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per-entry loss, residual and probabilities, exact for losses far below float32's epsilon."""
    sign = 1 - 2 * y
    wrong = torch.where(sign * z < FAR, 0.0, torch.sigmoid(sign * z))
    return torch.nn.functional.softplus(sign * z), sign * wrong, torch.sigmoid(z)


def rows_of(x: Tensor | np.ndarray, start: int, stop: int, device: torch.device) -> Tensor:
    """Rows start to stop as float32 on the device."""
    block = x[start:stop]
    # A memmap may be read-only, which torch cannot express: copy the rows, they are few.
    tensor = block if isinstance(block, Tensor) else torch.from_numpy(np.array(block))
    return tensor.to(device, torch.float32)
