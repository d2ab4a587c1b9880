"""Scenes of handwritten digits with boxes and masks; `launch.py fetch digit-scenes` composes them (scenes.py)."""

from suite.dataset import Dataset

DIGIT_SCENES = Dataset(
    name="digit-scenes",
    kind="detection",
    layout="voc-detection",
    path="digit-scenes",
    classes=10,
    counts={"train": 96, "val": 32, "test": 64},
    metric="voc",
    source="composed of scikit-learn's datasets/data/digits.csv.gz",
    licence="CC-BY-4.0",
    citation="Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI 1998",
)
