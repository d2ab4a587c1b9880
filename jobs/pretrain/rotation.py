"""Rotation (Gidaris et al., ICLR 2018): which of the four turns by a right angle has an image undergone?"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.pretrain.lib.method import Batch, Method, Setting, spread

TURNS = 4


class Rotation(Method):
    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        self.head = nn.Linear(setting.dimension, TURNS)

    def loss(self, batch: Batch) -> Tensor:
        images, turns = turned(batch.views[0])
        features = self.backbone(images)
        logits = self.head(features)
        self.watch(accuracy=(logits.argmax(1) == turns).float().mean(), spread=spread(features))
        return F.cross_entropy(logits, turns)


def turned(images: Tensor) -> tuple[Tensor, Tensor]:
    """n x 3 x S x S -> (4n x 3 x S x S, 4n labels): all images turned by 0, then all by 90, 180 and 270 degrees."""
    labels = torch.arange(TURNS, device=images.device).repeat_interleave(len(images))
    return torch.cat([images.rot90(turn, (2, 3)) for turn in range(TURNS)]), labels
