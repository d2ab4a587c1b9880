"""The scenes of digit-scenes, where digits are; `launch.py fetch digit-scenes-masks` composes them (scenes.py)."""

from suite.dataset import Dataset

DIGIT_SCENES_MASKS = Dataset(
    name="digit-scenes-masks",
    kind="segmentation",
    layout="voc-segmentation",
    path="digit-scenes",
    classes=2,
    counts={"train": 96, "val": 32, "test": 64},
    metric="miou",
    source="composed of scikit-learn's datasets/data/digits.csv.gz",
    licence="CC-BY-4.0",
    citation="Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI 1998",
)
