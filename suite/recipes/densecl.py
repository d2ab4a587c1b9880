"""DenseCL: MoCo v2, and the same once more for each cell of the last map."""

from dataclasses import replace
from typing import Any

from suite.recipe import COMMON, OURS, SMALL, Expected, Recipe
from suite.recipes.moco import VIEW

SETTINGS: dict[str, Any] = {
    **COMMON,
    "views": (VIEW,),
    "projector": (2048, 128),
    "temperature": 0.2,
    "queue": 65536,
    "ema": 0.999,
    "dense_weight": 0.5,
    "dense_from": 1000,  # steps
    "synced": False,  # keys are shuffled over the ranks instead
}
DENSECL = Recipe(
    name="densecl",
    method="densecl",
    architecture="resnet50",
    takes="resnet",
    settings=SETTINGS,
    expected=(
        Expected("resnet50", 200, 63.62, "OpenMixup"),
        Expected("resnet50", 200, 63.5, "MMSelfSup 1.x"),
        Expected("resnet50", 200, 63.34, "MMSelfSup 0.x"),
    ),
    drift="heads of query and key begin alike; in OpenMixup the key's alone is initialised anew",
    source="Wang et al., CVPR 2021; the settings of MMSelfSup",
)
# Of 64 pixels a ResNet's last map has 2 x 2 cells; of 32 it would have one, and nothing to match.
QUICK: dict[str, Any] = {
    "size": 64,  # of smaller images the last map of a ResNet has one cell, and nothing to match
    "epochs": 12,
    "projector": (512, 128),
    "temperature": 0.1,
    "queue": 512,
    "ema": 0.99,
    "dense_from": 0,
    "views": (VIEW | {"size": 64, "blur": 0.0},),
}
DENSECL_SHORT = replace(DENSECL, name="densecl-short", settings={**SETTINGS, **SMALL, **QUICK}, **OURS)
DIGITS = replace(DENSECL_SHORT, name="densecl@digits")
