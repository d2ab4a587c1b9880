"""SimCLR: two views of an image find each other among many. Pixels stay in [0, 1].

In TensorFlow the stem's pooling pads one pixel behind; converted networks of both papers pad on both sides.
"""

from dataclasses import replace

from suite.model import Accuracy, Input, Model, Origin, Weights

ZERO_TO_ONE = Input(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

ORIGIN = Origin(
    ("https://storage.googleapis.com/simclr-gcs/checkpoints/ResNet50_1x.zip",),
    page="https://storage.cloud.google.com/simclr-gcs/checkpoints/ResNet50_1x.zip",
    member="model.ckpt-*.[di]*",  # the index and the data
    reader="tensorflow",
    names="tf_resnet",
    leftover=("head_contrastive/*", "ema_model/*", "*/Momentum", "*/ExponentialMovingAverage", "global_step"),
)
V1 = Model(
    "simclr-v1_resnet50",
    "resnet50_same_pool",
    2048,
    ZERO_TO_ONE,
    weights=Weights("simclr-v1_resnet50.safetensors", origin=ORIGIN),
    pretraining="ImageNet-1K, no labels",
    licence="Apache-2.0",
    citation="Chen et al., A simple framework for contrastive learning of visual representations, ICML 2020",
    families=("ssl-transfer",),
    classes=1000,
    accuracy=(Accuracy(69.1, "classifier", "SimCLR's authors"),),
)
V1_PAPER = replace(
    V1,
    name="simclr-v1-paper_resnet50",
    architecture="resnet50",
    pretraining=f"{V1.pretraining}; padded as in ssl-transfer, by torchvision's ResNet",
    families=(),
    accuracy=(),
)
V2 = replace(
    V1,
    name="simclr-v2_resnet50",
    weights=Weights(
        "simclr-v2_resnet50.safetensors",
        origin=replace(
            ORIGIN,
            urls=(
                "https://storage.googleapis.com/simclr-checkpoints/simclrv2/pretrained/r50_1x_sk0/"
                "model.ckpt-250228.{index,data-00000-of-00001}",
            ),
            page="https://console.cloud.google.com/storage/browser/simclr-checkpoints/simclrv2/pretrained/r50_1x_sk0",
            member="",
        ),
    ),
    pretraining="ImageNet-1K, no labels",
    citation="Chen et al., Big self-supervised models are strong semi-supervised learners, NeurIPS 2020",
    families=("cog", "ssl-transfer"),
    accuracy=(Accuracy(71.7, "classifier", "SimCLR's authors"),),
)
V2_PAPER = replace(
    V2,
    name="simclr-v2-paper_resnet50",
    architecture="resnet50",
    input=Input(),
    pretraining=f"{V2.pretraining}; padded and with an input as in CoG: ImageNet's mean and std",
    families=(),
    accuracy=(),
)
V2_SSL_TRANSFER = replace(
    V2,
    name="simclr-v2-ssl-transfer-paper_resnet50",
    architecture="resnet50",
    pretraining=f"{V2.pretraining}; padded as in ssl-transfer, by torchvision's ResNet",
    families=(),
    accuracy=(),
)
