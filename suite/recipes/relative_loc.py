"""Relative location: a network says at which of eight places around another a patch of an image lies."""

from dataclasses import replace
from typing import Any

from suite.recipe import COMMON, OURS, SMALL, Expected, Recipe

VIEW = {"patches": True, "size": 64, "grey": 0.66}
HEADS = {"weight_decay": 5e-4}
SETTINGS = {
    **COMMON,
    "views": (VIEW,),
    "hidden": 4096,
    "dropout": 0.5,
    "batch": 512,
    "published_batch": 512,
    "epochs": 70,
    "learning_rate": 0.2,
    "rules": (("neck.*", HEADS), ("head.*", HEADS)),
    "schedule": "step",
    "drops": (30, 50),
    "warmup": 5,
    "warmup_from": 0.1,
    "synced": False,
}
RELATIVE_LOCATION = Recipe(
    name="relative-loc",
    method="relative_loc",
    architecture="resnet50",
    takes="cnn",
    settings=SETTINGS,
    expected=(
        Expected("resnet50", 70, 38.83, "OpenSelfSup"),
        Expected("resnet50", 70, 39.65, "MMSelfSup 0.x"),
        Expected("resnet50", 70, 40.4, "MMSelfSup 1.x"),
    ),
    source="Doersch et al., ICCV 2015; the settings of OpenSelfSup and MMSelfSup, 512 images (4096 pairs) a step",
)
QUICK: dict[str, Any] = {"learning_rate": 0.05, "drops": (15, 25), "hidden": 256, "views": (VIEW | {"size": 16},)}
RELATIVE_LOCATION_SHORT = replace(
    RELATIVE_LOCATION, name="relative-loc-short", settings={**SETTINGS, **SMALL, **QUICK}, **OURS
)
DIGITS = replace(RELATIVE_LOCATION_SHORT, name="relative-loc@digits")
