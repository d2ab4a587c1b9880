"""DINO: self-distillation with no labels."""

from suite.model import Model, Weights

RESNET50 = Model(
    "dino_resnet50",
    "resnet50",
    2048,
    weights=Weights(
        "dino_resnet50.pth",
        urls=("https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",),
    ),
    pretraining="ImageNet-1K, no labels",
    licence="Apache-2.0",
    citation="Caron et al., Emerging properties in self-supervised vision transformers, ICCV 2021",
)
