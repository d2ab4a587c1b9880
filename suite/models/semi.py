"""Supervised by a teacher that labelled up to a billion images of the web; fine-tuned on ImageNet-1K."""

from dataclasses import replace

from suite.model import Accuracy, Model, Origin, Weights

BASE = "https://dl.fbaipublicfiles.com/semiweaksupervision/model_files/"

SSUP = Model(
    "ssup_resnet50",
    "resnet50",
    2048,
    weights=Weights(
        "ssup_resnet50.safetensors",
        origin=Origin((BASE + "semi_supervised_resnet50-08389792.pth",), sha256="08389792"),
    ),
    pretraining="YFCC-100M, labels by a teacher; ImageNet-1K, labels",
    licence="CC-BY-NC-4.0",
    citation="Yalniz et al., Billion-scale semi-supervised learning for image classification, arXiv:1905.00546",
    families=("cog",),
    classes=1000,
    accuracy=(Accuracy(79.3, "classifier", "its authors"),),
)
SWSUP = replace(
    SSUP,
    name="swsup_resnet50",
    weights=Weights(
        "swsup_resnet50.safetensors",
        origin=Origin((BASE + "semi_weakly_supervised_resnet50-16a12f1b.pth",), sha256="16a12f1b"),
    ),
    pretraining="a billion images with hashtags, labels by a teacher; ImageNet-1K, labels",
    accuracy=(Accuracy(81.2, "classifier", "its authors"),),
)
