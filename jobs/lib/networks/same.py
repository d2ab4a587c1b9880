"""ResNet-50 with TensorFlow's 'SAME' padding, which is not symmetric where something strides: one pixel more behind.

SimCLR pads its strided convolutions symmetrically, but the stem's pooling 'SAME' (Chen et al., ICML 2020 and NeurIPS
2020); BYOL (Grill et al., NeurIPS 2020) pads everything so. In torchvision's ResNet their weights see shifted grids.
"""

from __future__ import annotations

from functools import partial

from timm.layers import Conv2dSame
from timm.layers.pool2d_same import MaxPool2dSame
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet


class SameResNet(ResNet):
    """torchvision's ResNet-50 and its names, padded 'SAME' in the stem's pooling or, `everywhere`, in all that strides.

    What does not stride is padded symmetrically by 'SAME', too.
    """

    def __init__(self, classes: int, everywhere: bool) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3])
        self.fc = nn.Linear(self.fc.in_features, classes) if classes else nn.Identity()
        self.maxpool = MaxPool2dSame(3, 2)
        if everywhere:
            for name, module in list(self.named_modules()):
                if isinstance(module, nn.Conv2d) and module.stride > (1, 1) and module.kernel_size > (1, 1):
                    parent, _, own = name.rpartition(".")
                    setattr(self.get_submodule(parent), own, _same(module))


def _same(convolution: nn.Conv2d) -> Conv2dSame:
    """The same convolution with the same weight, padded when it is called."""
    into, out = convolution.in_channels, convolution.out_channels
    made = Conv2dSame(into, out, convolution.kernel_size, convolution.stride, bias=False)
    made.weight = convolution.weight
    return made


NETWORKS = {
    "resnet50_same": partial(SameResNet, everywhere=True),
    "resnet50_same_pool": partial(SameResNet, everywhere=False),
}
