"""Linear probe: L2-regularised logistic regression on frozen features.

Protocol: Ericsson et al., How well do self-supervised models transfer?, CVPR 2021, section 4.1: 45 values of C, chosen
on validation data, refitted on train + validation, test touched once.
"""

from dataclasses import replace

from suite.task import Resources, Task

FROZEN = Resources(gpus=1, cpus=8, memory_gb=32, minutes=15)

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
    datasets=("digits", "pets", "dtd", "cifar10", "cifar100", "tiny-imagenet", "voc2007"),
    source="Ericsson et al., CVPR 2021, section 4.1",
)
L2 = replace(LINEAR, name="linear-l2", settings={**LINEAR.settings, "features": "l2"})
STANDARD = replace(LINEAR, name="linear-standard", settings={**LINEAR.settings, "features": "standard"})
