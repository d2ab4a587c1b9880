"""FGVC-Aircraft: 100 variants of aircraft, with the official validation split."""

from suite.dataset import Archive, Dataset

AIRCRAFT = Dataset(
    name="aircraft",
    layout="aircraft",
    path="aircraft",
    classes=100,
    counts={"train": 3334, "val": 3333, "test": 3333},
    metric="mean_per_class",
    source="fgvc-aircraft-2013b.tar.gz",
    archives=(
        Archive(
            ("https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",),
            md5="d4acdd33327262359767eeaa97a4f732",
        ),
    ),
    licence="non-commercial research",
    citation="Maji et al., Fine-grained visual classification of aircraft, arXiv 2013",
)
