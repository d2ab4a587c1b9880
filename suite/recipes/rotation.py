"""Rotation: a network says which of four turns by a right angle an image has undergone."""

from dataclasses import replace
from typing import Any

from suite.recipe import COMMON, OURS, SMALL, Expected, Recipe

VIEW = {"count": 1, "size": 224, "area": (0.08, 1.0)}
SETTINGS = {
    **COMMON,
    "views": (VIEW,),
    "batch": 128,
    "published_batch": 128,
    "epochs": 70,
    "learning_rate": 0.2,
    "schedule": "step",
    "drops": (30, 50),
    "warmup": 5,
    "warmup_from": 0.1,
}
ROTATION = Recipe(
    name="rotation",
    method="rotation",
    architecture="resnet50",
    settings=SETTINGS,
    expected=(
        Expected("resnet50", 70, 47.01, "OpenSelfSup"),
        Expected("resnet50", 70, 48.12, "MMSelfSup 0.x"),
        Expected("resnet50", 70, 47.0, "MMSelfSup 1.x"),
    ),
    source="Gidaris et al., ICLR 2018; the settings of OpenSelfSup and MMSelfSup, 128 images (512 turned ones) a step",
)
QUICK: dict[str, Any] = {
    "learning_rate": 0.05,
    "drops": (15, 25),
    "views": (VIEW | {"size": 32, "area": (0.5, 1.0), "flip": 0.0},),
}
ROTATION_SHORT = replace(ROTATION, name="rotation-short", settings={**SETTINGS, **SMALL, **QUICK}, **OURS)
DIGITS = replace(
    ROTATION_SHORT,
    name="rotation@digits",
    settings={**ROTATION_SHORT.settings, "epochs": 12, "drops": (6, 10), "batch": 64, "published_batch": 64},
)
