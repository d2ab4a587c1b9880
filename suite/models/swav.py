"""SwAV: swapping assignments between views."""

from suite.model import Model, Weights

RESNET50 = Model(
    "swav_resnet50",
    "resnet50",
    2048,
    weights=Weights(
        "swav_resnet50.pth",
        prefix="module.",
        leftover=("projection_head.*", "prototypes.*"),
        urls=("https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar",),
    ),
    pretraining="ImageNet-1K, no labels, 800 epochs",
    licence="CC-BY-NC-4.0",
    citation="Caron et al., Unsupervised learning of visual features by contrasting cluster assignments, NeurIPS 2020",
)
