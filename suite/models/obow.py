"""OBoW: a student predicts its teacher's bags of visual words."""

from suite.model import Accuracy, Model, Origin, Weights

RELEASE = "https://github.com/valeoai/obow/releases/download/v0.1.0/"

RESNET50 = Model(
    "obow_resnet50",
    "resnet50",
    2048,
    weights=Weights(
        "obow_resnet50.safetensors",
        origin=Origin(
            (RELEASE + "ImageNetFull_ResNet50_OBoW_full_feature_extractor.zip",),
            member="tochvision_resnet50_student_K8192_epoch200.pth.tar",  # so it is spelled
            prefix="network.",
            leftover=("network.fc.*",),
        ),
    ),
    pretraining="ImageNet-1K, no labels, 200 epochs",
    licence="Apache-2.0",
    citation="Gidaris et al., OBoW: Online bag-of-visual-words generation for self-supervised learning, CVPR 2021",
    families=("cog",),
    accuracy=(Accuracy(73.8, "linear", "OBoW's authors"),),
)
