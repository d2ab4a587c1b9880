"""Momentum: slow copies of networks, which follow them as an exponential moving average of their parameters."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import nn


def copied(*networks: nn.Module) -> nn.Sequential:
    """Copies of networks, one behind the other, which the optimizer does not train."""
    return nn.Sequential(*(copy.deepcopy(network) for network in networks)).requires_grad_(False)


@torch.no_grad()
def follow(slow: nn.Sequential, networks: Sequence[nn.Module], momentum: float) -> None:
    """slow = momentum * slow + (1 - momentum) * networks, of parameters; the copies' batch norms keep statistics of
    their own."""
    fast = [parameter for network in networks for parameter in network.parameters()]
    torch._foreach_lerp_(list(slow.parameters()), fast, 1 - momentum)


def rising(base: float, progress: float, end: float = 1.0) -> float:
    """A momentum that goes from `base` to `end` by a cosine over the training (Grill et al., BYOL, section 3.2)."""
    return end - (end - base) * (math.cos(math.pi * progress) + 1) / 2
