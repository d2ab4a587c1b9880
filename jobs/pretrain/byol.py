"""BYOL (Grill et al., NeurIPS 2020, section 3.1): a network predicts what a slow copy of it makes of another view.

Settings: projector and predictor (their widths), ema (the copy's momentum at the start; it goes to 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jobs.pretrain.lib.contrast import likeness
from jobs.pretrain.lib.heads import mlp
from jobs.pretrain.lib.method import Batch, Method, Setting, spread
from jobs.pretrain.lib.momentum import copied, follow, rising


class BYOL(Method):
    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        s = setting.settings
        self.projector = mlp((setting.dimension, *s["projector"]), bias=True, last_norm=False)
        self.predictor = mlp((s["projector"][-1], *s["predictor"]), bias=True, last_norm=False)
        self.slow = copied(backbone, self.projector)

    def loss(self, batch: Batch) -> Tensor:
        # One view after the other: they are made differently, and batch norm has statistics for each.
        projected = [self.projector(self.backbone(view)) for view in batch.views]
        one, two = (self.predictor(outputs) for outputs in projected)
        with torch.no_grad():
            its_one, its_two = (self.slow(view) for view in batch.views)
        self.watch(spread=spread(projected[0]), target_spread=spread(its_one))
        return (2 - 2 * likeness(one, its_two)) + (2 - 2 * likeness(two, its_one))

    def after(self, progress: float) -> None:
        follow(self.slow, (self.backbone, self.projector), rising(self.setting.settings["ema"], progress))
