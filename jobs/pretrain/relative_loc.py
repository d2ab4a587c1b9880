"""Relative location (Doersch et al., ICCV 2015): at which of eight places does a patch lie, seen from the centre?

Settings: hidden (width of the layer behind a pair), dropout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.pretrain.lib.method import Batch, Method, Setting, spread

PATCHES, CENTRE = 9, 4  # in raster order
PLACES = PATCHES - 1


class RelativeLocation(Method):
    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        wide = setting.settings["hidden"]
        linear, norm = nn.Linear(2 * setting.dimension, wide), nn.BatchNorm1d(wide, momentum=0.003)
        self.neck = nn.Sequential(linear, norm, nn.ReLU(inplace=True), nn.Dropout(setting.settings["dropout"]))
        self.head = nn.Linear(wide, PLACES)
        for layer, bias in ((linear, 0.1), (self.head, 0.0)):
            nn.init.normal_(layer.weight, std=0.005)
            nn.init.constant_(layer.bias, bias)

    def loss(self, batch: Batch) -> Tensor:
        centres, others, places = pairs(batch.views[0])
        # Apart, for the batch norms: every pair has a centre, so they see as many centres as others.
        features = self.backbone(centres)
        logits = self.head(self.neck(torch.cat([features.repeat_interleave(PLACES, 0), self.backbone(others)], 1)))
        self.watch(accuracy=(logits.argmax(1) == places).float().mean(), spread=spread(features))
        return F.cross_entropy(logits, places)


def pairs(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """n x 9 x 3 x s x s -> the n centres, the 8n others, image by image in raster order, and the places of these."""
    others = torch.cat([patches[:, :CENTRE], patches[:, CENTRE + 1 :]], 1).flatten(0, 1)
    places = torch.arange(PLACES, device=patches.device).repeat(len(patches))
    return patches[:, CENTRE], others, places
