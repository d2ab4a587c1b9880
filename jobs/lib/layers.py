"""Layers: what a ResNet gives after its stem and each of its four stages, pooled to some 9,000 numbers each.

Protocol: Goyal et al., ICCV 2019, as OpenSelfSup and mmselfsup have it for VOC07's SVMs and for ImageNet's linear heads
(feat1 to feat5). Average pooling, kernel/stride/padding, of the maps of a 224 x 224 image:

    feat1  10/10/4  112 x 112 -> 12 x 12   the stem: after its activation, before its max pooling
    feat2  16/8/0    56 x 56  ->  6 x 6    stage 1
    feat3  13/5/0    28 x 28  ->  4 x 4    stage 2
    feat4   8/3/0    14 x 14  ->  3 x 3    stage 3
    feat5   6/1/0     7 x 7   ->  2 x 2    stage 4

so that a layer of C channels has C * cells^2 numbers: ResNet-50's 9,216, 9,216, 8,192, 9,216 and 8,192. What pads
counts as zeros in the mean. The maps of images of other sizes are pooled adaptively to the same cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.lib.backbone import Backbone
from jobs.lib.failure import BadTask
from jobs.lib.maps import REFUSALS
from jobs.lib.way import Outputs, Way, way_of

NAMES = ("feat1", "feat2", "feat3", "feat4", "feat5")
STRIDES = (2, 4, 8, 16, 32)
SIDES = (112, 56, 28, 14, 7)  # of the maps that the published pools are for
POOLS = ((10, 10, 4), (16, 8, 0), (13, 5, 0), (8, 3, 0), (6, 1, 0))  # kernel, stride, padding
CELLS = (12, 6, 4, 3, 2)  # that they give, a side
PROBE = 64  # pixels a side of the image that strides are read from


class Layers(nn.Module):
    """N x 3 x S x S to five tensors, N x dimensions[i], from a headless `network` of `architecture`, in evaluation mode
    as `backbone.build` gives it. BadTask where it has no five maps of strides 2 to 32: a transformer, say.

    Of another network than a ResNet a layer is the last map of its stride. `network` itself is not changed.
    """

    dimensions: tuple[int, ...]

    def __init__(self, network: nn.Module, architecture: str) -> None:
        super().__init__()
        self.network = network
        self._way = _stem_and_stages if _is_torchvision(network) else way_of(network, architecture)
        last = _last(network, self._way)
        if len(last) < len(STRIDES):
            raise BadTask(f"{architecture} has no five layers to pool, of strides 2 to 32: take a ResNet")
        self._keys = [last[stride][0] for stride in STRIDES]
        widths = [last[stride][1] for stride in STRIDES]
        self.dimensions = tuple(width * cells**2 for width, cells in zip(widths, CELLS, strict=True))

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self._way(self.network, images, self._keys)
        return [_pooled(maps[key], layer).flatten(1) for layer, key in enumerate(self._keys)]


class Flat(nn.Module):
    """N x 3 x S x S to N x sum(dimensions): the five layers of `Layers`, side by side."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat(self.layers(images), 1)


def flat(backbone: Backbone) -> tuple[Backbone, list[slice]]:
    """A backbone whose feature is that of all five layers, for `Workspace.features`, and which columns are whose."""
    layers = Layers(backbone.network, backbone.model.architecture)
    ends = torch.tensor(layers.dimensions).cumsum(0).tolist()
    columns = [slice(end - size, end) for end, size in zip(ends, layers.dimensions, strict=True)]
    wide = replace(backbone.model, dimension=ends[-1])
    return replace(backbone, model=wide, network=Flat(layers).eval(), digest=f"{backbone.digest}/layers"), columns


def _is_torchvision(network: nn.Module) -> bool:
    from torchvision.models import ResNet

    return isinstance(network, ResNet)


def _stem_and_stages(network: nn.Module, images: Tensor, wanted: Sequence[Any] | None) -> Outputs:
    """Of torchvision's ResNets: the stem's output, and layer1 to layer4."""
    found = {"stem": network.relu(network.bn1(network.conv1(images)))}
    x = network.maxpool(found["stem"])
    for name in ("layer1", "layer2", "layer3", "layer4"):
        x = found[name] = getattr(network, name)(x)
    return found


@torch.no_grad()
def _last(network: nn.Module, way: Way) -> dict[int, tuple[Any, int]]:
    """Stride -> key and channels of the last output of it, as a small image shows; {} where that is refused."""
    first = next((tensor for tensor in network.parameters() if tensor.ndim == 4), torch.empty(1, 3, 1, 1))
    try:
        outputs = way(network, first.new_zeros(1, first.shape[1], PROBE, PROBE), None)
    except REFUSALS:
        return {}
    sides = {PROBE // stride: stride for stride in STRIDES}
    maps = {key: found for key, found in outputs.items() if found.ndim == 4 and found.shape[2] == found.shape[3]}
    return {sides[found.shape[2]]: (key, found.shape[1]) for key, found in maps.items() if found.shape[2] in sides}


def _pooled(found: Tensor, layer: int) -> Tensor:
    if tuple(found.shape[-2:]) == (SIDES[layer], SIDES[layer]):
        return functional.avg_pool2d(found, *POOLS[layer])
    return functional.adaptive_avg_pool2d(found, CELLS[layer])
