"""NAT: an architecture searched for by transfer from larger ones."""

from dataclasses import replace

from suite.model import Accuracy, Input, Model, Origin, Weights

BASE = "https://www.zhichaolu.com/assets/neural-architecture-transfer/pretrained/imagenet/"

M4 = Model(
    "nat_m4",
    "nat_m4",
    1536,
    Input(size=240, resize=240),
    weights=Weights(
        "nat_m4.safetensors", origin=Origin((BASE + "net-img@240-flops@600-top1@80.5/net.weights",), file="net.weights")
    ),
    pretraining="ImageNet-1K, labels",
    licence="not stated",
    citation="Lu et al., Neural architecture transfer, TPAMI 2021",
    families=("cog",),
    classes=1000,
    accuracy=(Accuracy(80.5, "classifier", "NAT's authors"),),
)
M4_PAPER = replace(
    M4,
    name="nat-paper_m4",
    input=Input(),
    pretraining=f"{M4.pretraining}; with an input as in CoG: 224 pixels",
    families=(),
    accuracy=(),
)
