"""Oxford-IIIT Pet: 37 breeds of cats and dogs; no official validation split."""

from suite.dataset import Dataset

PETS = Dataset(
    name="pets",
    layout="pets",
    path="pets",
    classes=37,
    counts={"train": 3680, "test": 3669},
    metric="mean_per_class",
    source="images.tar.gz and annotations.tar.gz of the Oxford-IIIT Pet dataset",
    licence="CC-BY-SA-4.0",
    citation="Parkhi et al., Cats and dogs, CVPR 2012",
)
