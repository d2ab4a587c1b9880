"""Bank: one unit vector for each image of the data set, which follows what the network gives for it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def random_units(images: int, dimension: int) -> Tensor:
    """N x D unit vectors in random directions."""
    return F.normalize(torch.randn(images, dimension), dim=1)


def blend(bank: Tensor, rows: Tensor, units: Tensor, keep: float = 0.5) -> None:
    """Moves vectors of the bank, in place, towards new ones, and back to unit length. Rows have to be distinct."""
    bank[rows] = F.normalize(keep * bank[rows] + (1 - keep) * units, dim=1)


def latest(rows: Tensor) -> Tensor:
    """Where each distinct row stands for the last time: what is written twice would have a random winner on a GPU."""
    order = rows.argsort(stable=True)
    there = rows[order]
    return order[torch.cat([there[1:] != there[:-1], torch.ones_like(there[:1], dtype=torch.bool)])]
