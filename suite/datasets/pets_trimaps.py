"""Oxford-IIIT Pet, which pixels are the pet and which the background; no official validation split."""

from suite.dataset import Dataset
from suite.datasets.pets import PETS

PETS_TRIMAPS = Dataset(
    name="pets-trimaps",
    kind="segmentation",
    layout="pets-trimaps",
    path="pets",
    classes=2,
    counts={"train": 3680, "test": 3669},
    metric="miou",
    source=PETS.source,
    archives=PETS.archives,
    licence="CC-BY-SA-4.0",
    citation="Parkhi et al., Cats and dogs, CVPR 2012",
)
