"""Stepping: one step of a method on made-up images, as the trainer takes it, alone and in two ranks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pretrain.two import two
from torch import Tensor, nn

from jobs.lib.ranks import Ranks
from jobs.pretrain.lib import across
from jobs.pretrain.lib.method import Batch, Method, Setting

ALONE = Ranks()
Make = Callable[[nn.Module, Setting], Method]


def images(count: int, views: int = 2, size: int = 6) -> list[Tensor]:
    draw = torch.Generator().manual_seed(5)
    return [torch.randn(count, 3, size, size, generator=draw, dtype=torch.float64) for _ in range(views)]


def plain(size: int = 6, width: int = 7) -> nn.Module:
    """A backbone that takes each image on its own."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, width), nn.Tanh())


def normed(width: int = 7) -> nn.Module:
    """A backbone with batch norm."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers)


def made(
    make: Make,
    settings: Mapping[str, Any],
    backbone: nn.Module,
    ranks: Ranks = ALONE,
    *,
    batch: int = 8,
    dimension: int = 7,
    seed: int = 0,
) -> Method:
    """A method in float64, the same for the same seed."""
    torch.manual_seed(seed)
    setting = Setting(settings, "x", dimension, 64, batch, 8, ranks, seed)
    return make(copy.deepcopy(backbone), setting).double().train()


def step(method: Method, views: list[Tensor], number: int = 0, turns: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and the gradients of this rank's views, summed over the ranks, as the trainer does it."""
    ranks, total = method.setting.ranks, torch.zeros((), dtype=torch.float64)
    method.zero_grad()
    for taken in zip(*(view.chunk(turns) for view in views), strict=True):
        with ranks.normalising():
            loss = method.loss(Batch(list(taken), torch.arange(len(taken[0])), number, 0, 0.5))
        loss = loss / (turns * ranks.count)
        loss.backward()
        total += loss.detach()
    total = ranks.summed(total, method)
    return total, {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


def same_in_two(
    make: Make,
    settings: Mapping[str, Any],
    backbone: nn.Module,
    views: list[Tensor],
    turns: int = 1,
    alike: tuple[str, ...] = (),
) -> None:
    """Fails unless two ranks have the loss, the gradients, and after the step the state (of names that begin with one
    of `alike`) that one process with the whole batch has."""

    def run(ranks: Ranks) -> tuple[Any, ...]:
        method = made(make, settings, backbone, ranks, batch=len(views[0]))
        own = [across.own(view, ranks).contiguous(memory_format=torch.channels_last) for view in views]
        loss, gradients = step(method, own, turns=turns)
        method.after(0.5)
        return loss, gradients, {k: v for k, v in method.state_dict().items() if k.startswith(alike)}

    loss, gradients, state = run(ALONE)
    assert gradients
    assert bool(state) == bool(alike)
    for found, slopes, its_state in two(run):
        torch.testing.assert_close(found, loss, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(slopes, gradients, rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(its_state, state, rtol=1e-6, atol=1e-7)
