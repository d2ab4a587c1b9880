"""SimSiam: each view predicts the other's projection; neither negatives nor a slow copy, but a stop of the gradient."""

from dataclasses import replace
from typing import Any

from suite.recipe import COMMON, OURS, SMALL, Expected, Recipe
from suite.recipes.moco import VIEW

SETTINGS: dict[str, Any] = {
    **COMMON,
    "views": (VIEW,),
    "epochs": 100,
    "projector": (2048, 2048, 2048),
    "predictor": (512, 2048),
    "learning_rate": 0.05,
    "rules": (("predictor*", {"fixed": True}),),
}
SIMSIAM = Recipe(
    name="simsiam",
    method="simsiam",
    architecture="resnet50",
    settings=SETTINGS,
    expected=(Expected("resnet50", 100, 68.28, "OpenMixup"), Expected("resnet50", 100, 68.3, "MMSelfSup 1.x")),
    drift="the projector ends with batch norm without affine, as published; OpenMixup's settings have none, and its "
    "code lets the gradient through",
    source="Chen and He, CVPR 2021; the settings of MMSelfSup",
)
LONG = replace(
    SIMSIAM,
    name="simsiam-200",
    settings={**SETTINGS, "epochs": 200},
    expected=(Expected("resnet50", 200, 69.84, "OpenMixup"), Expected("resnet50", 200, 69.8, "MMSelfSup 1.x")),
)
QUICK: dict[str, Any] = {
    "projector": (512, 512, 512),
    "predictor": (128, 512),
    "warmup": 0,
    "views": (VIEW | {"size": 32, "blur": 0.0},),
}
SIMSIAM_SHORT = replace(SIMSIAM, name="simsiam-short", settings={**SETTINGS, **SMALL, **QUICK}, **OURS)
DIGITS = replace(SIMSIAM_SHORT, name="simsiam@digits")
