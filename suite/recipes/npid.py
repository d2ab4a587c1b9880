"""NPID: every image is a class of its own, told from images drawn out of a bank of all."""

from dataclasses import replace
from typing import Any

from suite.recipe import COMMON, OURS, SMALL, Expected, Recipe

VIEW = {"count": 1, "size": 224, "area": (0.2, 1.0), "jitter": (0.4, 0.4, 0.4, 0.4), "jitter_p": 1.0, "grey": 0.2}
SETTINGS = {
    **COMMON,
    "views": (VIEW,),
    "width": 128,
    "negatives": 65536,
    "temperature": 0.07,
    "keep": 0.5,
    "ensure_neg": False,
    "schedule": "step",
    "drops": (120, 160),
    "factor": 0.1,
}
NPID = Recipe(
    name="npid",
    method="npid",
    architecture="resnet50",
    settings=SETTINGS,
    expected=(
        Expected("resnet50", 200, 56.60, "OpenMixup"),
        Expected("resnet50", 200, 57.97, "MMSelfSup 0.x"),
        Expected("resnet50", 200, 58.3, "MMSelfSup 1.x"),
    ),
    drift="softmax cross-entropy, as OpenSelfSup and its heirs; the paper's is noise-contrastive estimation",
    source="Wu et al., CVPR 2018; the settings of OpenSelfSup, MMSelfSup and OpenMixup",
)
ENSURED = replace(
    NPID,
    name="npid-ensure-neg",
    settings={**SETTINGS, "ensure_neg": True},
    expected=(),  # only SVMs on VOC07 were published: 75.70 mAP
    drift=f"{NPID.drift}; no image is its own negative, a flag that OpenMixup's settings of this name have lost",
)
QUICK: dict[str, Any] = {
    "learning_rate": 0.03,
    "warmup": 0,
    "drops": (20, 26),
    "width": 64,
    "negatives": 512,
    "temperature": 0.1,
    "views": (VIEW | {"size": 32, "jitter": (0.4, 0.4, 0.4, 0.1), "jitter_p": 0.8},),
}
NPID_SHORT = replace(NPID, name="npid-short", settings={**SETTINGS, **SMALL, **QUICK}, **OURS)
DIGITS = replace(NPID_SHORT, name="npid@digits")
