"""Contrastive methods that were trained and published together: InsDis, PIRL and InfoMin."""

from dataclasses import replace

from suite.model import Accuracy, Model, Origin, Weights

BASE = "https://www.dropbox.com/sh/87d24jqsl6ra7t2/"

ORIGIN = Origin(
    (BASE + "AACcsSIt1_Njv7GsmsuzZ6Sta/InsDis.pth?dl=1",),
    page=BASE + "AABdDXZZBTnMQCBrg1yrQKVCa?dl=0",
    file="InsDis.pth",
    prefix="model.module.encoder.",
    leftover=(
        "model.module.head*",  # of the image and, PIRL's and InfoMin's, of its jigsaw
        "model.module.jigsaw*",
        "model.module.linear*",
        "contrast.*",
        "optimizer.*",
        "amp.*",
    ),
)
INSDIS = Model(
    "insdis_resnet50",
    "resnet50",
    2048,
    weights=Weights("insdis_resnet50.safetensors", origin=ORIGIN),
    pretraining="ImageNet-1K, no labels, 200 epochs",
    licence="BSD-2-Clause",
    citation="Wu et al., Unsupervised feature learning via non-parametric instance discrimination, CVPR 2018",
    families=("ssl-transfer",),
    accuracy=(Accuracy(59.5, "linear", "PyContrast"),),
)
PIRL = replace(
    INSDIS,
    name="pirl_resnet50",
    weights=Weights(
        "pirl_resnet50.safetensors",
        origin=replace(ORIGIN, urls=(BASE + "AADN4jKnvTI0U5oT6hTmQZz8a/PIRL.pth?dl=1",), file="PIRL.pth"),
    ),
    citation="Misra and van der Maaten, Self-supervised learning of pretext-invariant representations, CVPR 2020",
    accuracy=(Accuracy(61.7, "linear", "PyContrast"),),
)
INFOMIN = replace(
    INSDIS,
    name="infomin_resnet50",
    weights=Weights(
        "infomin_resnet50.safetensors",
        origin=replace(ORIGIN, urls=(BASE + "AAAzMTynP3Qc8mIE4XWkgILUa/InfoMin_800.pth?dl=1",), file="InfoMin_800.pth"),
    ),
    pretraining="ImageNet-1K, no labels, 800 epochs",
    citation="Tian et al., What makes for good views for contrastive learning?, NeurIPS 2020",
    families=("cog", "ssl-transfer"),
    accuracy=(Accuracy(73.0, "linear", "PyContrast"),),
)
