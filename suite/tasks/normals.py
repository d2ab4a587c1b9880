"""Surface normals: a decoder on the frozen backbone sorts each pixel among 40 normals."""

from dataclasses import replace
from typing import Any

from suite.task import Resources, Task

PSP: dict[str, Any] = {
    "words": 40,
    "output_stride": 8,  # the networks are dilated to it, where they can be
    "channels": 512,
    "dropout": 0.1,
    "norm": "batch",  # of the decoder
    "precise_bn": 0,
    "batch": 2,
    "published_batch": 2,
    "learning_rate": 0.02,
    "least_rate": 0.0,
    "iterations": 150 * 90,
    "power": 0.9,  # of the learning rate's fall
    "warmup": 0,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "undecayed": ("norms", "biases"),
    "clip": 0.0,
    "precision": "float32",  # or bfloat16, in the forward pass
    "short_sides": (300, 375, 450, 525, 600),
    "longest_side": 1000,
    "ratios": (1.0, 1.0),
    "crop": 0,
    "most_of_one": 1.0,
    "flip": False,
    "distorted": False,
    "multiple": 8,  # to which sides are padded
    "label_stride": 8,  # the loss is over every so many pixels
    "align_corners": False,
    "test_short_sides": (450,),
    "test_longest_side": 1000,
    "test_flip": False,
    "test_window": 0,
    "test_stride": 0,
}
NORMALS = Task(
    name="normals",
    version=1,
    program="normals",
    kinds=("normals",),
    maps="any",
    settings=PSP,
    resources=Resources(gpus=1, cpus=8, memory_gb=32, minutes=120),
    datasets=("nyuv2",),
    checkpoint_seconds=120.0,
    source="Ericsson et al., CVPR 2021, section 4.4: NYUv2, pyramid pooling on a frozen network of stride 8",
)
SHORT = replace(
    NORMALS,
    name="normals-short",
    settings={**PSP, "channels": 64, "batch": 4, "published_batch": 4, "iterations": 200, "clip": 2.0}
    | {"short_sides": (112, 128), "test_short_sides": (120,)},
    resources=Resources(gpus=1, cpus=8, memory_gb=16, minutes=10),
    checkpoint_seconds=5.0,
)
