"""What tests of maps share: random networks and what they are given."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jobs.lib import backbone
from suite import catalog


def build(name: str) -> nn.Module:
    return backbone.build(catalog.random_init(name))


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))
