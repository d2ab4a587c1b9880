"""Supervised on ImageNet-1K with mixed images or better labels: mixup, manifold mixup, CutMix and ReLabel."""

from dataclasses import replace

from suite.model import Accuracy, Model, Origin, Weights

# Some were saved within a container, some by a network on several GPUs; all in folders and under the same name.
ORIGIN = Origin(
    page="https://www.dropbox.com/sh/g64c8bda61n12if/AACyaTZnku_Sgibc9UvOSblNa?dl=0",
    file="mixup_resnet50.pth.tar",
    rename=((r"^state_dict\.", ""), (r"^module\.", "")),
    leftover=("optimizer.*",),
)
MIXUP = Model(
    "mixup_resnet50",
    "resnet50",
    2048,
    weights=Weights("mixup_resnet50.safetensors", origin=ORIGIN),
    pretraining="ImageNet-1K, labels, mixed images, 300 epochs",
    licence="MIT",
    citation="Zhang et al., mixup: Beyond empirical risk minimization, ICLR 2018; trained by Yun et al., ICCV 2019",
    families=("cog",),
    classes=1000,
    accuracy=(Accuracy(77.42, "classifier", "CutMix's authors"),),
)
MANIFOLD_PAGE = "https://www.dropbox.com/sh/bjardjje11pti0g/AABFGW0gNrNE8o8TqUf4-SYSa?dl=0"
MANIFOLD = replace(
    MIXUP,
    name="manifold-mixup_resnet50",
    weights=Weights(
        "manifold-mixup_resnet50.safetensors",
        origin=replace(ORIGIN, page=MANIFOLD_PAGE, file="manifold-mixup_resnet50.pth.tar"),
    ),
    pretraining="ImageNet-1K, labels, mixed hidden states, 300 epochs",
    citation="Verma et al., Manifold mixup: Better representations by interpolating hidden states, ICML 2019; "
    "trained by Yun et al., ICCV 2019",
    accuracy=(Accuracy(77.5, "classifier", "CutMix's authors"),),
)
CUTMIX_PAGE = "https://www.dropbox.com/sh/w8dvfgdc3eirivf/AABnGcTO9wao9xVGWwqsXRala?dl=0"
CUTMIX = replace(
    MIXUP,
    name="cutmix_resnet50",
    weights=Weights(
        "cutmix_resnet50.safetensors", origin=replace(ORIGIN, page=CUTMIX_PAGE, file="cutmix_resnet50.pth.tar")
    ),
    pretraining="ImageNet-1K, labels, images with a piece of another, 300 epochs",
    citation="Yun et al., CutMix: Regularization strategy to train strong classifiers with localizable features, "
    "ICCV 2019",
    accuracy=(Accuracy(78.6, "classifier", "CutMix's authors"),),
)
RELABEL_URL = "https://www.dropbox.com/s/a0jzq3933s1wcig/rn50_relabel_78.9.pth"
RELABEL = replace(
    MIXUP,
    name="relabel_resnet50",
    weights=Weights(
        "relabel_resnet50.safetensors",
        origin=replace(ORIGIN, urls=(f"{RELABEL_URL}?dl=1",), page=f"{RELABEL_URL}?dl=0", file="rn50_relabel_78.9.pth"),
    ),
    pretraining="ImageNet-1K, labels of each crop by another network, 300 epochs",
    licence="Apache-2.0",
    citation="Yun et al., Re-labeling ImageNet: from single to multi-labels, from global to localized labels, "
    "CVPR 2021",
    accuracy=(Accuracy(78.9, "classifier", "ReLabel's authors"),),
)
