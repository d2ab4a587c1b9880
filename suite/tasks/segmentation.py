"""Semantic segmentation: a decoder on the backbone, mean intersection over union on the test images.

Learning rate and length stand as published for `published_batch` images a step; with another `batch` they follow by the
linear rule, and the result has both. Images are resized with PIL's antialiased filters.
"""

from dataclasses import replace
from typing import Any

from suite.task import Resources, Task

# Batch norms are trained, over the batches of all GPUs.
COMMON: dict[str, Any] = {
    "output_stride": 0,  # the networks are dilated to it, where they can be; 0: as they are
    "dropout": 0.1,
    "auxiliary_weight": 0.4,  # of the loss of a second head, on the last map but one
    "auxiliary_channels": 256,
    "align_corners": False,
    "norm": "batch",
    "precise_bn": 0,
    "momentum": 0.9,
    "clip": 0.0,  # gradients to this norm; 0: not at all
    "precision": "float32",  # or bfloat16, in the forward pass
    "power": 0.9,  # of the learning rate's fall
    "warmup": 0,
    "flip": True,
    "longest_side": 2048,
    "multiple": 1,  # to which sides are padded
    "label_stride": 1,  # the loss is over every pixel, or every so many
    "test_longest_side": 2048,
    "test_flip": False,
    "test_window": 0,  # pixels of a sliding window; 0: the image as a whole
    "test_stride": 0,
}
FCN: dict[str, Any] = {
    **COMMON,
    "decoder": "fcn",
    "output_stride": 8,
    "channels": 512,
    "convolutions": 2,
    "batch": 16,
    "published_batch": 16,
    "learning_rate": 0.01,
    "least_rate": 1e-4,
    "iterations": 20_000,
    "weight_decay": 5e-4,
    "undecayed": (),
    "short_sides": (512,),
    "ratios": (0.5, 2.0),
    "crop": 512,
    "most_of_one": 0.75,  # part of a crop that one class may have
    "distorted": True,
    "test_short_sides": (512,),
}
UPERNET: dict[str, Any] = {**FCN, "decoder": "upernet", "output_stride": 0, "iterations": 160_000}
# The published network has a stem of three convolutions, which the checkpoints do not fit: here it is their own.
TRANSFER: dict[str, Any] = {
    **COMMON,
    "decoder": "upernet",
    "stem": "fixed",  # "paper" is not to be had
    "channels": 512,
    "batch": 4,
    "published_batch": 4,
    "learning_rate": 0.02,
    "least_rate": 0.0,
    "iterations": 30 * 5_000,
    "weight_decay": 1e-4,
    "undecayed": ("norms", "biases"),
    "short_sides": (300, 375, 450, 525, 600),
    "longest_side": 1000,
    "ratios": (1.0, 1.0),
    "crop": 0,
    "most_of_one": 1.0,
    "distorted": False,
    "multiple": 32,
    "label_stride": 4,
    "test_short_sides": (300, 375, 450, 525, 600),
    "test_longest_side": 1000,
}
# Small images and narrow heads, so that two cores learn something in half a minute.
SHORT: dict[str, Any] = {
    "channels": 64,
    "auxiliary_channels": 32,
    "dropout": 0.0,
    "batch": 4,
    "published_batch": 4,
    "learning_rate": 0.1,
    "iterations": 100,
    "warmup": 20,
    "clip": 2.0,
    "precise_bn": 5,
    "short_sides": (128,),
    "longest_side": 320,
    "most_enlarged": 1.0,  # small images stay small
    "ratios": (1.0, 1.0),
    "crop": 0,
    "distorted": False,
    "flip": False,
    "test_short_sides": (128,),
    "test_longest_side": 320,
}

SEGMENTATION = Task(
    name="segmentation",
    version=1,
    program="segmentation",
    kinds=("segmentation",),
    maps="any",
    needs=("mmseg",),
    image="segmentation",
    settings=FCN,
    resources=Resources(gpus=1, cpus=8, memory_gb=64, minutes=600),
    datasets=("voc2012aug",),
    checkpoint_seconds=300.0,
    source="Long et al., FCN, CVPR 2015, dilated to stride 8; schedule of MMSelfSup's VOC12aug benchmark: 512^2, 20k",
)
CITYSCAPES = replace(
    SEGMENTATION,
    name="segmentation-cityscapes",
    settings={**FCN, "batch": 8, "published_batch": 8, "iterations": 40_000, "align_corners": True}
    | {"short_sides": (1024,), "crop": 769, "test_short_sides": (1024,), "test_window": 769, "test_stride": 513},
    datasets=("cityscapes",),
    source="Long et al., FCN, CVPR 2015, dilated to stride 8; schedule of MMSelfSup's Cityscapes benchmark: 769^2, 40k",
)
ADE = replace(
    SEGMENTATION,
    name="segmentation-upernet",
    maps="pyramid",
    settings=UPERNET,
    resources=replace(SEGMENTATION.resources, minutes=2_400),
    datasets=("ade20k",),
    source="Xiao et al., Unified perceptual parsing, ECCV 2018: UPerNet; 512^2, 160k iterations of 16 images",
)
EPOCHS = replace(
    ADE,
    name="segmentation-upernet-epochs",
    settings=TRANSFER,
    source="Ericsson et al., CVPR 2021, section 4.4: UPerNet, 30 epochs, five sizes in training and test",
)
QUICK = Resources(gpus=1, cpus=8, memory_gb=16, minutes=5)
SHORT_FCN = replace(
    SEGMENTATION, name="segmentation-short", settings={**FCN, **SHORT}, resources=QUICK,
    datasets=("digit-scenes-masks",), checkpoint_seconds=5.0,
)  # fmt: skip
SHORT_UPERNET = replace(
    ADE, name="segmentation-upernet-short", settings={**UPERNET, **SHORT}, resources=QUICK,
    datasets=("digit-scenes-masks",), checkpoint_seconds=5.0,
)  # fmt: skip
LINEAR = Task(
    name="segmentation-linear",
    version=1,
    program="segmentation_linear",
    kinds=("segmentation",),
    maps="any",
    settings={
        "output_stride": 16,  # as that of the usual vision transformers
        "pixels_an_image": 500,
        "pixels": 500_000,  # of all images, at most
        "c_values": 13,
        "c_max": 1.0,
        "c_min": 1e-6,
        "holdout": 0.2,  # of the training images, where the dataset has no official validation split
        "align_corners": False,
        "multiple": 16,
        "most_enlarged": 2.0,  # small images stay small
        "test_short_sides": (512,),
        "test_longest_side": 2048,
        "test_flip": False,
        "test_window": 0,
        "test_stride": 0,
    },
    resources=Resources(gpus=1, cpus=8, memory_gb=32, minutes=20),
    datasets=("voc2012aug", "ade20k", "cityscapes", "camvid", "pets-trimaps"),
    source="a linear layer on the last map, as Oquab et al., DINOv2, TMLR 2024, section 7.4; fitted as in `linear`",
)
