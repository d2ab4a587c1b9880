"""DeiT: vision transformers trained on ImageNet-1K alone; distilled ones have a second token, for their teacher."""

from dataclasses import replace

from suite.model import Accuracy, Input, Model, Origin, Weights

BASE = "https://dl.fbaipublicfiles.com/deit/"

SMALL = Model(
    "deit_small",
    "timm:deit_small_patch16_224",
    384,
    weights=Weights(
        "deit_small.safetensors",
        origin=Origin((BASE + "deit_small_patch16_224-cd65a155.pth",), sha256="cd65a155", prefix="model."),
    ),
    pretraining="ImageNet-1K, labels, 300 epochs",
    licence="Apache-2.0",
    citation="Touvron et al., Training data-efficient image transformers and distillation through attention, ICML 2021",
    families=("cog",),
    classes=1000,
    accuracy=(Accuracy(79.9, "classifier", "DeiT's authors"),),
)
SMALL_DISTILLED = replace(
    SMALL,
    name="deit_small_distilled",
    architecture="deit_small_distilled",
    weights=Weights(
        "deit_small_distilled.safetensors",
        origin=Origin((BASE + "deit_small_distilled_patch16_224-649709d9.pth",), sha256="649709d9", prefix="model."),
    ),
    pretraining="ImageNet-1K, labels and a RegNet's, 300 epochs",
    accuracy=(Accuracy(81.2, "classifier", "DeiT's authors"),),
)
BASE_DISTILLED_384 = replace(
    SMALL,
    name="deit_base_distilled_384",
    architecture="deit_base_distilled_384",
    dimension=768,
    input=Input(size=384, resize=384),
    weights=Weights(
        "deit_base_distilled_384.safetensors",
        origin=Origin((BASE + "deit_base_distilled_patch16_384-d0272ac0.pth",), sha256="d0272ac0", prefix="model."),
    ),
    pretraining="ImageNet-1K, labels and a RegNet's, 1000 epochs",
    accuracy=(Accuracy(85.2, "classifier", "DeiT's authors"),),
)
