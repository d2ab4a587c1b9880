"""Semi-supervised fine-tuning: the whole backbone and a fresh linear head, on 1 % or 10 % of ImageNet's labels.

Protocol: OpenSelfSup's (Zhan et al., 2020) and mmselfsup's: 20 epochs of random resized crops and flips, SGD without
Nesterov's momentum, a fifth of the learning rate from epochs 12 and 16 on, batch norms over all GPUs; 3 learning rates
x 3 multiples of it for the head. Published is the best of the nine on the test images. Here they are chosen from on a
fifth of the labelled images, held out by class (a class of one image stays in training); the best one is trained again
on all of them, and the test images are looked at once.
"""

from dataclasses import replace

from suite.task import Resources, Task

SEMI_10 = Task(
    name="semi-10percent",
    version=1,
    program="finetune",
    settings={
        "epochs": 20,
        "drops": (12, 16),
        "factor": 0.2,
        "batch": 256,
        "published_batch": 256,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 1e-4,
        "learning_rates": (1e-3, 1e-2, 1e-1),
        "head_rates": (1.0, 10.0, 100.0),  # times the backbone's
        "init_std": 0.01,  # of the head's weights
        "view": {"ratio": 256 / 224, "interpolation": "bilinear"},
        "crop_scale": (0.08, 1.0),
        "flip": True,
        "holdout": 0.2,
        "top5": True,
    },
    resources=Resources(gpus=1, cpus=16, memory_gb=64, minutes=900),
    datasets=("imagenet1k-10percent",),
    source="Zhan et al., OpenSelfSup, 2020, semi-supervised classification",
)
SEMI_1 = replace(
    SEMI_10,
    name="semi-1percent",
    settings={**SEMI_10.settings, "weight_decay": 5e-4},
    resources=replace(SEMI_10.resources, minutes=120),
    datasets=("imagenet1k-1percent",),
)
SHORT = replace(
    SEMI_1,
    name="semi-short",
    settings={**SEMI_1.settings, "epochs": 1, "drops": (1,), "batch": 64, "published_batch": 64}
    | {"learning_rates": (1e-2, 1e-1), "head_rates": (1.0, 10.0), "crop_scale": (0.5, 1.0), "flip": False},
    resources=Resources(gpus=1, cpus=8, memory_gb=8, minutes=5),
    datasets=("digits",),
    checkpoint_seconds=5.0,
)
