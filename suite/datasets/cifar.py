"""CIFAR-10 and CIFAR-100: tiny photos of 32x32 pixels."""

from suite.dataset import Archive, Dataset

HOME = "https://www.cs.toronto.edu/~kriz"

CIFAR10 = Dataset(
    name="cifar10",
    layout="cifar",
    path="cifar10",
    classes=10,
    counts={"train": 50000, "test": 10000},
    source="cifar-10-python.tar.gz",
    archives=(
        Archive(
            (f"{HOME}/cifar-10-python.tar.gz",),
            sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            md5="c58f30108f718f92721af3b95e74349a",
        ),
    ),
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
    archives=(
        Archive(
            (f"{HOME}/cifar-100-python.tar.gz",),
            sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            md5="eb9058c3a382ffc7106e4002c42a8d85",
        ),
    ),
    licence=CIFAR10.licence,
    citation=CIFAR10.citation,
)
