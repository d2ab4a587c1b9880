"""CIFAR-10 and CIFAR-100: tiny photos of 32x32 pixels."""

from suite.dataset import Dataset

CIFAR10 = Dataset(
    name="cifar10",
    layout="cifar",
    path="cifar10",
    classes=10,
    counts={"train": 50000, "test": 10000},
    source="cifar-10-python.tar.gz",
    licence="none stated; research use",
    citation="Krizhevsky, Learning multiple layers of features from tiny images, 2009",
)
CIFAR100 = Dataset(
    name="cifar100",
    layout="cifar",
    path="cifar100",
    classes=100,
    counts=CIFAR10.counts,
    source="cifar-100-python.tar.gz",
    licence=CIFAR10.licence,
    citation=CIFAR10.citation,
)
