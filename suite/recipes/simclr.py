"""SimCLR: two views of an image attract each other and repel all others of the batch (NT-Xent)."""

from dataclasses import replace
from typing import Any

from suite.recipe import COMMON, OURS, SMALL, Expected, Recipe

VIEW = {"count": 2, "size": 224, "area": (0.08, 1.0), "jitter": (0.8, 0.8, 0.8, 0.2), "jitter_p": 0.8, "grey": 0.2}
VIEW |= {"blur": 0.5}
SETTINGS = {
    **COMMON,
    "views": (VIEW,),
    "temperature": 0.1,
    "projector": (2048, 128),
    "optimizer": "lars",
    "learning_rate": 0.3,
    "weight_decay": 1e-6,
    "undecayed": ("norms", "biases"),
    "warmup": 10,
}
SIMCLR = Recipe(
    name="simclr",
    method="simclr",
    architecture="resnet50",
    settings=SETTINGS,
    expected=(Expected("resnet50", 200, 62.56, "MMSelfSup 0.x"), Expected("resnet50", 200, 60.06, "OpenSelfSup")),
    source="Chen et al., ICML 2020; the settings of MMSelfSup, batch 256",
)
LARGE = replace(
    SIMCLR,
    name="simclr-4096",
    settings={**SETTINGS, "batch": 4096},
    expected=(Expected("resnet50", 200, 66.66, "OpenMixup"), Expected("resnet50", 800, 69.2, "MMSelfSup 1.x")),
    source="Chen et al., ICML 2020; the settings of MMSelfSup, batch 4096",
)
QUICK: dict[str, Any] = {
    "projector": (512, 128),
    "temperature": 0.2,
    "views": (VIEW | {"size": 32, "area": (0.2, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1), "blur": 0.0},),
}
SIMCLR_SHORT = replace(SIMCLR, name="simclr-short", settings={**SETTINGS, **SMALL, **QUICK}, **OURS)
# Handwriting is not mirrored, and has no colours.
QUICKER = {"batch": 64, "published_batch": 64, "epochs": 15}
STROKES = {"count": 2, "size": 32, "area": (0.5, 1.0), "flip": 0.0, "rotate": 15.0, "jitter": (0.4, 0.4, 0.0, 0.0)}
DIGITS = replace(SIMCLR_SHORT, name="simclr@digits", settings={**SIMCLR_SHORT.settings, **QUICKER, "views": (STROKES,)})
