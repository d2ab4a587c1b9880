"""CLIP's ResNet-50 (Radford et al., ICML 2021): a stem of three convolutions, average pools where others stride, and
attention in place of the last pooling. Names are those below `visual.` in the published file."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from suite.model import Input

WIDTH, HEADS, EMBEDDING = 2048, 32, 1024
CELLS = 7 * 7  # of the last map, for 224 x 224 pixels


class Bottleneck(nn.Module):
    """1x1, 3x3, average pool of `stride`, 1x1."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.avgpool = _pool(stride)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.downsample: nn.Module = nn.Identity()
        if channels != out:
            conv = nn.Conv2d(channels, out, 1, bias=False)
            self.downsample = nn.Sequential(OrderedDict({"-1": _pool(stride), "0": conv, "1": nn.BatchNorm2d(out)}))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(self.avgpool(y)))
        return (y + self.downsample(x)).relu()


class AttentionPool(nn.Module):
    """N x 2048 x 7 x 7 -> N x 1024: what the mean of the map finds in the map."""

    def __init__(self) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(CELLS + 1, WIDTH) / WIDTH**0.5)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.c_proj = nn.Linear(WIDTH, EMBEDDING)

    def forward(self, x: Tensor) -> Tensor:
        cells = x.flatten(2).mT
        tokens = torch.cat([cells.mean(1, keepdim=True), cells], 1) + self.positional_embedding
        projected = self.q_proj(tokens[:, :1]), self.k_proj(tokens), self.v_proj(tokens)
        q, k, v = (one.unflatten(2, (HEADS, -1)).transpose(1, 2) for one in projected)
        found = functional.scaled_dot_product_attention(q, k, v)
        return self.c_proj(found.flatten(1))


class Clip(nn.Module):
    """The image embedding or, with `classes`, a linear classifier `fc` on it. Takes 224 x 224 pixels only."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32)
        self.conv2, self.bn2 = nn.Conv2d(32, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32)
        self.conv3, self.bn3 = nn.Conv2d(32, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        self.avgpool = nn.AvgPool2d(2)
        self.layer1 = _stage(64, 64, 3, 1)
        self.layer2 = _stage(256, 128, 4, 2)
        self.layer3 = _stage(512, 256, 6, 2)
        self.layer4 = _stage(1024, 512, 3, 2)
        self.attnpool = AttentionPool()
        self.fc = nn.Linear(EMBEDDING, classes) if classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = norm(conv(x)).relu()
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.avgpool(x)))))
        return self.fc(self.attnpool(x))


def _pool(stride: int) -> nn.Module:
    return nn.AvgPool2d(stride) if stride > 1 else nn.Identity()


def _stage(channels: int, width: int, depth: int, stride: int) -> nn.Sequential:
    rest = (Bottleneck(4 * width, width, 1) for _ in range(depth - 1))
    return nn.Sequential(Bottleneck(channels, width, stride), *rest)


NETWORKS = {"clip_resnet50": Clip}
INPUTS = {"clip_resnet50": Input(mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711))}
