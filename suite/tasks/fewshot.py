"""Few-shot classification with prototypes on frozen features.

Protocol: Ericsson et al., CVPR 2021, section 4.2 (after Snell et al., 2017): 5-way, 600 episodes, 15 queries a class,
squared Euclidean distance to the mean of the supports; all splits pooled. Two deviations, both on purpose: the image
is made as for every other task (the paper squashes it to 257x257 first), and where a dataset has fewer than 5 classes
or too few images for 15 queries, way and query shrink, and the metric's name and the result say so.
"""

from suite.task import Task
from suite.tasks.linear import FROZEN, LINEAR

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
    datasets=tuple(name for name in LINEAR.datasets if name != "voc2007"),
    source="Ericsson et al., CVPR 2021, section 4.2",
)
