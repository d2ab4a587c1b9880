"""Supervised on ImageNet-1K: torchvision's first weights, as all five systems use them."""

from suite.model import Model, Weights

BASE = "https://download.pytorch.org/models/"

RESNET50 = Model(
    "supervised_resnet50",
    "resnet50",
    2048,
    weights=Weights("supervised_resnet50.pth", "19c8e357", leftover=("fc.*",), urls=(BASE + "resnet50-19c8e357.pth",)),
    pretraining="ImageNet-1K, labels",
    licence="BSD-3-Clause",
    citation="He et al., Deep residual learning for image recognition, CVPR 2016",
)
RESNET152 = Model(
    "supervised_resnet152",
    "resnet152",
    2048,
    weights=Weights(
        "supervised_resnet152.pth", "b121ed2d", leftover=("fc.*",), urls=(BASE + "resnet152-b121ed2d.pth",)
    ),
    pretraining=RESNET50.pretraining,
    licence=RESNET50.licence,
    citation=RESNET50.citation,
)
