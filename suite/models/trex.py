"""t-ReX: supervised with a projector and many crops, for transfer (t-ReX) or for ImageNet-1K as well (t-ReX*)."""

from dataclasses import replace

from suite.model import Accuracy, Model, Origin, Weights

BASE = "https://download.europe.naverlabs.com/ComputerVision/trex_models/"

TREX = Model(
    "trex_resnet50",
    "resnet50",
    2048,
    weights=Weights("trex_resnet50.safetensors", origin=Origin((BASE + "trex.pth",))),
    pretraining="ImageNet-1K, labels, 100 epochs",
    licence="CC-BY-NC-SA-4.0",
    citation="Sariyildiz et al., No reason for no supervision: Improved generalization in supervised models, ICLR 2023",
    families=("trex",),
    accuracy=(Accuracy(78.0, "linear", "t-ReX's authors"),),
)
STAR = replace(
    TREX,
    name="trex-star_resnet50",
    weights=Weights("trex-star_resnet50.safetensors", origin=Origin((BASE + "trexstar.pth",))),
    accuracy=(Accuracy(80.2, "linear", "t-ReX's authors"),),
)
AGAIN = replace(
    TREX,
    name="trex-2_resnet50",
    weights=Weights("trex-2_resnet50.safetensors", origin=Origin((BASE + "trex_2.pth",))),
    pretraining="ImageNet-1K, labels, 100 epochs, once more with the published code",
    accuracy=(Accuracy(77.9, "linear", "t-ReX's authors"),),
)
STAR_AGAIN = replace(
    AGAIN,
    name="trex-star-2_resnet50",
    weights=Weights("trex-star-2_resnet50.safetensors", origin=Origin((BASE + "trexstar_2.pth",))),
    accuracy=(Accuracy(80.2, "linear", "t-ReX's authors"),),
)
