"""ODC: clusters of a bank of features are classes to learn, and move with every step."""

from dataclasses import replace
from typing import Any

from suite.recipe import COMMON, OURS, SMALL, Expected, Recipe

VIEW = {"count": 1, "size": 224, "area": (0.08, 1.0), "jitter": (0.4, 0.4, 1.0, 0.5), "jitter_p": 1.0, "grey": 0.2}
VIEW |= {"rotate": 2}
SETTINGS = {
    **COMMON,
    "views": (VIEW,),
    "clusters": 10_000,
    "hidden": 512,
    "width": 256,
    "keep": 0.5,
    "least": 20,
    "every": 10,
    "iterations": 20,
    "batch": 512,
    "published_batch": 512,
    "epochs": 440,
    "learning_rate": 0.06,
    "weight_decay": 1e-5,
    "schedule": "step",
    "drops": (400,),
    "factor": 0.4,
    "rules": (("classifier.*", {"momentum": 0.0}),),
}
ODC = Recipe(
    name="odc",
    method="odc",
    architecture="resnet50",
    settings=SETTINGS,
    expected=(Expected("resnet50", 440, 53.42, "OpenMixup"),),
    drift="clusters that are empty at the start are refilled, where the published code gives up",
    source="Zhan et al., CVPR 2020; the settings of OpenSelfSup and OpenMixup",
)
QUICK: dict[str, Any] = {
    "learning_rate": 0.05,
    "warmup": 0,
    "drops": (26,),
    "clusters": 40,
    "hidden": 128,
    "width": 64,
    "least": 5,
    "views": (VIEW | {"size": 32, "area": (0.2, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1), "jitter_p": 0.8},),
}
ODC_SHORT = replace(ODC, name="odc-short", settings={**SETTINGS, **SMALL, **QUICK}, **OURS)
DIGITS = replace(ODC_SHORT, name="odc@digits")
