"""MoCo: momentum contrast; and MoCHi, which mixes harder negatives for it."""

from dataclasses import replace

from suite.model import Accuracy, Model, Origin, Weights

BASE = "https://dl.fbaipublicfiles.com/moco/moco_checkpoints/"
PREFIX = "state_dict.module.encoder_q."
LEFTOVER = (
    "state_dict.module.encoder_q.fc.*",
    "state_dict.module.encoder_k.*",
    "state_dict.module.queue*",
    "optimizer.*",
)

ORIGIN = Origin(
    (BASE + "moco_v1_200ep/moco_v1_200ep_pretrain.pth.tar",), md5="b251726a", prefix=PREFIX, leftover=LEFTOVER
)
V1 = Model(
    "moco-v1_resnet50",
    "resnet50",
    2048,
    weights=Weights("moco-v1_resnet50.safetensors", origin=ORIGIN),
    pretraining="ImageNet-1K, no labels, 200 epochs",
    licence="CC-BY-NC-4.0",
    citation="He et al., Momentum contrast for unsupervised visual representation learning, CVPR 2020",
    families=("ssl-transfer",),
    accuracy=(Accuracy(60.6, "linear", "MoCo's authors"),),
)
V2 = replace(
    V1,
    name="moco-v2_resnet50",
    weights=Weights(
        "moco-v2_resnet50.safetensors",
        origin=replace(ORIGIN, urls=(BASE + "moco_v2_800ep/moco_v2_800ep_pretrain.pth.tar",), md5="a04e12f8"),
    ),
    pretraining="ImageNet-1K, no labels, 800 epochs",
    citation="Chen et al., Improved baselines with momentum contrastive learning, arXiv:2003.04297",
    families=("cog", "ssl-transfer"),
    accuracy=(Accuracy(71.1, "linear", "MoCo's authors"),),
)
MOCHI_URL = "https://download.europe.naverlabs.com/ComputerVision/MOCHI_models/mochi_512_1024_512_e1000.pth.tar"
MOCHI = replace(
    V1,
    name="mochi_resnet50",
    weights=Weights("mochi_resnet50.safetensors", origin=replace(ORIGIN, urls=(MOCHI_URL,), md5="")),
    pretraining="ImageNet-1K, no labels, 1000 epochs",
    licence="not stated",
    citation="Kalantidis et al., Hard negative mixing for contrastive learning, NeurIPS 2020",
    families=("cog",),
    accuracy=(),
)
