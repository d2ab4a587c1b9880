"""Few-shot classification with prototypes on frozen features.

Protocol: Ericsson et al., CVPR 2021, section 4.2 (after Snell et al., 2017): 5-way, 600 episodes, 15 queries a class,
squared Euclidean distance to the mean of the supports; all splits pooled. Two deviations, both on purpose: the image
is made as for every other task (the paper squashes it to 257x257 first), and where a dataset has fewer than 5 classes
or too few images for 15 queries, way and query shrink, and the metric's name and the result say so. `fewshot-paper` has
neither: classes of too few images are left out of the episodes, and fewer than five that have enough are refused. Its
episodes are drawn as ours are, not as the published ones were; ChestX is not brought to 256x256 first.
"""

from dataclasses import replace

from suite.task import Task
from suite.tasks.linear import FROZEN, LINEAR, SINGLE

BSCD = ("cropdiseases", "eurosat", "isic2018", "chestx")  # Guo et al., ECCV 2020: from like ImageNet to unlike it

FEWSHOT = Task(
    name="fewshot",
    version=1,
    program="fewshot",
    metric="5-way 5-shot",
    frozen=True,
    settings={
        "way": 5,
        "shots": (1, 5, 20, 50),
        "headline_shots": 5,
        "query": 15,
        "min_query": 5,
        "episodes": 600,
        "precision": "float32",
    },
    resources=FROZEN,
    datasets=(*(name for name in LINEAR.datasets if name != "voc2007"), *BSCD),
    source="Ericsson et al., CVPR 2021, section 4.2",
)
PAPER = replace(
    FEWSHOT,
    name="fewshot-paper",
    settings={**FEWSHOT.settings, "shots": (5, 20, 50), "min_query": 15, "min_way": 5}
    | {"view": {"ratio": 1.15, "squash": True, "interpolation": "bilinear"}},
    datasets=(*BSCD, *SINGLE),
)
