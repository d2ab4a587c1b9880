"""SwAV: from one crop of an image a network foretells the prototypes that another one is assigned to."""

from dataclasses import replace
from typing import Any

from suite.recipe import COMMON, OURS, SMALL, Expected, Recipe

LOOKS = {"interpolation": "bicubic", "jitter": (0.8, 0.8, 0.8, 0.2), "jitter_p": 0.8, "grey": 0.2, "blur": 0.5}
LARGE_CROP = {**LOOKS, "count": 2, "size": 224, "area": (0.14, 1.0)}
SMALL_CROP = {**LOOKS, "count": 6, "size": 96, "area": (0.05, 0.14)}
SETTINGS = {
    **COMMON,
    "views": (LARGE_CROP, SMALL_CROP),
    "projector": (2048, 128),
    "prototypes": 3000,
    "temperature": 0.1,
    "epsilon": 0.05,
    "iterations": 3,
    "queue": 3840,
    "queue_from": 15,
    "freeze": 1,
    "optimizer": "lars",
    "learning_rate": 0.6,
    "least_rate": 6e-4,
    "weight_decay": 1e-6,
}
SWAV = Recipe(
    name="swav",
    method="swav",
    architecture="resnet50",
    takes="cnn",
    settings=SETTINGS,
    expected=(
        Expected("resnet50", 200, 70.47, "MMSelfSup 0.x, batch 256 and 512"),
        Expected("resnet50", 200, 70.5, "MMSelfSup 1.x"),
    ),
    drift="Warm-up: none, as in MMSelfSup, whose number this is; OpenMixup has 10 epochs. Assignments are over the "
    "batch of all GPUs, as in the paper; in MMSelfSup and OpenMixup each GPU has its own. Crops are bicubic; those of "
    "MMSelfSup 1.x are bilinear.",
    source="Caron et al., NeurIPS 2020; the settings of MMSelfSup, batch 256, crops 2 x 224 and 6 x 96",
)
BATCH_512 = replace(SWAV, name="swav-512", settings={**SETTINGS, "batch": 512})
BATCH_4096 = replace(
    SWAV,
    name="swav-4096",
    settings={**SETTINGS, "batch": 4096},
    expected=(),
    source="Caron et al., NeurIPS 2020; the rate of OpenMixup for a batch of 4096, which needs no queue",
)
LIGHT = {"jitter": (0.4, 0.4, 0.4, 0.1), "blur": 0.0}
QUICK: dict[str, Any] = {
    "least_rate": 6e-5,
    "projector": (512, 128),
    "prototypes": 100,
    "queue": 256,
    "queue_from": 5,
    "views": (
        LARGE_CROP | LIGHT | {"size": 32, "area": (0.3, 1.0)},
        SMALL_CROP | LIGHT | {"count": 2, "size": 16, "area": (0.1, 0.3)},
    ),
}
SWAV_SHORT = replace(SWAV, name="swav-short", settings={**SETTINGS, **SMALL, **QUICK}, **OURS)
DIGITS = replace(SWAV_SHORT, name="swav@digits")
