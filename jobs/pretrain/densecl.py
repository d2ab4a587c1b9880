"""DenseCL (Wang et al., CVPR 2021, section 3): MoCo v2, and the same once more for each cell of the last map.

Settings: projector (widths of both heads), temperature, queue (the length of both), ema (the copy's momentum),
dense_weight (of the loss over cells), dense_from (the step from which on it counts).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from jobs.lib.failure import BadTask
from jobs.pretrain.lib.contrast import info_nce, units
from jobs.pretrain.lib.heads import mlp
from jobs.pretrain.lib.method import Batch, Method, Setting, spread
from jobs.pretrain.lib.momentum import copied, follow
from jobs.pretrain.lib.queue import Queue
from jobs.pretrain.lib.shuffle import shuffled


class DenseCL(Method):
    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        s = setting.settings
        widths = (setting.dimension, *s["projector"])
        self.projector = mlp(widths, norm=False, bias=True, last_bias=True, last_norm=False)
        self.dense = convolutions(widths)
        self.slow = copied(backbone, self.projector, self.dense)
        self.queue = Queue(s["queue"], widths[-1], setting)
        self.dense_queue = Queue(s["queue"], widths[-1], setting, "dense queue")
        # Hooks come after the copy, which would write where the original does.
        self.fast_maps, self.slow_maps = mapped(backbone), mapped(self.slow[0])

    def loss(self, batch: Batch) -> Tensor:
        s = self.setting.settings
        seen, other = batch.views
        features, map_ = self.fast_maps(seen)
        queries = units(self.projector(features))
        keys, means, cells, its_map = shuffled(self._keys, other, self.setting, batch, len(self.queue.aside))
        self.queue.keep(keys)
        self.dense_queue.keep(means)
        total, found = info_nce(queries, keys, self.queue.keys, s["temperature"])
        self.watch(spread=spread(queries), found=found, filled=self.queue.filled)
        if batch.step < s["dense_from"]:
            return total
        own = units(self.dense(map_).flatten(2))
        right = cells.gather(2, match(map_, its_map)[:, None].expand_as(own))
        rows, its_rows = (of.mT.flatten(0, 1) for of in (own, right))
        dense, found = info_nce(rows, its_rows, self.dense_queue.keys, s["temperature"])
        self.watch(dense_found=found)
        return (1 - s["dense_weight"]) * total + s["dense_weight"] * dense

    def after(self, progress: float) -> None:
        follow(self.slow, (self.backbone, self.projector, self.dense), self.setting.settings["ema"])
        self.queue.enqueue()
        self.dense_queue.enqueue()

    def _keys(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Unit keys n x D; those of cells, averaged, n x D, and each, n x D x cells; the last map, n x C x h x w."""
        _, projector, dense = self.slow
        features, map_ = self.slow_maps(images)
        cells = dense(map_).flatten(2)
        return units(projector(features)), units(cells.mean(2)), units(cells), map_


@torch.no_grad()
def match(queries: Tensor, keys: Tensor) -> Tensor:
    """n x cells: for each cell of one map, n x C x h x w, the cell of the other whose feature is most like it."""
    with torch.autocast(queries.device.type, enabled=False):
        return (units(queries.flatten(2)).mT @ units(keys.flatten(2))).argmax(2)


def convolutions(widths: tuple[int, ...]) -> nn.Sequential:
    """An MLP for every cell of a map: convolutions of 1 x 1 through `widths`, ReLU between them."""
    made: list[nn.Module] = []
    for wide, to in pairwise(widths):
        made += [nn.Conv2d(wide, to, 1), nn.ReLU(inplace=True)]
    return nn.Sequential(*made[:-1])


def mapped(network: nn.Module) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A ResNet as a function that gives features, n x D, and the map before their pooling, n x D x h x w."""
    if not hasattr(network, "layer4"):
        raise BadTask(f"{type(network).__name__} has no layer4, whose map is needed: take a ResNet")
    last: dict[str, Tensor] = {}

    def keep(_: nn.Module, __: tuple[Tensor, ...], made: Tensor) -> None:
        last["map"] = made

    network.layer4.register_forward_hook(keep)
    return lambda images: (network(images), last.pop("map"))
