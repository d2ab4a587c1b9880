"""MoCo v1 and v2: a view finds the other one of its image among a queue of earlier keys, which a slow copy makes.

He et al., CVPR 2020, section 3 and algorithm 1; v2: Chen et al., 2020, section 3 (an MLP head, and other settings).
Settings: projector (its widths: v1 one layer, v2 two), temperature, queue (its length), ema (the copy's momentum).
"""

from __future__ import annotations

from torch import Tensor, nn

from jobs.pretrain.lib.contrast import info_nce, units
from jobs.pretrain.lib.heads import mlp
from jobs.pretrain.lib.method import Batch, Method, Setting, spread
from jobs.pretrain.lib.momentum import copied, follow
from jobs.pretrain.lib.queue import Queue
from jobs.pretrain.lib.shuffle import shuffled


class MoCo(Method):
    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        s = setting.settings
        widths = (setting.dimension, *s["projector"])
        self.projector = mlp(widths, norm=False, bias=True, last_bias=True, last_norm=False)
        self.slow = copied(backbone, self.projector)
        self.queue = Queue(s["queue"], widths[-1], setting)

    def loss(self, batch: Batch) -> Tensor:
        seen, other = batch.views
        queries = units(self.projector(self.backbone(seen)))
        [keys] = shuffled(self._keys, other, self.setting, batch, len(self.queue.aside))
        self.queue.keep(keys)
        loss, found = info_nce(queries, keys, self.queue.keys, self.setting.settings["temperature"])
        self.watch(spread=spread(queries), found=found, filled=self.queue.filled)
        return loss

    def after(self, progress: float) -> None:
        follow(self.slow, (self.backbone, self.projector), self.setting.settings["ema"])
        self.queue.enqueue()

    def _keys(self, images: Tensor) -> tuple[Tensor]:
        return (units(self.slow(images)),)
