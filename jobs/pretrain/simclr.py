"""SimCLR (Chen et al., ICML 2020, section 2.1): NT-Xent over the 2B views of all ranks.

Settings: projector (its widths), temperature.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.lib.ranks import Ranks
from jobs.pretrain.lib import across
from jobs.pretrain.lib.contrast import units
from jobs.pretrain.lib.heads import mlp
from jobs.pretrain.lib.method import Batch, Method, Setting, spread


class SimCLR(Method):
    accumulates = False  # every image of the batch is a negative of every other

    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        self.projector = mlp((setting.dimension, *setting.settings["projector"]))

    def loss(self, batch: Batch) -> Tensor:
        outputs = self.projector(self.backbone(torch.cat(batch.views)))
        self.watch(spread=spread(outputs))
        one, two = outputs.chunk(2)
        return nt_xent(one, two, self.setting.settings["temperature"], self.setting.ranks)


def nt_xent(one: Tensor, two: Tensor, temperature: float, ranks: Ranks) -> Tensor:
    """Mean over this rank's 2n views of the cross-entropy of finding the other view of the same image among the 2B - 1
    others of all ranks; n x D each."""
    own = units(torch.cat([one, two]))
    everyone = torch.cat([across.gathered(own[: len(one)], ranks), across.gathered(own[len(one) :], ranks)])
    first, half = ranks.rank * len(one), len(everyone) // 2
    rows = torch.arange(len(one), device=own.device) + first
    selves, others = torch.cat([rows, rows + half]), torch.cat([rows + half, rows])
    with torch.autocast(own.device.type, enabled=False):
        logits = own @ everyone.T / temperature
        return F.cross_entropy(logits.scatter(1, selves[:, None], -torch.inf), others)
