"""MoCo v3: two views find each other among the batch's keys; for transformers and for ResNets."""

from dataclasses import replace
from typing import Any

from suite.recipe import COMMON, OURS, SMALL, Expected, Recipe

VIEW: dict[str, Any] = {
    "count": 1,
    "size": 224,
    "area": (0.08, 1.0),
    "jitter": (0.4, 0.4, 0.2, 0.1),
    "jitter_p": 0.8,
    "grey": 0.2,
}
VIEWS = (VIEW | {"blur": 1.0}, VIEW | {"blur": 0.1, "solarise": 0.2})
RESNET_VIEWS = tuple(view | {"area": (0.2, 1.0)} for view in VIEWS)
SETTINGS: dict[str, Any] = {
    **COMMON,
    "views": VIEWS,
    "batch": 4096,
    "published_batch": 256,
    "epochs": 300,
    "projector": (4096, 4096, 256),
    "predictor": (4096, 256),
    "predictor_norm": True,
    "temperature": 0.2,
    "ema": 0.99,
    "still_patches": True,
    "optimizer": "adamw",
    "betas": (0.9, 0.999),
    "learning_rate": 1.5e-4,
    "weight_decay": 0.1,
    "undecayed": ("norms", "biases", "tokens"),
    "warmup": 40,
    "precision": "bfloat16",
}
RESNET_SETTINGS: dict[str, Any] = {
    **SETTINGS,
    "views": RESNET_VIEWS,
    "epochs": 100,
    "projector": (4096, 256),
    "predictor_norm": False,
    "temperature": 1.0,
    "still_patches": False,
    "optimizer": "lars",
    "learning_rate": 0.6,
    "weight_decay": 1e-6,
    "undecayed": ("norms", "biases"),
    "warmup": 10,
}
MOCO_V3 = Recipe(
    name="moco-v3",
    method="moco_v3",
    architecture="vit_small_12_heads",
    takes="vit",
    settings=SETTINGS,
    expected=(
        Expected("vit_small_12_heads", 300, 73.6, "MMSelfSup 1.x"),
        Expected("vit_small_12_heads", 300, 73.19, "OpenMixup"),
        Expected("timm:vit_base_patch16_224", 300, 76.9, "MMSelfSup 1.x"),
    ),
    drift="betas of AdamW are (0.9, 0.999) as in MMSelfSup, OpenMixup's (0.9, 0.95); "
    "all but the patches begin with timm's own initialisation",
    source="Chen, Xie and He, ICCV 2021; the settings of MMSelfSup 1.x",
)
RESNET_DRIFT = (
    "temperature 1.0 and no batch norm at the predictor's end, as published and in MMSelfSup 1.x; OpenMixup's settings "
    "have 0.2, and one"
)
MOCO_V3_R50 = replace(
    MOCO_V3,
    name="moco-v3-r50",
    architecture="resnet50",
    takes="cnn",
    settings=RESNET_SETTINGS,
    expected=(Expected("resnet50", 100, 69.6, "MMSelfSup 1.x"),),
    drift=RESNET_DRIFT,
)
MOCO_V3_R50_300 = replace(
    MOCO_V3_R50,
    name="moco-v3-r50-300",
    settings={**RESNET_SETTINGS, "epochs": 300},
    expected=(Expected("resnet50", 300, 72.8, "MMSelfSup 1.x"),),
)
MOCO_V3_R50_800 = replace(
    MOCO_V3_R50,
    name="moco-v3-r50-800",
    settings={**RESNET_SETTINGS, "epochs": 800, "ema": 0.996},
    expected=(Expected("resnet50", 800, 74.4, "MMSelfSup 1.x"),),
)
QUICK: dict[str, Any] = {
    "projector": (512, 128),
    "predictor": (512, 128),
    "temperature": 0.2,
    "ema": 0.97,
    "precision": "float32",
    "views": tuple(view | {"size": 32, "blur": 0.0} for view in RESNET_VIEWS),
}
MOCO_V3_SHORT = replace(
    MOCO_V3_R50, name="moco-v3-short", takes="any", settings={**RESNET_SETTINGS, **SMALL, **QUICK}, **OURS
)
DIGITS = replace(MOCO_V3_SHORT, name="moco-v3@digits")
