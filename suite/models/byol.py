"""BYOL: a network predicts what a slow copy of it makes of another view."""

from dataclasses import replace

from suite.model import Accuracy, Model, Origin, Weights

RESNET50 = Model(
    "byol_resnet50",
    "resnet50_same",
    2048,
    weights=Weights(
        "byol_resnet50.safetensors",
        origin=Origin(
            ("https://storage.googleapis.com/deepmind-byol/checkpoints/pretrain_res50x1.pkl",),
            reader="haiku",
            prefix="experiment_state.",
            names="haiku_resnet",
            leftover=(
                "experiment_state.target_*",
                "experiment_state.opt_state.*",
                "experiment_state.online_*.projector/*",
                "experiment_state.online_*.predictor/*",
                "experiment_state.online_state.*.hidden",
                "experiment_state.online_state.*.counter",
                "rng",
                "step",
            ),
        ),
    ),
    pretraining="ImageNet-1K, no labels",
    licence="Apache-2.0",
    citation="Grill et al., Bootstrap your own latent: A new approach to self-supervised learning, NeurIPS 2020",
    families=("cog", "ssl-transfer"),
    classes=1000,
    accuracy=(Accuracy(74.4, "linear", "BYOL's authors"), Accuracy(74.6, "classifier", "byol-convert")),
)
PAPER = replace(
    RESNET50,
    name="byol-paper_resnet50",
    architecture="resnet50",
    pretraining=f"{RESNET50.pretraining}; padded as in ssl-transfer, by torchvision's ResNet",
    families=(),
    accuracy=(),
)
