"""Linear probe: L2-regularised logistic regression on frozen features.

Protocol: Ericsson et al., How well do self-supervised models transfer?, CVPR 2021, section 4.1: 45 values of C, chosen
on validation data, refitted on train + validation, test touched once. The published fits go from the largest C down, of
100 iterations each, and are not all at the optimum; these are, whatever the order.

Calibration is that of the test images: `ece` of the scores as they are, `ece_temperature` after one temperature, which
the validation images of the chosen fit give (Guo et al., ICML 2017).
"""

from dataclasses import replace

from suite.task import Resources, Task

FROZEN = Resources(gpus=1, cpus=8, memory_gb=32, minutes=15)
# The paper's eleven: ten of one label an image, and VOC 2007.
SINGLE = ("aircraft", "caltech101", "cars", "cifar10", "cifar100", "dtd", "flowers", "food101", "pets", "sun397")
TRANSFER = (*SINGLE, "voc2007")

LINEAR = Task(
    name="linear",
    version=1,
    program="linear",
    kinds=("classification", "multilabel"),
    frozen=True,
    settings={
        "c_values": 45,
        "c_max": 1e6,
        "c_min": 1e-5,
        "features": "plain",  # or "l2" (unit rows), or "standard" (each dimension: training mean 0, deviation 1)
        "holdout": 0.2,  # of train, stratified, where the dataset has no official validation split
        "ece_bins": 15,
        "precision": "float32",
    },
    resources=FROZEN,
    datasets=("digits", *TRANSFER, "tiny-imagenet"),
    source="Ericsson et al., CVPR 2021, section 4.1",
)
L2 = replace(LINEAR, name="linear-l2", settings={**LINEAR.settings, "features": "l2"})
STANDARD = replace(LINEAR, name="linear-standard", settings={**LINEAR.settings, "features": "standard"})
# As published where that can be had again: the draw of the hold-out (of the same images where the layout lists train in
# the published order), and calibration with temperatures of the test images themselves, which is in the details.
PAPER = replace(
    LINEAR,
    name="linear-paper",
    settings={**LINEAR.settings, "holdout_draw": "ssl-transfer", "ece_folds": 5},
    datasets=TRANSFER,
)
# No search: a C that is given (a number would do), for the models and data sets that one was published for.
PUBLISHED = replace(
    LINEAR,
    name="linear-published",
    settings={name: value for name, value in LINEAR.settings.items() if not name.startswith("c_")} | {"C": "published"},
    datasets=TRANSFER,
    source="Ericsson et al., CVPR 2021, section 4.1; values of C: the batch script of its repository",
)
