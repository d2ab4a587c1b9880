"""Weighted k-nearest neighbours on frozen features.

Protocol: Wu et al., CVPR 2018, section 3.4, as in DINO (Caron et al., ICCV 2021): cosine similarity, votes weighted by
exp(similarity / 0.07), k = 20 the headline. Train + validation are the bank; nothing is chosen.
"""

from dataclasses import replace

from suite.task import Task
from suite.tasks.linear import FROZEN, LINEAR

KNN = Task(
    name="knn",
    version=1,
    program="knn",
    kinds=("classification", "multilabel"),
    frozen=True,
    seeded=False,
    settings={"ks": (10, 20, 100, 200), "headline_k": 20, "temperature": 0.07, "precision": "float32"},
    resources=FROZEN,
    datasets=LINEAR.datasets,
    source="Wu et al., CVPR 2018, section 3.4; Caron et al., ICCV 2021",
)
# With the image that both had: the centre of one whose shorter side is 8/7 of the network's.
CENTRE = replace(
    KNN,
    name="knn-256",
    settings={**KNN.settings, "view": {"ratio": 256 / 224, "interpolation": "bilinear"}},
    datasets=("imagenet1k",),
    source=f"{KNN.source}; MMSelfSup's k-NN benchmark",
)
