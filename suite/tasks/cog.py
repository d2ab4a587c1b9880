"""ImageNet-CoG: logistic regression by SGD on frozen features, of all training images or of N a class.

Protocol: Sariyildiz et al., Concept generalization in visual representation learning, ICCV 2021, and its code: unit
features; 30 trials of (rate, weight decay) by TPE, on four fifths of the training images, with top-1 after the last of
100 epochs on the others; the best one trained anew on all; test touched once. For N images a class they are drawn from
those four fifths for the search, which the whole last fifth decides, and anew from all training images for the end.
t-ReX (Sariyildiz et al., No reason for no supervision, ICLR 2023) takes its large sets alike, over train + validation.

Three things are otherwise on purpose. The cosine is a cosine: the code's keeps the full rate for two epochs. Later
trials are asked for ten at a time, as heads that are trained side by side share what they read. Features are kept as
float16, and products are taken in bfloat16 (weights and sums are float32). In the -paper tasks these are as published:
"cosine": "cog", "at_once": 1, float32. Neither draws from one stream, as the code does: there the images of the last
training hang on how many trials ran before; here every draw is a function of the seed and its purpose.

Where "memory_gb" does not hold the training features, they are shuffled in blocks (see jobs/lib/heads.py), and the
result says so.
"""

from dataclasses import replace

from suite.task import Resources, Task

COG = ("imagenet1k", "cog-l1", "cog-l2", "cog-l3", "cog-l4", "cog-l5")

LINEAR = Task(
    name="cog-linear",
    version=1,
    program="sgd_linear",
    metric="top1",
    frozen=True,
    settings={
        "view": {"ratio": 1.0, "interpolation": "bicubic"},
        "features": "l2",
        "holdout": 0.2,
        "trials": 30,
        "startup": 10,
        "at_once": 10,
        "multivariate": True,
        "rate": (1e-1, 1e2),
        "decay": (1e-12, 1e-4),
        "epochs": 100,
        "batch": 1024,
        "momentum": 0.9,
        "cosine": "plain",
        "shots": (),
        "headline_shots": 0,
        "precision": "float16",
        "products": "bfloat16",
        "memory_gb": 24,
    },
    resources=Resources(gpus=1, cpus=8, memory_gb=48, minutes=90),
    datasets=COG,
    seeds=(22, 37, 45, 77, 93),
    checkpoint_seconds=300.0,
    source="Sariyildiz et al., ICCV 2021, as in its code (naver/cog 5b34ca9, logreg.py)",
)
FEWSHOT = replace(
    LINEAR,
    name="cog-fewshot",
    metric="top1_n16",
    settings={**LINEAR.settings, "shots": (1, 2, 4, 8, 16, 32, 64, 128), "headline_shots": 16},
)
AS_PUBLISHED = {"cosine": "cog", "at_once": 1, "precision": "float32", "products": "float32"}
LINEAR_PAPER = replace(LINEAR, name="cog-linear-paper", settings={**LINEAR.settings, **AS_PUBLISHED})
FEWSHOT_PAPER = replace(FEWSHOT, name="cog-fewshot-paper", settings={**FEWSHOT.settings, **AS_PUBLISHED})

SHORT = {
    "trials": 6,
    "startup": 4,
    "at_once": 2,
    "epochs": 10,
    "batch": 256,
    "precision": "float32",
    "products": "float32",
    "memory_gb": 1,
}
LINEAR_SHORT = replace(
    LINEAR,
    name="cog-linear-short",
    settings={**LINEAR.settings, **SHORT},
    resources=Resources(gpus=1, cpus=8, memory_gb=16, minutes=5),
    datasets=("digits",),
    seeds=(22,),
    checkpoint_seconds=5.0,
)
FEWSHOT_SHORT = replace(
    LINEAR_SHORT,
    name="cog-fewshot-short",
    metric="top1_n4",
    settings={**LINEAR_SHORT.settings, "shots": (1, 2, 4, 8), "headline_shots": 4},
)
