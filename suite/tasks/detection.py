"""Object detection: a Faster or Mask R-CNN on the backbone, average precision on the test images.

Learning rate, length and steps stand as published for `published_batch` images a step; with another `batch` they follow
by the linear rule, and the result has both. Training takes difficult things too, and no crowds; boxes and scores of VOC
sets are rounded as the published tools do.
"""

from dataclasses import replace
from typing import Any

from suite.task import Resources, Task

COMMON: dict[str, Any] = {
    "engine": "detectron2",
    "masks": False,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "undecayed": ("norms",),
    "clip": 0.0,  # gradients to this norm; 0: not at all
    "short_sides": tuple(range(480, 801, 32)),
    "test_short_side": 800,
    "longest_side": 1333,
    "flip": True,
    "anchors": (32, 64, 128, 256, 512),
    "width": 256,  # of a pyramid's levels
    "neck_norm": "",  # of a pyramid's convolutions; or "batch"
    "head": 1024,  # of the two layers of a pyramid's box head
    "rois": 512,
    "score_threshold": 0.05,
    "nms": 0.5,
    "detections": 100,
    "precision": "float32",  # or bfloat16, in the forward pass
}
# Batch norms are trained, over the batches of all GPUs, and measured anew before the test.
C4: dict[str, Any] = {
    **COMMON,
    "detector": "c4",
    "norm": "batch",
    "frozen_stages": 0,
    "precise_bn": 200,
    "batch": 16,
    "published_batch": 16,
    "learning_rate": 0.02,
    "iterations": 24_000,
    "drops": (18_000, 22_000),
    "warmup": 100,
    "rpn_before": (12_000, 6_000),
    "rpn_after": (2_000, 1_000),
}
FPN: dict[str, Any] = {
    **COMMON,
    "detector": "fpn",
    "norm": "frozen",
    "frozen_stages": 0,
    "precise_bn": 0,
    "batch": 2,
    "published_batch": 2,
    "learning_rate": 0.0025,
    "iterations": 144_000,
    "drops": (96_000, 128_000),
    "warmup": 100,
    "rpn_before": (2_000, 1_000),
    "rpn_after": (1_000, 1_000),
}
# Small images and narrow heads, so that two cores learn something in half a minute, from nothing.
SHORT: dict[str, Any] = {
    "norm": "batch",
    "batch": 4,
    "published_batch": 4,
    "learning_rate": 0.02,
    "clip": 2.0,
    "iterations": 180,
    "drops": (155,),
    "warmup": 20,
    "short_sides": (64,),
    "test_short_side": 64,
    "longest_side": 128,
    "flip": False,
    "anchors": (6, 12, 24, 48, 96),
    "width": 64,
    "head": 256,
    "rpn_before": (500, 500),
    "rpn_after": (200, 200),
    "rois": 64,
}

DETECTION = Task(
    name="detection",
    version=1,
    program="detection",
    kinds=("detection",),
    maps="pyramid",
    needs=("detectron2",),
    image="detection",
    settings=C4,
    resources=Resources(gpus=1, cpus=8, memory_gb=64, minutes=600),
    datasets=("voc0712",),
    checkpoint_seconds=300.0,
    source="He et al., Momentum contrast, CVPR 2020, section 4.2.1: VOC07+12, R50-C4, 24k iterations",
)
FINETUNE = replace(
    DETECTION,
    name="detection-finetune",
    settings=FPN,
    source="Ericsson et al., CVPR 2021, section 4.3: VOC07+12, R50-FPN, 144k iterations of 2 images",
)
FROZEN = replace(FINETUNE, name="detection-frozen", settings={**FPN, "frozen_stages": 4})
COCO = replace(
    DETECTION,
    name="detection-coco",
    settings={**C4, "masks": True, "iterations": 180_000, "drops": (120_000, 160_000), "warmup": 1_000}
    | {"short_sides": tuple(range(640, 801, 32))},
    resources=replace(DETECTION.resources, minutes=3_000),
    datasets=("coco2017",),
    source="He et al., Momentum contrast, CVPR 2020, section 4.2.2: COCO, Mask R-CNN, R50-C4, 2x schedule",
)
COCO_FPN = replace(
    COCO,
    name="detection-coco-fpn",
    settings={
        **FPN,
        "masks": True,
        "norm": "batch",
        "neck_norm": "batch",
        "precise_bn": 200,
        "batch": 16,
        "published_batch": 16,
    }
    | {"learning_rate": 0.02, "iterations": 90_000, "drops": (60_000, 80_000), "warmup": 1_000}
    | {"short_sides": tuple(range(640, 801, 32))},
    source="He et al., Momentum contrast, CVPR 2020, appendix: COCO, Mask R-CNN, R50-FPN, 1x schedule",
)
# Of torchvision, which core has: its numbers are its own, and are never put beside detectron2's.
LITE = replace(
    FINETUNE,
    name="detection-lite",
    settings={**FPN, "engine": "torchvision"},
    needs=(),
    image="core",
    source="Ren et al., Faster R-CNN, 2015, and Lin et al., FPN, 2017, on the schedule of detection-finetune",
)
QUICK = Resources(gpus=1, cpus=8, memory_gb=16, minutes=5)
SHORT_LITE = replace(
    LITE, name="detection-lite-short", settings={**LITE.settings, **SHORT}, resources=QUICK,
    datasets=("digit-scenes",), checkpoint_seconds=5.0,
)  # fmt: skip
SHORT_FPN = replace(
    FINETUNE, name="detection-short", settings={**FPN, **SHORT}, resources=QUICK,
    datasets=("digit-scenes",), checkpoint_seconds=5.0,
)  # fmt: skip
# To see the other detectors work; a C4's head, the last stage of the network, is dear without a GPU.
SHORT_C4 = replace(
    SHORT_FPN,
    name="detection-short-c4",
    settings={**C4, **SHORT, "batch": 2, "published_batch": 2, "iterations": 60, "drops": (50,), "rois": 8}
    | {"precise_bn": 5},
)
SHORT_MASKS = replace(
    SHORT_FPN,
    name="detection-short-masks",
    settings={**SHORT_FPN.settings, "masks": True, "iterations": 100, "drops": (85,)},
    datasets=("coco2017",),
)
