"""LARS: SGD with momentum, each tensor's rate scaled to its own size (You et al., 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

TRUST = 0.001


class LARS(torch.optim.Optimizer):
    """Groups have lr, momentum, weight_decay and `still`: tensors without decay and without a local rate.

    The local rate TRUST * |w| / (|g| + decay * |w|), 1 where either norm is 0, multiplies g + decay * w; then momentum.
    A step works in the gradients' own memory: they are used up.
    """

    def __init__(self, groups: Any, lr: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": 0.9, "weight_decay": 0.0, "still": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            held = [p for p in group["params"] if p.grad is not None]
            if not held:
                continue
            updates = [p.grad for p in held]
            if not group["still"]:
                sizes, slopes = torch._foreach_norm(held), torch._foreach_norm(updates)
                torch._foreach_add_(updates, held, alpha=group["weight_decay"])  # new memory would cost as much again
                for update, size, slope in zip(updates, sizes, slopes, strict=True):
                    local = TRUST * size / (slope + group["weight_decay"] * size)
                    update.mul_(torch.where((size > 0) & (slope > 0), local, torch.ones_like(local)))
            moving = []
            for parameter in held:
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                moving.append(state["momentum_buffer"])
            torch._foreach_mul_(moving, group["momentum"])
            torch._foreach_add_(moving, updates)
            torch._foreach_add_(held, moving, alpha=-group["lr"])
