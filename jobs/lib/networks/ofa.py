"""The once-for-all network of 595 million operations (Cai et al., ICLR 2020), in the two shapes that are published.

ofa_595m  pre-trained on ImageNet-21K-P (Ridnik et al., NeurIPS 2021), for which hard swish became swish, and the hard
          sigmoid a sigmoid, though the file's description still has the old names; its classifier is a 1x1 convolution
nat_m4    of neural architecture transfer (Lu et al., TPAMI 2021), which came to the same blocks: mish everywhere

Both mix their features after the pooling, by a 1x1 convolution without a norm. Names are those of their files.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn

from suite.model import Input

STEM, EXPANDED, DIMENSION = 24, 1152, 1536
BLOCKS = (  # kernel, stride, channels of the hidden layer and of the output, whether they are squeezed and excited
    (3, 1, 24, 24, False),
    (3, 2, 72, 32, False), (5, 1, 128, 32, False), (3, 1, 96, 32, False),
    (5, 2, 128, 48, True), (5, 1, 192, 48, True), (3, 1, 288, 48, True), (5, 1, 144, 48, True),
    (7, 2, 288, 96, False), (5, 1, 576, 96, False), (3, 1, 288, 96, False), (5, 1, 384, 96, False),
    (3, 1, 576, 136, True), (5, 1, 816, 136, True), (7, 1, 816, 136, True), (3, 1, 544, 136, True),
    (3, 2, 816, 192, True), (3, 1, 1152, 192, True), (5, 1, 1152, 192, True), (3, 1, 576, 192, True),
)  # fmt: skip
PLAIN = 8  # blocks of ofa_595m that have ReLU, all before the maps of stride 16

Kind = Callable[[], nn.Module]  # makes an activation


class Squeeze(nn.Module):
    """Channels weighted by a gate on their means; the hidden layer is a quarter, a multiple of 8."""

    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        hidden = max(8, (channels // 4 + 4) // 8 * 8)
        reduce, expand = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
        self.fc = nn.Sequential(OrderedDict(reduce=reduce, relu=nn.ReLU(), expand=expand, gate=gate))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3), keepdim=True))


class Block(nn.Module):
    """An inverted residual block, with a shortcut where the shape stays."""

    def __init__(
        self, channels: int, kernel: int, stride: int, hidden: int, out: int, act: Kind, gate: nn.Module | None
    ) -> None:
        super().__init__()
        self.shortcut = stride == 1 and channels == out
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if hidden != channels:
            layers["inverted_bottleneck"] = _layer(channels, hidden, act())
        layers["depth_conv"] = _layer(hidden, hidden, act(), kernel, stride, groups=hidden)
        if gate is not None:
            layers["depth_conv"].add_module("se", Squeeze(hidden, gate))
        layers["point_linear"] = _layer(hidden, out, None)
        self.mobile_inverted_conv = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mobile_inverted_conv(x)
        return x + y if self.shortcut else y


class OnceForAll(nn.Module):
    """`acts` are the activations of the blocks, `act` of what is around them, `gate` of the squeezes."""

    def __init__(self, acts: list[Kind], act: Kind, gate: Kind, classifier: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        self.first_conv = _layer(3, STEM, act(), 3, 2)
        blocks, channels = [], STEM
        for kind, (kernel, stride, hidden, out, squeezed) in zip(acts, BLOCKS, strict=True):
            blocks.append(Block(channels, kernel, stride, hidden, out, kind, gate() if squeezed else None))
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.final_expand_layer = _layer(channels, EXPANDED, act())
        mix = nn.Conv2d(EXPANDED, DIMENSION, 1, bias=False)
        self.feature_mix_layer = nn.Sequential(OrderedDict(conv=mix, act=act()))
        self.classifier = nn.Sequential(classifier)

    def forward(self, x: Tensor) -> Tensor:
        x = self.final_expand_layer(self.blocks(self.first_conv(x)))
        x = self.feature_mix_layer(x.mean((2, 3), keepdim=True))
        return self.classifier(x)


def _layer(
    channels: int, out: int, act: nn.Module | None, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, norm and, but for the last layer of a block, activation."""
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    made = nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out)))
    if act is not None:
        made.add_module("act", act)
    return made


def ofa_595m(classes: int) -> nn.Module:
    """OFA-595 as ImageNet-21K-P has it."""
    acts: list[Kind] = [nn.ReLU] * PLAIN + [nn.SiLU] * (len(BLOCKS) - PLAIN)
    last: OrderedDict[str, nn.Module] = OrderedDict(flat=nn.Flatten())
    if classes:
        last = OrderedDict(linear=nn.Conv2d(DIMENSION, classes, 1), flat=nn.Flatten())
    return OnceForAll(acts, nn.SiLU, nn.Sigmoid, last)


def nat_m4(classes: int) -> nn.Module:
    """NAT-M4, the largest of its four for ImageNet."""
    last: OrderedDict[str, nn.Module] = OrderedDict(flat=nn.Flatten())
    if classes:
        last["linear"] = nn.Linear(DIMENSION, classes)
    return OnceForAll([nn.Mish] * len(BLOCKS), nn.Mish, nn.Hardsigmoid, last)


NETWORKS = {"nat_m4": nat_m4, "ofa_595m": ofa_595m}
INPUTS = {"nat_m4": Input(size=240, resize=240)}
