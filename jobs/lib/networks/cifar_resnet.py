"""ResNets for CIFAR-10 (He et al., Deep residual learning, CVPR 2016, section 4.2), with shortcuts of their option A.

Names are those of the widely used weights, without `module.`.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from suite.model import Input

WIDTHS = (16, 32, 64)
DEPTHS = (20, 32, 44, 56, 110)  # 6 n + 2, for n blocks a stage


class Block(nn.Module):
    """Two 3x3 convolutions; the shortcut takes every second cell and has zeros for new channels, half of them ahead."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.stride, self.new = (1, 0) if channels == out else (2, out - channels)
        self.conv1, self.bn1 = nn.Conv2d(channels, out, 3, self.stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        kept = x[:, :, :: self.stride, :: self.stride]
        return (y + functional.pad(kept, (0, 0, 0, 0, self.new // 2, self.new // 2))).relu()


class CifarResNet(nn.Module):
    """N x 3 x 32 x 32, or another size, -> N x 64, or `classes` logits."""

    def __init__(self, classes: int, depth: int) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.conv1, self.bn1 = nn.Conv2d(3, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first)
        self.layer1 = _stage(first, first, depth)
        self.layer2 = _stage(first, second, depth)
        self.layer3 = _stage(second, third, depth)
        self.linear = nn.Linear(third, classes) if classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)).relu())))
        return self.linear(x.mean((2, 3)))


def _stage(channels: int, out: int, depth: int) -> nn.Sequential:
    blocks = (depth - 2) // 6
    return nn.Sequential(Block(channels, out), *(Block(out, out) for _ in range(blocks - 1)))


NETWORKS = {f"cifar_resnet{depth}": partial(CifarResNet, depth=depth) for depth in DEPTHS}
# The published weights are those of images normalised as ImageNet's.
INPUTS = dict.fromkeys(NETWORKS, Input(size=32, resize=32, interpolation="bilinear"))
