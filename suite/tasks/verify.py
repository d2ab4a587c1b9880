"""Verification: whether a model's weights, network and input fit together, on labelled images.

A model that has kept the classifier it was published with (of ImageNet-1K, ImageNet-21K-P, CIFAR ...) is asked for its
classes: top-1 over all outputs, also where the images are of a part of them. Another one is measured by weighted k-NN
(see knn.py), on images of its own train split. Nothing is learnt or chosen. A published top-1 of the same way to
measure, on all 50,000 validation images of ImageNet-1K, must be met within `tolerance` points.

Beside it stands a fingerprint of the backbone's features on a fixed input: computed in float64 and rounded to float32,
it is the same on every machine, and another one where weights, network or input are.
"""

from suite.task import Resources, Task
from suite.tasks.knn import KNN

VERIFY = Task(
    name="verify",
    version=1,
    program="verify",
    metric="top1",
    seeded=False,
    untrained=True,
    settings={"tolerance": 0.5, "k": 20, "temperature": KNN.settings["temperature"], "precision": "float32"},
    resources=Resources(gpus=1, cpus=8, memory_gb=32, minutes=15),
    source="our own",
)
