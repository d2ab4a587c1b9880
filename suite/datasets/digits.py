"""Handwritten digits: 1,797 real scans of 8x8 pixels from scikit-learn; `launch.py fetch digits` lays them out.

The split is pinned: per class, every fifth scan in file order is test (fetch.py).
"""

from suite.dataset import Dataset

DIGITS = Dataset(
    name="digits",
    path="digits",
    classes=10,
    counts={"train": 1442, "test": 355},
    source="scikit-learn's datasets/data/digits.csv.gz",
    licence="CC-BY-4.0",
    citation="Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI 1998",
)
