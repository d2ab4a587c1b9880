"""MoCo v1 and v2: a view finds the other one of its image among a queue of earlier keys."""

from dataclasses import replace
from typing import Any

from suite.recipe import COMMON, OURS, SMALL, Expected, Recipe

FIRST_VIEW: dict[str, Any] = {
    "count": 2,
    "size": 224,
    "area": (0.2, 1.0),
    "jitter": (0.4, 0.4, 0.4, 0.4),
    "jitter_p": 1.0,
    "grey": 0.2,
}
VIEW: dict[str, Any] = FIRST_VIEW | {"jitter": (0.4, 0.4, 0.4, 0.1), "jitter_p": 0.8, "blur": 0.5}
FIRST_SETTINGS: dict[str, Any] = {
    **COMMON,
    "views": (FIRST_VIEW,),
    "projector": (128,),
    "temperature": 0.07,
    "queue": 65536,
    "ema": 0.999,
    "schedule": "step",
    "drops": (120, 160),
    "factor": 0.1,
    "synced": False,  # keys are shuffled over the ranks instead
}
SETTINGS: dict[str, Any] = {
    **FIRST_SETTINGS,
    "views": (VIEW,),
    "projector": (2048, 128),
    "temperature": 0.2,
    "schedule": "cosine",
}
MOCO_V1 = Recipe(
    name="moco-v1",
    method="moco",
    architecture="resnet50",
    settings=FIRST_SETTINGS,
    expected=(Expected("resnet50", 200, 61.02, "OpenMixup"),),
    drift="with greyscale, as published; OpenMixup's settings omit it",
    source="He et al., CVPR 2020; the settings of OpenSelfSup and MMSelfSup",
)
MOCO_V2 = Recipe(
    name="moco-v2",
    method="moco",
    architecture="resnet50",
    settings=SETTINGS,
    expected=(
        Expected("resnet50", 200, 67.69, "OpenMixup"),
        Expected("resnet50", 200, 67.58, "MMSelfSup 0.x"),
        Expected("resnet50", 200, 67.5, "MMSelfSup 1.x"),
    ),
    source="Chen, Fan, Girshick and He, 2020 (arXiv 2003.04297); the settings of MMSelfSup",
)
# A queue of an eighth of a thousand images: a longer one has an image's own earlier keys among its negatives.
QUICK: dict[str, Any] = {
    "schedule": "cosine",
    "queue": 128,
    "ema": 0.99,
    "temperature": 0.2,
    "views": (VIEW | {"size": 32, "blur": 0.0},),
}
MOCO_V1_SHORT = replace(MOCO_V1, name="moco-v1-short", settings={**FIRST_SETTINGS, **SMALL, **QUICK}, **OURS)
MOCO_V2_SHORT = replace(
    MOCO_V2, name="moco-v2-short", settings={**SETTINGS, **SMALL, **QUICK, "projector": (512, 128)}, **OURS
)
DIGITS_V1 = replace(MOCO_V1_SHORT, name="moco-v1@digits")
DIGITS_V2 = replace(MOCO_V2_SHORT, name="moco-v2@digits")
