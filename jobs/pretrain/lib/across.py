"""Across: what the ranks of one training have together; alone, everything is its own.

Every rank has as many rows. Gradients of all ranks are summed (`Ranks.summed`), and a rank's loss is weighted by its
share of the batch; so a gradient that reaches another rank's rows is handed to that rank and simply adds up there.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as nn_across
from torch import Tensor

from jobs.lib.ranks import Ranks


def gathered(rows: Tensor, ranks: Ranks) -> Tensor:
    """n x ... of each rank -> (ranks n) x ... in the order of ranks, with gradient to all of them."""
    return rows if ranks.count == 1 else torch.cat(nn_across.all_gather(rows.contiguous()))


@torch.no_grad()
def gathered_still(rows: Tensor, ranks: Ranks) -> Tensor:
    """The same without gradient, which costs one message and no backward one."""
    if ranks.count == 1:
        return rows.detach()
    rows = rows.detach().contiguous()  # whatever its layout was: what is sent is what is received into
    parts = [torch.empty_like(rows) for _ in range(ranks.count)]
    dist.all_gather(parts, rows)
    return torch.cat(parts)


@torch.no_grad()
def summed(value: Tensor, ranks: Ranks) -> Tensor:
    """The sum over all ranks, in place."""
    if ranks.count > 1:
        dist.all_reduce(value)
    return value


def own(rows: Tensor, ranks: Ranks) -> Tensor:
    """This rank's part of rows that all ranks have."""
    each = len(rows) // ranks.count
    return rows[ranks.rank * each : (ranks.rank + 1) * each]
