"""Heads: linear classifiers trained side by side by SGD on the same features, each with its own rate and weight decay.

Protocol: Sariyildiz et al., Concept generalization in visual representation learning, ICCV 2021, and its code: a linear
layer with bias as torch initialises it, cross-entropy, SGD with momentum (not Nesterov's), weight decay on weight and
bias, the last batch of an epoch as small as it comes, a new order every epoch, a cosine by epochs (`factor`).

All heads see the same batches and begin with the same weights, both functions of the seed alone: each is what it would
be if it were trained alone. A batch is gathered once for all of them.

What bounds a step is its two products, of 4 * batch * dimension * classes operations a head together. With products in
"bfloat16" the features, a copy of the weights, the logits and the gradients are bfloat16 (as under autocast); weights,
momenta, losses and all sums stay float32. On 100 classes of real features (4,000 x 2,048, 30 trials, 1,000 validation
images) that changed the accuracy of a trial by 0.01 points in the mean and 0.5 at most, of the best one by 0.1. Weights
lie as dimension x classes and features are turned once a batch: no product then turns a matrix for each head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs.lib import seeds
from jobs.lib.rows import CHUNK, Rows

BLOCK = 64  # neighbouring rows that stay together where a set is too large to shuffle whole
FAR = -60.0  # logits so far below the highest have no weight; their exponentials would be denormal, and those are slow
LOGITS = {"cpu": 4 << 20, "cuda": 1 << 30}  # bytes of logits that heads of one product may have: a cache, or plenty
LINES = 32  # of a weight matrix that are updated at a time on a CPU: they stay in its cache


class Feed:
    """Rows and their labels in batches: a new order every epoch, which is a function of (seed, epoch).

    Rows of up to `memory` bytes (as `products`) are kept: on the device if half of what is free there holds them, else
    in main memory. Of more, a window of that size is kept at a time, read in blocks of BLOCK neighbouring rows, and
    shuffled `in_blocks`: first the blocks, then the rows within each window. That is a deviation from the protocol.
    """

    def __init__(
        self,
        rows: Rows,
        labels: np.ndarray,
        *,
        batch: int,
        seed: int,
        device: torch.device,
        products: str = "float32",
        memory: int = 24 << 30,
    ) -> None:
        if len(rows) != len(labels) or not len(rows):
            raise ValueError(f"{len(rows)} rows and {len(labels)} labels")
        self.rows, self.labels, self.seed, self.device = rows, torch.from_numpy(labels), seed, device
        self.batch = min(batch, len(rows))
        self.steps = -(-len(rows) // self.batch)
        dtype = getattr(torch, products)
        fitting = memory // (rows.shape[1] * dtype.itemsize)
        self.in_blocks = fitting < len(rows)
        self.window = max(fitting // self.batch, 1) * self.batch if self.in_blocks else len(rows)
        size = min(self.window, len(rows)) * rows.shape[1] * dtype.itemsize
        roomy = device.type == "cuda" and not self.in_blocks and size <= _free(device) // 2
        shape = (min(self.window, len(rows)), rows.shape[1])
        self.kept = torch.empty(shape, dtype=dtype, device=device if roomy else "cpu")
        self.held = np.empty(0, int)  # row numbers of those kept, ascending

    def batches(self, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """(features B x D, labels B) on the device, from the `first` batch of an epoch on."""
        order, window = self.order(epoch), -1
        for at in range(first * self.batch, len(order), self.batch):
            if at // self.window != window:
                window = at // self.window
                self._hold(order[window * self.window :][: self.window])
            chosen = order[at : at + self.batch]
            places = torch.from_numpy(np.searchsorted(self.held, chosen)).to(self.kept.device)
            yield self.kept[places].to(self.device), self.labels[chosen].to(self.device)

    def order(self, epoch: int) -> np.ndarray:
        """Row numbers in the order of an epoch."""
        draw = seeds.generator(self.seed, "order", epoch)
        if not self.in_blocks:
            return draw.permutation(len(self.rows))
        starts = BLOCK * draw.permutation(-(-len(self.rows) // BLOCK))
        order = (starts[:, None] + np.arange(BLOCK)).ravel()
        order = order[order < len(self.rows)]
        for start in range(0, len(order), self.window):
            draw.shuffle(order[start : start + self.window])
        return order

    def _hold(self, wanted: np.ndarray) -> None:
        """Reads rows, unless they are those that are kept."""
        wanted = np.sort(wanted)
        if np.array_equal(wanted, self.held):
            return
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            self.kept[start : start + len(part)] = torch.from_numpy(self.rows[part])
        self.held = wanted


def _free(device: torch.device) -> int:
    """Bytes that a GPU has for tensors, those that torch keeps for later included."""
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + kept)


class Heads:
    """K classifiers of a rate and a decay each; between steps, all that matters is in `state`.

    A head whose loss was once not finite is `lost`, whatever comes then; it does no harm to the others.
    """

    def __init__(
        self,
        dimension: int,
        classes: int,
        pairs: Sequence[tuple[float, float]],
        *,
        momentum: float,
        seed: int,
        device: torch.device,
        products: str = "float32",
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.number(seed, "head"))
            one = nn.Linear(dimension, classes)
        self.pairs, self.momentum, self.device = list(pairs), momentum, device
        self.weight = one.weight.detach().T.to(device).repeat(len(pairs), 1, 1)  # K x D x C
        self.bias = one.bias.detach().to(device).repeat(len(pairs), 1, 1)  # K x 1 x C
        self.moved, self.bias_moved = torch.zeros_like(self.weight), torch.zeros_like(self.bias)
        self.rates, self.decays = torch.tensor(self.pairs, device=device).T[..., None, None]  # K x 1 x 1 each
        self.finite = torch.ones(len(pairs), dtype=torch.bool, device=device)
        self.done = 0  # steps
        self.used = self.weight.to(getattr(torch, products))  # what is multiplied; the weights themselves in float32

    def step(self, x: Tensor, y: Tensor, factor: float) -> Tensor:
        """One step on B x D features and B labels with `factor` times each head's rate; the K mean losses before."""
        turned, losses = x.T.contiguous(), []
        for part in self._parts(len(x)):
            z = _product(x, self.used[part]).float().add_(self.bias[part])
            loss, residual = cross_entropy(z, y)
            gradient = _product(turned, residual.to(x.dtype))
            self._update(part, gradient, residual.sum(1, keepdim=True), factor)
            losses.append(loss)
        found = torch.cat(losses)
        self.finite &= found.isfinite()
        self.done += 1
        return found

    @torch.inference_mode()
    def accuracies(self, rows: Rows, labels: np.ndarray) -> list[float]:
        """Top-1 of each head on N rows, in float32; 0.0 of those that are lost."""
        right = torch.zeros(len(self.pairs), dtype=torch.int64, device=self.device)
        for start in range(0, len(rows), CHUNK):
            x = torch.from_numpy(rows[start : start + CHUNK]).to(self.device)
            y = torch.from_numpy(labels[start : start + CHUNK]).to(self.device)
            for head in range(len(self.pairs)):
                right[head] += (torch.addmm(self.bias[head], x, self.weight[head]).argmax(1) == y).sum()
        return [0.0 if lost else hits / len(rows) for hits, lost in zip(right.tolist(), self.lost(), strict=True)]

    @torch.inference_mode()
    def decision(self, head: int, rows: Rows) -> Tensor:
        """N x C scores of one head, in float32, on the CPU."""
        out = torch.empty(len(rows), self.bias.shape[2])
        for start in range(0, len(rows), CHUNK):
            x = torch.from_numpy(rows[start : start + CHUNK]).to(self.device)
            out[start : start + CHUNK] = torch.addmm(self.bias[head], x, self.weight[head])
        return out

    def lost(self) -> list[bool]:
        return (~self.finite).tolist()

    def state(self) -> dict[str, Any]:
        names = ("weight", "bias", "moved", "bias_moved", "finite")
        return {"pairs": self.pairs, "done": self.done, **{name: getattr(self, name) for name in names}}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a `state` of heads that were made alike."""
        self.done = state["done"]
        for name in ("weight", "bias", "moved", "bias_moved", "finite"):
            getattr(self, name).copy_(state[name])
        self.used.copy_(self.weight)

    def _parts(self, batch: int) -> list[slice]:
        """Heads that are multiplied at once."""
        size = 4 * batch * self.bias.shape[2]
        each = max(1, LOGITS["cuda" if self.device.type == "cuda" else "cpu"] // size)
        return [slice(start, min(start + each, len(self.pairs))) for start in range(0, len(self.pairs), each)]

    def _update(self, part: slice, gradient: Tensor, bias_gradient: Tensor, factor: float) -> None:
        """SGD's step of some heads, from k x D x C and k x 1 x C gradients: a few operations on a GPU for all of them,
        on a CPU for as much of one as stays in its cache."""
        matrices = (self.weight[part], self.moved[part], self.used[part], gradient, self.rates[part], self.decays[part])
        for weight, moved, used, own, rate, decay in _in_cache(matrices) if self.device.type == "cpu" else [matrices]:
            _descend(weight, moved, own, rate, decay, self.momentum, factor)
            if used.dtype != weight.dtype:
                used.copy_(weight)
        biases = (self.bias[part], self.bias_moved[part], bias_gradient, self.rates[part], self.decays[part])
        _descend(*biases, self.momentum, factor)


def train(
    heads: Heads, feed: Feed, *, epochs: int, cosine: str, after: Callable[[Tensor], None] = lambda losses: None
) -> None:
    """Trains heads to the last epoch, from where they are; `after` each step it is told their losses."""
    while heads.done < epochs * feed.steps:
        epoch, first = divmod(heads.done, feed.steps)
        for x, y in feed.batches(epoch, first):
            after(heads.step(x, y, factor(epoch, epochs, cosine)))


def factor(epoch: int, epochs: int, cosine: str) -> float:
    """What the learning rate of an epoch (from 0) is multiplied by.

    "plain": half a cosine, (1 + cos(pi e / epochs)) / 2. "cog": as in the code of Sariyildiz et al., where the rate is
    set after an epoch with the number of the finished one: the first two epochs have the full rate.
    """
    if cosine not in ("plain", "cog"):
        raise ValueError(f"cosine is {cosine!r}; known: 'plain', 'cog'")
    at = max(epoch - 1, 0) if cosine == "cog" else epoch
    return (1 + math.cos(math.pi * at / epochs)) / 2


def cross_entropy(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss of each head (K), and its gradient with respect to K x B x C logits, which are overwritten."""
    own = y.expand(len(z), -1)[..., None]
    z -= z.amax(2, keepdim=True)
    label = z.gather(2, own)
    z = z.clamp_(min=FAR).exp_()
    total = z.sum(2, keepdim=True)
    loss = (total.log() - label).mean((1, 2))
    z /= total * len(y)
    return loss, z.scatter_add_(2, own, torch.full_like(label, -1 / len(y)))


def _product(a: Tensor, b: Tensor) -> Tensor:
    """M x N times K x N x P."""
    return torch.mm(a, b[0])[None] if len(b) == 1 else torch.bmm(a.expand(len(b), *a.shape), b)


def _in_cache(matrices: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """k x D x C tensors, and k x 1 x 1 ones, in groups of LINES lines of each head."""
    for heads in zip(*matrices, strict=True):
        for start in range(0, len(heads[0]), LINES):
            yield tuple(one[start : start + LINES] if len(one) > 1 else one for one in heads)


def _descend(
    weight: Tensor, moved: Tensor, gradient: Tensor, rate: Tensor, decay: Tensor, momentum: float, factor: float
) -> None:
    """torch.optim.SGD's step, in place; the gradient may be overwritten."""
    torch.add(gradient.float().addcmul_(weight, decay), moved, alpha=momentum, out=moved)
    weight.addcmul_(moved, rate, value=-factor)
