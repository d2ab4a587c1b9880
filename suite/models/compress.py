"""CompRess: a ResNet-50 learns which images its teacher, SimCLR's four times as wide one, finds alike."""

from suite.model import Accuracy, Model, Origin, Weights

RESNET50 = Model(
    "compress_resnet50",
    "resnet50",
    2048,
    weights=Weights(
        "compress_resnet50.safetensors",
        origin=Origin(
            page="https://drive.google.com/file/d/15rzzSkcedEuCE7Cm8yLXopA5PqHUQscb/view?usp=sharing",
            file="compress_resnet50.pth",
            prefix="model.",
            rename=((r"^module\.", ""),),
            leftover=("model.*fc.*", "optimizer.*"),
        ),
    ),
    pretraining="ImageNet-1K, no labels, after a SimCLR ResNet-50 of four times the width",
    licence="MIT",
    citation="Koohpayegani et al., CompRess: Self-supervised learning by compressing representations, NeurIPS 2020",
    families=("cog",),
    accuracy=(Accuracy(71.6, "linear", "CompRess's authors"),),
)
