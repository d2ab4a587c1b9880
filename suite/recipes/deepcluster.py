"""DeepCluster: clusters of the features are classes to learn, and are found anew before every epoch."""

from dataclasses import replace
from typing import Any

from suite.recipe import COMMON, OURS, SMALL, Expected, Recipe

VIEW = {"count": 1, "size": 224, "area": (0.08, 1.0), "jitter": (0.4, 0.4, 1.0, 0.5), "jitter_p": 1.0, "grey": 0.2}
VIEW |= {"rotate": 2}
SETTINGS = {
    **COMMON,
    "channels": "sobel",
    "views": (VIEW,),
    "clusters": 10_000,
    "components": 256,
    "iterations": 20,
    "reweight": False,
    "batch": 512,
    "published_batch": 512,
    "learning_rate": 0.1,
    "weight_decay": 1e-5,
    "schedule": "constant",
    "rules": (("classifier.*", {"momentum": 0.0}),),  # it starts anew in every epoch
    "synced": False,
}
DEEPCLUSTER = Recipe(
    name="deepcluster",
    method="deepcluster",
    architecture="resnet50",
    takes="resnet",
    settings=SETTINGS,
    expected=(Expected("resnet50", 200, 46.92, "OpenSelfSup and MMSelfSup 0.x, on Sobel edges"),),
    drift="input of Sobel edges, as the published number had; OpenMixup's settings have colours: deepcluster-rgb",
    source="Caron et al., ECCV 2018; the settings of OpenSelfSup and MMSelfSup 0.x",
)
COLOURS = {"channels": "RGB", "learning_rate": 0.03, "weight_decay": 1e-4, "rules": ()}
COLOURS |= {"schedule": "step", "drops": (120, 160), "factor": 0.1}
RGB = replace(
    DEEPCLUSTER,
    name="deepcluster-rgb",
    takes="any",
    settings={**SETTINGS, **COLOURS},
    expected=(),
    drift="input in colour, as in OpenMixup's settings; the published number is of Sobel edges: deepcluster",
    source="Caron et al., ECCV 2018; the settings of OpenMixup",
)
QUICK: dict[str, Any] = {
    "channels": "RGB",
    "learning_rate": 0.05,
    "warmup": 0,
    "clusters": 50,
    "components": 32,
    "views": (VIEW | {"size": 32, "area": (0.2, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1), "jitter_p": 0.8},),
}
DEEPCLUSTER_SHORT = replace(
    DEEPCLUSTER, name="deepcluster-short", takes="any", settings={**SETTINGS, **SMALL, **QUICK}, **OURS
)
DIGITS = replace(DEEPCLUSTER_SHORT, name="deepcluster@digits")
