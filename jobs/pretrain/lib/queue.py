"""Queue: the keys of the last steps, first in, first out (He et al., MoCo, CVPR 2020, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.lib import seeds
from jobs.lib.failure import BadTask
from jobs.pretrain.lib import across
from jobs.pretrain.lib.method import Setting


class Queue(nn.Module):
    """`keys`, K x D unit vectors, random ones at first; `taken` counts all that have come in, and so says where the
    oldest one lies. A step's keys are kept aside, turn by turn, until `enqueue` puts them in place of the oldest."""

    def __init__(self, length: int, dimension: int, setting: Setting, purpose: str = "queue") -> None:
        super().__init__()
        if length % setting.batch:
            whole = max(length // setting.batch, 1) * setting.batch
            raise BadTask(
                f"a queue of {length} keys cannot be filled by whole batches of {setting.batch}: take a batch that "
                f"divides it, or a queue of {whole}"
            )
        self.ranks = setting.ranks
        self.aside: list[Tensor] = []  # of the step that is being taken: never part of a checkpoint
        draw = torch.Generator().manual_seed(seeds.number(setting.seed, purpose))
        self.keys: Tensor
        self.taken: Tensor
        self.register_buffer("keys", F.normalize(torch.randn(length, dimension, generator=draw), dim=1))
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    def keep(self, keys: Tensor) -> None:
        """Keeps this rank's n x D keys of one turn."""
        self.aside.append(keys.detach())

    @torch.no_grad()
    def enqueue(self) -> None:
        """Puts the keys of the step's turns, those of all ranks in order, in place of the oldest ones."""
        keys = across.gathered_still(torch.cat(self.aside), self.ranks).to(self.keys.dtype)
        places = (self.taken + torch.arange(len(keys), device=keys.device)) % len(self.keys)
        self.keys.index_copy_(0, places, keys)
        self.taken.add_(len(keys))
        self.aside.clear()

    @property
    def filled(self) -> Tensor:
        """The part of the queue that holds keys rather than what it began with."""
        return (self.taken / len(self.keys)).clamp(max=1)
