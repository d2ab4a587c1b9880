"""SwAV: swapping assignments between views; and the methods that its authors trained alike."""

from dataclasses import replace

from suite.model import Accuracy, Model, Origin, Weights

BASE = "https://dl.fbaipublicfiles.com/deepcluster/"

ORIGIN = Origin(
    (BASE + "swav_800ep_pretrain.pth.tar",),
    prefix="module.",
    leftover=("module.projection_head.*", "module.prototypes.*"),
)
RESNET50 = Model(
    "swav_resnet50",
    "resnet50",
    2048,
    weights=Weights("swav_resnet50.safetensors", origin=ORIGIN),
    pretraining="ImageNet-1K, no labels, 800 epochs",
    licence="CC-BY-NC-4.0",
    citation="Caron et al., Unsupervised learning of visual features by contrasting cluster assignments, NeurIPS 2020",
    families=("cog", "ssl-transfer"),
    accuracy=(Accuracy(75.3, "linear", "SwAV's authors"),),
)
DEEPCLUSTER = replace(
    RESNET50,
    name="deepcluster-v2_resnet50",
    weights=Weights(
        "deepcluster-v2_resnet50.safetensors",
        origin=replace(ORIGIN, urls=(BASE + "deepclusterv2_800ep_pretrain.pth.tar",)),
    ),
    families=("ssl-transfer",),
    accuracy=(Accuracy(75.2, "linear", "SwAV's authors"),),
)
SELA = replace(
    DEEPCLUSTER,
    name="sela-v2_resnet50",
    weights=Weights(
        "sela-v2_resnet50.safetensors", origin=replace(ORIGIN, urls=(BASE + "selav2_400ep_pretrain.pth.tar",))
    ),
    pretraining="ImageNet-1K, no labels, 400 epochs",
    accuracy=(Accuracy(71.8, "linear", "SwAV's authors"),),
)
