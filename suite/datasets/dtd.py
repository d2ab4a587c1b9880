"""Describable textures: 47 classes, the first of ten official splits."""

from suite.dataset import Dataset

DTD = Dataset(
    name="dtd",
    layout="dtd",
    path="dtd",
    classes=47,
    counts={"train": 1880, "val": 1880, "test": 1880},
    source="dtd-r1.0.1.tar.gz",
    licence="research use",
    citation="Cimpoi et al., Describing textures in the wild, CVPR 2014",
)
