"""Describable textures: 47 classes, the first of ten official splits."""

from suite.dataset import Archive, Dataset

DTD = Dataset(
    name="dtd",
    layout="dtd",
    path="dtd",
    classes=47,
    counts={"train": 1880, "val": 1880, "test": 1880},
    source="dtd-r1.0.1.tar.gz",
    archives=(
        Archive(
            ("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
            md5="fff73e5086ae6bdbea199a49dfb8a4c1",
        ),
    ),
    licence="research use",
    citation="Cimpoi et al., Describing textures in the wild, CVPR 2014",
)
