"""MoPro: momentum prototypes, learnt from images of the web with their noisy labels."""

from suite.model import Model, Origin, Weights
from suite.models.moco import LEFTOVER, PREFIX

RESNET50 = Model(
    "mopro_resnet50",
    "resnet50",
    2048,
    weights=Weights(
        "mopro_resnet50.safetensors",
        origin=Origin(
            ("https://storage.googleapis.com/sfr-pcl-data-research/MoPro_checkpoint/MoPro_V1_epoch90.tar",),
            prefix=PREFIX,
            rename=((r"^classifier\.", "fc."),),
            leftover=(*LEFTOVER, "state_dict.module.encoder_q.fc*", "state_dict.module.prototypes"),
        ),
    ),
    pretraining="WebVision-V1, noisy labels of ImageNet-1K's classes, 90 epochs",
    licence="not stated",
    citation="Li et al., MoPro: Webly supervised learning with momentum prototypes, ICLR 2021",
    families=("cog",),
    classes=1000,
)
