"""NPID (Wu et al., CVPR 2018): every image is a class of its own, of which a bank keeps what the network gave.

The loss is the softmax cross-entropy of one positive and the drawn negatives, as in MMSelfSup, not the paper's
noise-contrastive estimate. Settings: width (of the outputs), negatives, temperature, keep (the share of the old vector
in the bank), ensure_neg (an image is never its own negative).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.lib import seeds
from jobs.pretrain.lib import across, bank
from jobs.pretrain.lib.method import Batch, Method, Setting, spread


class NPID(Method):
    bank: Tensor  # images x width, unit vectors

    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        width = setting.settings["width"]
        self.projector = nn.Linear(setting.dimension, width)
        self.register_buffer("bank", bank.random_units(setting.images, width))
        self.seen: list[tuple[Tensor, Tensor]] = []  # of the step's turns: rows, and outputs for them

    def loss(self, batch: Batch) -> Tensor:
        units = F.normalize(self.projector(self.backbone(batch.views[0])).float(), dim=1)
        self.seen.append((batch.rows, units.detach()))
        drawn, instead = self.drawn(batch.step)
        positive, negative = (units * self.bank[batch.rows]).sum(1), units @ self.bank[drawn].T
        if self.setting.settings["ensure_neg"]:
            one, other = torch.nonzero(drawn == batch.rows[:, None], as_tuple=True)
            found = (units[one] * self.bank[instead[other]]).sum(1)
            negative = negative.index_put((one, other), found.to(negative.dtype))
        self.watch(spread=spread(units), positive=positive.mean())
        logits = torch.cat([positive[:, None], negative], 1) / self.setting.settings["temperature"]
        return F.cross_entropy(logits, torch.zeros_like(batch.rows))

    def drawn(self, step: int) -> tuple[Tensor, Tensor]:
        """A step's negatives, the same for all images of all ranks, with replacement; and for each one another, which
        takes its place where it is the image itself."""
        draw = torch.Generator().manual_seed(seeds.number(self.setting.seed, "negatives", step))
        images, size = self.setting.images, (self.setting.settings["negatives"],)
        rows = torch.randint(images, size, generator=draw)
        others = (rows + torch.randint(1, max(images, 2), size, generator=draw)) % images
        return rows.to(self.bank.device), others.to(self.bank.device)

    def after(self, progress: float) -> None:
        rows, units = (
            across.gathered_still(torch.cat(part), self.setting.ranks) for part in zip(*self.seen, strict=True)
        )
        self.seen.clear()
        last = bank.latest(rows)
        bank.blend(self.bank, rows[last], units[last], self.setting.settings["keep"])
