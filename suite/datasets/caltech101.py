"""Caltech-101: 101 classes of objects, and one of background, with the split of Ericsson et al. 2021.

The layout draws it, as they did: 30 of each class with replacement, which are 17 to 30 images, the rest tested.
"""

from suite.dataset import Archive, Dataset

PAGE = "https://data.caltech.edu/records/mzrjq-6wc02"

CALTECH101 = Dataset(
    name="caltech101",
    layout="caltech101",
    path="caltech101",
    classes=102,
    counts={"train": 2416, "test": 6728},
    metric="mean_per_class",
    source="caltech-101.zip (or 101_ObjectCategories.tar.gz, which is in it)",
    archives=(
        Archive(  # of the tar, which fast.ai names otherwise, and the page has in a zip
            (
                "https://s3.amazonaws.com/fast-ai-imageclas/caltech_101.tgz",
                f"{PAGE}#caltech-101.zip/101_ObjectCategories.tar.gz",
            ),
            sha256="af6ece2f339791ca20f855943d8b55dd60892c0a25105fcd631ee3d6430f9926",
            md5="b224c7392d521a49829488ab0f1120d9",
        ),
    ),
    page=PAGE,
    licence="CC-BY-4.0",
    citation=(
        "Fei-Fei et al., Learning generative visual models from few training examples, CVPR workshops 2004; "
        "split: Ericsson et al., How well do self-supervised models transfer?, CVPR 2021"
    ),
)
