"""Features: extracts the frozen features of a dataset and measures nothing.

In a grid with frozen tasks (`--tasks features,linear,knn`) these wait for it. It pays where decoding needs more cores
than a probe does: 10 to 28 cores feed one GPU of today with 224-pixel photos.
"""

from suite.task import Resources, Task
from suite.tasks.linear import LINEAR

FEATURES = Task(
    name="features",
    version=1,
    program="extract",
    kinds=LINEAR.kinds,
    frozen=True,
    seeded=False,
    makes="features",
    settings={"precision": LINEAR.settings["precision"]},
    resources=Resources(gpus=1, cpus=16, memory_gb=32, minutes=15),
    datasets=LINEAR.datasets,
    source="our own",
)
