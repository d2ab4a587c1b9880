"""DINO: self-distillation with no labels."""

from suite.model import Accuracy, Model, Origin, Weights

RESNET50 = Model(
    "dino_resnet50",
    "resnet50",
    2048,
    weights=Weights(
        "dino_resnet50.safetensors",
        origin=Origin(("https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",)),
    ),
    pretraining="ImageNet-1K, no labels",
    licence="Apache-2.0",
    citation="Caron et al., Emerging properties in self-supervised vision transformers, ICCV 2021",
    families=("cog",),
    accuracy=(Accuracy(75.3, "linear", "DINO's authors"), Accuracy(67.5, "knn", "DINO's authors")),
)
