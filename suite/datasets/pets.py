"""Oxford-IIIT Pet: 37 breeds of cats and dogs; no official validation split."""

from suite.dataset import Archive, Dataset

BASE = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"

PETS = Dataset(
    name="pets",
    layout="pets",
    path="pets",
    classes=37,
    counts={"train": 3680, "test": 3669},
    metric="mean_per_class",
    source="images.tar.gz and annotations.tar.gz of the Oxford-IIIT Pet dataset",
    archives=(
        Archive((BASE + "images.tar.gz",), md5="5c4f3ee8e5d25df40f4fd59a7f44e54c"),
        Archive((BASE + "annotations.tar.gz",), md5="95a8c909bbe2e81eed6a22bccdf3f68f"),
    ),
    licence="CC-BY-SA-4.0",
    citation="Parkhi et al., Cats and dogs, CVPR 2012",
)
