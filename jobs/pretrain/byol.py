"""BYOL (Grill et al., NeurIPS 2020, section 3.1): a network predicts what a slow copy of it makes of another view.

Settings: projector and predictor (their widths), ema (the copy's momentum at the start; it goes to 1).
"""

from __future__ import annotations

from torch import Tensor, nn

from jobs.pretrain.lib.contrast import likeness
from jobs.pretrain.lib.heads import mlp
from jobs.pretrain.lib.method import Setting
from jobs.pretrain.lib.mirrored import Mirrored
from jobs.pretrain.lib.momentum import copied


class BYOL(Mirrored):
    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        s = setting.settings
        self.projector = mlp((setting.dimension, *s["projector"]), bias=True, last_norm=False)
        self.predictor = mlp((s["projector"][-1], *s["predictor"]), bias=True, last_norm=False)
        self.slow = copied(backbone, self.projector)

    def cost(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return 2 - 2 * likeness(predictions, targets)
