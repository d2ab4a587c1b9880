"""MoCo: momentum contrast."""

from dataclasses import replace

from suite.model import Model, Weights

BASE = "https://dl.fbaipublicfiles.com/moco/moco_checkpoints/"

WEIGHTS = Weights(
    "moco-v1_resnet50.pth",
    prefix="module.encoder_q.",
    leftover=("fc.*",),
    urls=(BASE + "moco_v1_200ep/moco_v1_200ep_pretrain.pth.tar",),
)
V1 = Model(
    "moco-v1_resnet50",
    "resnet50",
    2048,
    weights=WEIGHTS,
    pretraining="ImageNet-1K, no labels, 200 epochs",
    licence="CC-BY-NC-4.0",
    citation="He et al., Momentum contrast for unsupervised visual representation learning, CVPR 2020",
)
V2 = replace(
    V1,
    name="moco-v2_resnet50",
    weights=replace(
        WEIGHTS, file="moco-v2_resnet50.pth", urls=(BASE + "moco_v2_800ep/moco_v2_800ep_pretrain.pth.tar",)
    ),
    pretraining="ImageNet-1K, no labels, 800 epochs",
    citation="Chen et al., Improved baselines with momentum contrastive learning, arXiv:2003.04297",
)
