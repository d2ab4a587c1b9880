"""VOC07's linear SVMs on frozen features: on all training images, and on a few of each class (low-shot).

Protocol: Goyal et al., Scaling and benchmarking self-supervised visual representation learning, ICCV 2019, tasks 1 and
2, as OpenSelfSup and mmselfsup 0.x have them for their tables: five layers of a ResNet, pooled to some 9,000 numbers
each (jobs/lib/layers.py), rows of unit length; one-vs-rest, squared hinge, positives count twice; average precision is
the area under the interpolated curve, difficult things do not count at test and are negatives in training. Known answer
(svm, best layer): 87.17 for supervised ResNet-50, 84.26 for MoCo v2, 30.54 for random weights.

- svm: the cost of each class of 19 is chosen by the average precision of 3-fold cross-validation on train + validation;
  the folds are drawn for each class from the seed, with its positives spread evenly. The tables take the best layer by
  its test result: `map_best_on_test`. Ours, `map`, takes the best of cross-validation; every layer's stands beside.
- svm-lowshot: k positives of each class, and 19 k others which are not difficult, 5 times. The cost for each k, one for
  all classes, and the layer, one for all k, are chosen on the training images that were not drawn: these labels are
  more than k, but no test image is looked at.
- svm-lowshot-paper: both are chosen on the test images, as the tables have it.

Images are squashed to the network's square at once, bilinearly (published: first to 256 pixels), without a crop. The
solver finds the optimum (published: liblinear, stopped after 2,000 iterations at the latest). The features of VOC2007
take 1.8 GB for a ResNet-50.
"""

from dataclasses import replace

from suite.task import Resources, Task

SVM = Task(
    name="svm",
    version=1,
    program="svm",
    kinds=("classification", "multilabel"),
    metric="map",
    frozen=True,
    maps="layers",
    settings={
        "view": {"ratio": 1.0, "squash": True, "interpolation": "bilinear"},
        "layers": ("feat1", "feat2", "feat3", "feat4", "feat5"),
        "costs": (1.0, 10.0, 100.0, *(2.0**-power for power in range(4, 20))),
        "positive_weight": 2.0,
        "tolerance": 1e-4,  # of the weights' length
        "folds": 3,
        "precision": "float32",
    },
    resources=Resources(gpus=1, cpus=8, memory_gb=32, minutes=30),
    datasets=("voc2007",),
    source="Goyal et al., ICCV 2019, task 1; OpenSelfSup and mmselfsup 0.x, VOC07 SVM",
)
LOWSHOT = replace(
    SVM,
    name="svm-lowshot",
    metric="map_16shot",
    settings={name: value for name, value in SVM.settings.items() if name != "folds"}
    | {
        "shots": (1, 2, 4, 8, 16, 32, 64, 96),
        "headline_shots": 16,
        "negatives": 19,  # for each positive
        "samples": 5,
        "chosen_on": "undrawn",  # training images, or "test"
    },
    source="Goyal et al., ICCV 2019, task 2; OpenSelfSup and mmselfsup 0.x, VOC07 low-shot SVM",
)
LOWSHOT_PAPER = replace(LOWSHOT, name="svm-lowshot-paper", settings={**LOWSHOT.settings, "chosen_on": "test"})
COSTS = (2.0**-8, 2.0**-4, 1.0)
SHORT = replace(SVM, name="svm-short", settings={**SVM.settings, "costs": COSTS})
LOWSHOT_SHORT = replace(
    LOWSHOT,
    name="svm-lowshot-short",
    metric="map_1shot",
    settings={
        **LOWSHOT.settings,
        "costs": COSTS,
        "shots": (1, 2),
        "headline_shots": 1,
        "negatives": 3,
        "samples": 3,
    },
)
