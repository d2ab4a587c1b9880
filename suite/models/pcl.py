"""PCL: prototypical contrastive learning, trained as MoCo is and published alike."""

from dataclasses import replace

from suite.model import Accuracy, Model, Origin, Weights
from suite.models.moco import LEFTOVER, PREFIX

BASE = "https://storage.googleapis.com/sfr-pcl-data-research/PCL_checkpoint/"

ORIGIN = Origin((BASE + "PCL_v1_epoch200.pth.tar",), prefix=PREFIX, leftover=LEFTOVER)
V1 = Model(
    "pcl-v1_resnet50",
    "resnet50",
    2048,
    weights=Weights("pcl-v1_resnet50.safetensors", origin=ORIGIN),
    pretraining="ImageNet-1K, no labels, 200 epochs",
    licence="MIT",
    citation="Li et al., Prototypical contrastive learning of unsupervised representations, ICLR 2021",
    families=("ssl-transfer",),
    accuracy=(Accuracy(61.5, "linear", "PCL's authors"),),
)
V2 = replace(
    V1,
    name="pcl-v2_resnet50",
    weights=Weights("pcl-v2_resnet50.safetensors", origin=replace(ORIGIN, urls=(BASE + "PCL_v2_epoch200.pth.tar",))),
    accuracy=(Accuracy(67.6, "linear", "PCL's authors"),),
)
