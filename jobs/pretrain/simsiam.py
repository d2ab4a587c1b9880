"""SimSiam (Chen and He, CVPR 2021, section 3): each view predicts the other's projection, which gets no gradient.

Settings: projector and predictor (their widths).
"""

from __future__ import annotations

from torch import Tensor, nn

from jobs.pretrain.lib.contrast import likeness
from jobs.pretrain.lib.heads import mlp
from jobs.pretrain.lib.method import Batch, Method, Setting, spread


class SimSiam(Method):
    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        s = setting.settings
        self.projector = mlp((setting.dimension, *s["projector"]), last_affine=False)
        self.predictor = mlp((s["projector"][-1], *s["predictor"]), last_bias=True, last_norm=False)

    def loss(self, batch: Batch) -> Tensor:
        one, two = (self.projector(self.backbone(view)) for view in batch.views)
        self.watch(spread=spread(one))
        return -(likeness(self.predictor(one), two) + likeness(self.predictor(two), one)) / 2
