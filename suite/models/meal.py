"""MEAL V2: a ResNet-50 learns from the outputs of an ensemble."""

from suite.model import Accuracy, Model, Origin, Weights

RESNET50 = Model(
    "meal-v2_resnet50",
    "resnet50",
    2048,
    weights=Weights(
        "meal-v2_resnet50.safetensors",
        origin=Origin(
            ("https://github.com/szq0214/MEAL-V2/releases/download/v1.0.0/MEALV2_ResNet50_224.pth",),
            page="https://1drv.ms/u/s!AtMVZxJ8MfxCi0NGENlMK0pYVDQM?e=GkwZ93",
            prefix="module.",
        ),
    ),
    pretraining="ImageNet-1K, labels by way of an ensemble",
    licence="not stated",
    citation="Shen and Savvides, MEAL V2: Boosting vanilla ResNet-50 to 80%+ top-1 accuracy on ImageNet without "
    "tricks, arXiv:2009.08453",
    families=("cog",),
    classes=1000,
    accuracy=(Accuracy(80.67, "classifier", "MEAL V2's authors"),),
)
