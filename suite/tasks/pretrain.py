"""Pre-training: a recipe's method teaches a backbone on images without labels; the backbone is a model of the store.

Recipes (suite/recipes/) say what is done; the models that name them, RECIPE_ARCHITECTURE@DATASET, what it is done to.
k-NN on part of the training images, where they have labels, tells how it goes; test images are not looked at.
"""

from suite.task import Task

PRETRAIN = Task(
    name="pretrain",
    version=1,
    program="pretrain",
    kinds=("images", "classification", "multilabel", "detection", "segmentation", "normals"),
    metric="knn",
    seeded=False,
    makes="weights",
    settings={"held_out": 0.1, "most_held_out": 2_000, "bank": 20_000, "k": 20, "temperature": 0.07},
    checkpoint_seconds=300.0,
    source="each recipe's",
)
