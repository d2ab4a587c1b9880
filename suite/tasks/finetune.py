"""Fine-tuning of the whole backbone with a fresh linear head.

Protocol: Ericsson et al., CVPR 2021, section 4.1: 5,000 SGD steps of 64 images, Nesterov momentum 0.9, cosine to 0,
random resized crop and flip; 4 learning rates x 5 weight decays (divided by the learning rate, as published) chosen on
validation data, retrained on train + validation, test touched once. Where there is no official validation split, a
fifth of train is held out by class, drawn by the seed (published: numpy's shuffle, whatever the classes).
"""

from dataclasses import replace

from suite.task import Resources, Task
from suite.tasks.linear import LINEAR

FINETUNE = Task(
    name="finetune",
    version=1,
    program="finetune",
    kinds=("classification", "multilabel"),
    settings={
        "steps": 5000,
        "batch": 64,
        "momentum": 0.9,
        "learning_rates": (1e-1, 1e-2, 1e-3, 1e-4),
        "weight_decays": (0.0, 1e-6, 1e-5, 1e-4, 1e-3),
        "crop_scale": (0.08, 1.0),
        "flip": True,
        "holdout": LINEAR.settings["holdout"],
    },
    resources=Resources(gpus=1, cpus=8, memory_gb=32, minutes=480),
    datasets=LINEAR.datasets,
    source="Ericsson et al., CVPR 2021, section 4.1",
)
SHORT = replace(
    FINETUNE,
    name="finetune-short",
    settings={
        **FINETUNE.settings,
        "steps": 50,
        "batch": 32,
        "learning_rates": (1e-1, 1e-2),
        "weight_decays": (1e-4,),
        "crop_scale": (0.5, 1.0),
        "flip": False,
    },
    resources=replace(FINETUNE.resources, minutes=5),
    datasets=("digits",),
    checkpoint_seconds=5.0,
)
# The same batch, split over a rank a GPU: the same protocol, sooner.
TWO_NODES = replace(FINETUNE, name="finetune-2n", resources=replace(FINETUNE.resources, nodes=2, minutes=240))
SHORT_TWO_NODES = replace(SHORT, name="finetune-short-2n", resources=replace(SHORT.resources, nodes=2))
