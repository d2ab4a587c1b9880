"""Places205: scenes, 205 classes; val is the test split, for the labels of test were never published."""

from suite.dataset import Archive, Dataset

HOME = "http://data.csail.mit.edu/places/places205"

PLACES205 = Dataset(
    name="places205",
    layout="places205",
    path="places205",
    classes=205,
    counts={"train": 2448873, "test": 20500},
    source="imagesPlaces205_resize.tar.gz and trainvalsplit_places205.tar.gz",
    archives=(
        Archive((f"{HOME}/imagesPlaces205_resize.tar.gz",)),
        Archive((f"{HOME}/trainvalsplit_places205.tar.gz",)),
    ),
    licence="Places terms: non-commercial research and education",
    citation="Zhou et al., Learning deep features for scene recognition using Places database, NeurIPS 2014",
)
