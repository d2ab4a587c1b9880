"""EfficientNets by pycls: channels are blue, green, red."""

from dataclasses import replace

from suite.model import Accuracy, Input, Model, Origin, Weights

BASE = "https://dl.fbaipublicfiles.com/pycls/dds_baselines/"

ORIGIN = Origin(
    (BASE + "161304979/EN-B1_dds_8gpu.pyth",),
    prefix="model_state.",
    names="pycls_efficientnet",
    leftover=("ema_state.*", "optimizer_state.*"),
)
B1 = Model(
    "efficientnet_b1",
    "timm:efficientnet_b1",
    1280,
    Input(size=240, resize=240, channels="BGR"),
    weights=Weights("efficientnet_b1.safetensors", origin=ORIGIN),
    pretraining="ImageNet-1K, labels, 100 epochs",
    licence="MIT",
    citation="Tan and Le, EfficientNet: Rethinking model scaling for convolutional neural networks, ICML 2019; "
    "trained by Radosavovic et al., CVPR 2020",
    families=("cog",),
    classes=1000,
    accuracy=(Accuracy(75.9, "classifier", "pycls"),),
)
B4 = replace(
    B1,
    name="efficientnet_b4",
    architecture="timm:efficientnet_b4",
    dimension=1792,
    input=Input(size=380, resize=380, channels="BGR"),
    weights=Weights(
        "efficientnet_b4.safetensors", origin=replace(ORIGIN, urls=(BASE + "161305098/EN-B4_dds_8gpu.pyth",))
    ),
    accuracy=(Accuracy(78.6, "classifier", "pycls"),),
)
