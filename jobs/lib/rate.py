"""Rate: the learning rate of every step, and which parameters follow it how."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from jobs.lib.lars import LARS
from jobs.lib.training import NORMS

TOKENS = ("*class_token", "*cls_token", "*mask_token", "*pos_embed*", "*pos_embedding")


class Rate:
    """The learning rate of a recipe for `steps` steps an epoch: published for `published_batch` images, and by the
    linear rule (Goyal et al., 2017) for as many as are taken; warm-up and cosine go by steps, drops by epochs.

    The cosine runs from the end of the warm-up to the end of the training (Loshchilov and Hutter, ICLR 2017).
    """

    def __init__(self, settings: Mapping[str, Any], steps: int) -> None:
        self.s, self.a_epoch = settings, steps
        times = settings["batch"] / settings["published_batch"]
        self.peak, self.least = settings["learning_rate"] * times, settings["least_rate"] * times
        self.steps, self.warmup = settings["epochs"] * steps, round(settings["warmup"] * steps)

    def at(self, step: int) -> float:
        if step < self.warmup:
            share = self.s["warmup_from"] + (1 - self.s["warmup_from"]) * step / self.warmup
            return float(self.peak * share)
        if self.s["schedule"] == "cosine":
            behind = (step - self.warmup) / max(self.steps - self.warmup, 1)
            return float(self.least + (self.peak - self.least) * (1 + math.cos(math.pi * behind)) / 2)
        drops = sum(step >= drop * self.a_epoch for drop in self.s.get("drops", ()))
        return float(self.peak * self.s.get("factor", 0.1) ** drops)

    @property
    def told(self) -> dict[str, object]:
        """What a result says of it: as published, and as it was run."""
        s = self.s
        run = {"batch": s["batch"], "learning_rate": self.peak, "epochs": s["epochs"], "steps": self.steps}
        return {"published": {"batch": s["published_batch"], "learning_rate": s["learning_rate"]}, "run": run}

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> float:
        """Gives every group of `optimizer_of` its rate of a step; the rate of those without rules."""
        rate = self.at(step)
        for group in optimizer.param_groups:
            group["lr"] = (self.peak if group["fixed"] else rate) * group["rate"]
        return rate


def optimizer_of(network: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The recipe's optimizer for what is trained of a network: parameters of equal values are one group."""
    groups: dict[tuple[Any, ...], list[nn.Parameter]] = {}
    for name, parameter, kind in _kinds(network):
        still = kind in settings["undecayed"]
        own = {"weight_decay": 0.0 if still else settings["weight_decay"], "rate": 1.0, "fixed": False, "still": still}
        own["momentum"] = settings["momentum"]
        for pattern, rule in settings.get("rules", ()):
            if fnmatch.fnmatch(name, pattern):
                own |= rule
        groups.setdefault(tuple(sorted(own.items())), []).append(parameter)
    made = [{"params": parameters, **dict(own)} for own, parameters in groups.items()]
    if settings["optimizer"] == "adamw":
        return torch.optim.AdamW(made, lr=0.0, betas=settings["betas"], fused=True)
    if settings["optimizer"] == "lars":
        return LARS(made, lr=0.0)
    # Fused, it cannot have a parameter whose gradient comes later than others'.
    return torch.optim.SGD(made, 0.0, settings["momentum"], nesterov=settings.get("nesterov", False))


def _kinds(network: nn.Module) -> list[tuple[str, nn.Parameter, str]]:
    """(name, parameter, "norms" | "biases" | "tokens" | "") of all that are trained."""
    found, seen = [], set()
    for prefix, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            whole = f"{prefix}.{name}" if prefix else name
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            token = any(fnmatch.fnmatch(whole, pattern) for pattern in TOKENS)
            kind = "norms" if isinstance(module, NORMS) else "tokens" if token else "biases" if "bias" in name else ""
            found.append((whole, parameter, kind))
    return found
