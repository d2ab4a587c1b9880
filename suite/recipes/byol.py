"""BYOL: a network predicts what a slow copy of it makes of another view, without negatives."""

from dataclasses import replace
from typing import Any

from suite.recipe import COMMON, OURS, SMALL, Expected, Recipe
from suite.recipes.moco_v3 import VIEWS as MOCO_V3_VIEWS

VIEWS = tuple(view | {"interpolation": "bicubic"} for view in MOCO_V3_VIEWS)
SETTINGS: dict[str, Any] = {
    **COMMON,
    "views": VIEWS,
    "batch": 4096,
    "published_batch": 4096,
    "accumulate": 8,  # 64 images a turn of each of 8 GPUs, over which batch norm is taken, as was published
    "projector": (4096, 256),
    "predictor": (4096, 256),
    "ema": 0.99,
    "optimizer": "lars",
    "learning_rate": 4.8,
    "weight_decay": 1e-6,
    "undecayed": ("norms", "biases"),
    "warmup": 10,
}
BYOL = Recipe(
    name="byol",
    method="byol",
    architecture="resnet50",
    settings=SETTINGS,
    expected=(
        Expected("resnet50", 200, 71.88, "OpenMixup; MMSelfSup 0.x"),
        Expected("resnet50", 200, 71.8, "MMSelfSup 1.x"),
        Expected("resnet50", 200, 71.72, "MMSelfSup 0.x, batch accumulated"),
        Expected("resnet50", 200, 71.61, "OpenSelfSup"),
    ),
    drift="the paper's loss, the sum over both directions of 2 - 2 cos; OpenSelfSup and its heirs drop the constants. "
    "The target's momentum begins at 0.99, as for 200 and 300 epochs everywhere; the paper's 1000 epochs have 0.996",
    source="Grill et al., NeurIPS 2020; the settings of OpenSelfSup and MMSelfSup, batch 4096 in 8 turns",
)
LONG = replace(
    BYOL,
    name="byol-300",
    settings={**SETTINGS, "epochs": 300},
    expected=(Expected("resnet50", 300, 72.93, "OpenMixup"), Expected("resnet50", 300, 72.35, "OpenSelfSup")),
)
QUICK: dict[str, Any] = {
    "accumulate": 1,
    "projector": (512, 128),
    "predictor": (512, 128),
    "ema": 0.97,
    "views": tuple(view | {"size": 32, "area": (0.2, 1.0), "blur": 0.0} for view in VIEWS),
}
BYOL_SHORT = replace(BYOL, name="byol-short", settings={**SETTINGS, **SMALL, **QUICK}, **OURS)
DIGITS = replace(BYOL_SHORT, name="byol@digits")
