"""Barlow Twins: two views agree in every number of the embedding, and its numbers tell different things."""

from dataclasses import replace

from suite.model import Accuracy, Model, Origin, Weights

BASE = "https://dl.fbaipublicfiles.com/barlowtwins/"

RESNET50 = Model(
    "barlow_resnet50",
    "resnet50",
    2048,
    weights=Weights(
        "barlow_resnet50.safetensors",
        origin=Origin(
            (BASE + "epochs1000_bs2048_lr0.2_lambd0.0051_proj_8192_8192_8192_scale0.024/resnet50.pth",),
            file="barlow_resnet50.pth",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 1000 epochs",
    licence="MIT",
    citation="Zbontar et al., Barlow Twins: Self-supervised learning via redundancy reduction, ICML 2021",
    families=("cog",),
)
LATER = replace(
    RESNET50,
    name="barlow-later_resnet50",
    weights=Weights(
        "barlow-later_resnet50.safetensors",
        origin=Origin((BASE + "ljng/resnet50.pth",), file="barlow-later_resnet50.pth"),
    ),
    pretraining="ImageNet-1K, no labels, 1000 epochs: the file that its authors point to since",
    families=(),
    accuracy=(Accuracy(73.5, "linear", "Barlow Twins' authors"),),
)
