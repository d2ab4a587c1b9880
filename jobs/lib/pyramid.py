"""Pyramid: feature maps of any backbone at strides that double, of equal width, as detectors want them.

From a network with several maps, a feature pyramid (Lin et al., CVPR 2017); from one with a single map, such as a plain
ViT, a simple feature pyramid (Li et al., Exploring plain vision transformer backbones for object detection, ECCV 2022,
section 3).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import max_pool2d
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops import FeaturePyramidNetwork

from jobs.lib.maps import Maps

FINEST = 4  # no level has a smaller stride


class Pyramid(nn.Module):
    """N x 3 x H x W -> {"p2": N x `width` x H/4 x W/4, ..., "p6": ...}: a name's number is the stride's logarithm.

    The last level is the one before, of which every second row and column is taken.
    """

    def __init__(self, maps: Maps, width: int, norm: bool = False) -> None:
        super().__init__()
        self.maps, self.out_channels = maps, width  # torchvision's detectors ask for the latter
        self.levels = [stride for stride in maps.strides if stride >= FINEST]
        if len(self.levels) == 1:
            stride, channels = self.levels[0], maps.channels[self.levels[0]]
            self.levels = [stride // 4, stride // 2, stride, stride * 2]
            self.neck: nn.Module = Simple(channels, width)
        else:
            self.neck = TopDown([maps.channels[stride] for stride in self.levels], width, norm)
        self.used = [stride for stride in self.levels if stride in maps.strides]
        self.strides = [*self.levels, 2 * self.levels[-1]]
        self.names = [f"p{stride.bit_length() - 1}" for stride in self.strides]

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        found = self.maps(x)
        made = self.neck([found[stride] for stride in self.used])
        return OrderedDict(zip(self.names, [*made, max_pool2d(made[-1], 1, 2)], strict=True))


def anchors(sizes: Sequence[float], strides: Sequence[int]) -> list[float]:
    """The size of the anchors on each level; `sizes` are those for strides of 4, 8, 16, 32 and 64."""
    return [
        sizes[0] * stride / FINEST
        if stride // FINEST >= 2 ** len(sizes)
        else sizes[(stride // FINEST).bit_length() - 1]
        for stride in strides
    ]


class TopDown(nn.Module):
    """Maps from fine to coarse -> as many of one width, each with what the coarser see; `norm`: batch-normalised."""

    def __init__(self, channels: list[int], width: int, norm: bool) -> None:
        super().__init__()
        self.fpn = FeaturePyramidNetwork(channels, width, norm_layer=nn.BatchNorm2d if norm else None)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return list(self.fpn(OrderedDict((str(level), one) for level, one in enumerate(maps))).values())


class Simple(nn.Module):
    """One map -> four, at a quarter, half, all and twice of its stride."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        up = nn.ConvTranspose2d  # with kernel and stride 2
        scales: list[tuple[list[nn.Module], int]] = [
            ([up(channels, half, 2, 2), LayerNorm2d(half), nn.GELU(), up(half, quarter, 2, 2)], quarter),
            ([up(channels, half, 2, 2)], half),
            ([], channels),
            ([nn.MaxPool2d(2)], channels),
        ]
        self.scales = nn.ModuleList(nn.Sequential(*before, *_even(into, width)) for before, into in scales)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [scale(maps[0]) for scale in self.scales]


def _even(channels: int, width: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, width, 1, bias=False),
        LayerNorm2d(width),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        LayerNorm2d(width),
    ]
