"""MoCo v3 (Chen et al., ICCV 2021, algorithm 1): two views find each other among the batch's keys of a slow copy.

Settings: projector and predictor (their widths), predictor_norm (whether the predictor ends with batch norm),
temperature, ema (the copy's momentum at the start; it goes to 1), still_patches (of a transformer: patches are
projected at random, and positions are fixed, sections 4 and 5.1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.lib.ranks import Ranks
from jobs.pretrain.lib import across, vit
from jobs.pretrain.lib.contrast import units
from jobs.pretrain.lib.heads import mlp
from jobs.pretrain.lib.method import Setting
from jobs.pretrain.lib.mirrored import Mirrored
from jobs.pretrain.lib.momentum import copied


class MoCoV3(Mirrored):
    accumulates = False  # the batch's other keys are the negatives

    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        s = setting.settings
        if s["still_patches"]:
            freeze(backbone)
        self.projector = mlp((setting.dimension, *s["projector"]), last_affine=False)
        widths = (s["projector"][-1], *s["predictor"])
        self.predictor = mlp(widths, last_norm=s["predictor_norm"], last_affine=False)
        self.slow = copied(backbone, self.projector)

    def cost(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return contrast(predictions, targets, self.setting.settings["temperature"], self.setting.ranks)


def contrast(queries: Tensor, keys: Tensor, temperature: float, ranks: Ranks) -> Tensor:
    """2 * temperature * the mean over this rank's n queries of the cross-entropy of finding the own key among those of
    all ranks; n x D each, of any length. No gradient reaches the keys."""
    with torch.autocast(queries.device.type, enabled=False):
        everyone = across.gathered_still(units(keys), ranks)
        logits = units(queries) @ everyone.T / temperature
        own = torch.arange(len(queries), device=queries.device) + ranks.rank * len(queries)
        return 2 * temperature * F.cross_entropy(logits, own)


def freeze(backbone: nn.Module) -> None:
    """Leaves the projection of patches as it is drawn, and gives fixed positions in two dimensions."""
    projection = vit.parts(backbone).project.requires_grad_(False)
    # As a linear layer of its pixels: what convolutions begin with otherwise is too small to stay.
    nn.init.xavier_uniform_(projection.weight.view(projection.out_channels, -1))
    if projection.bias is not None:
        nn.init.zeros_(projection.bias)
    vit.freeze_positions(backbone)
