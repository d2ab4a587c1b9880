"""Supervised on ImageNet-1K against adversaries."""

from suite.model import Accuracy, Model, Origin, Weights

RESNET50 = Model(
    "advrobust_resnet50",
    "resnet50",
    2048,
    weights=Weights(
        "advrobust_resnet50.safetensors",
        origin=Origin(
            ("https://huggingface.co/madrylab/robust-imagenet-models/resolve/main/resnet50_l2_eps0.1.ckpt",),
            page="https://github.com/microsoft/robust-models-transfer",
            opaque=("dill.*", "cox.*", "robustness.*"),
            prefix="model.module.model.",
            leftover=(
                "model.module.normalizer.*",  # the same mean and std as here
                "model.module.attacker.*",  # which holds the same network once more
                "optimizer.*",
                "schedule.*",
                "amp.*",
            ),
        ),
    ),
    pretraining="ImageNet-1K, labels, adversaries within 0.1 of the Euclidean norm",
    licence="MIT",
    citation="Salman et al., Do adversarially robust ImageNet models transfer better?, NeurIPS 2020",
    families=("cog",),
    classes=1000,
    accuracy=(Accuracy(74.78, "classifier", "its authors"),),
)
