"""Supervised on ImageNet-1K: torchvision's first weights, as all five systems use them."""

from dataclasses import replace

from suite.model import Accuracy, Input, Model, Origin, Weights

BASE = "https://download.pytorch.org/models/"
HALVES = Input(size=299, resize=299, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

RESNET50 = Model(
    "supervised_resnet50",
    "resnet50",
    2048,
    weights=Weights(
        "supervised_resnet50.safetensors", origin=Origin((BASE + "resnet50-19c8e357.pth",), sha256="19c8e357")
    ),
    pretraining="ImageNet-1K, labels",
    licence="BSD-3-Clause",
    citation="He et al., Deep residual learning for image recognition, CVPR 2016",
    families=("cog", "ssl-transfer"),
    classes=1000,
    accuracy=(Accuracy(76.13, "classifier", "torchvision"),),
)
RESNET152 = replace(
    RESNET50,
    name="supervised_resnet152",
    architecture="resnet152",
    weights=Weights(
        "supervised_resnet152.safetensors", origin=Origin((BASE + "resnet152-b121ed2d.pth",), sha256="b121ed2d")
    ),
    families=("cog",),
    accuracy=(Accuracy(78.312, "classifier", "torchvision"),),
)
INCEPTION = replace(
    RESNET50,
    name="supervised_inception_v3",
    architecture="inception_v3",
    input=HALVES,
    weights=Weights(
        "supervised_inception_v3.safetensors",
        origin=Origin((BASE + "inception_v3_google-1a9a5a14.pth",), sha256="1a9a5a14"),
    ),
    citation="Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016",
    families=("cog",),
    accuracy=(Accuracy(77.294, "classifier", "torchvision"),),
)
INCEPTION_PAPER = replace(
    INCEPTION,
    name="supervised-paper_inception_v3",
    input=Input(size=299, resize=299),
    pretraining="ImageNet-1K, labels; its input as CoG made it, with ImageNet's mean and std",
    families=(),
    accuracy=(),
)
VGG19 = replace(
    RESNET50,
    name="supervised_vgg19_bn",
    architecture="vgg19_bn",
    dimension=4096,
    weights=Weights(
        "supervised_vgg19_bn.safetensors", origin=Origin((BASE + "vgg19_bn-c79401a0.pth",), sha256="c79401a0")
    ),
    citation="Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, ICLR 2015",
    families=("cog",),
    accuracy=(Accuracy(74.218, "classifier", "torchvision"),),
)
