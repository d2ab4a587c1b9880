"""Scans: scikit-learn's 1,797 handwritten digits of 8x8 pixels, and which of them are test. Pure of any draw."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from suite.entry import Refusal

SIDE, DARKEST = 8, 16  # pixels; ink of a pixel, 0 to 16


class Scan(NamedTuple):
    """One scan: its row in the file, its digit, its split, and 64 values of ink, row by row."""

    number: int
    digit: int
    split: str  # "train" | "test"
    ink: list[int]


def scans() -> Iterator[Scan]:
    """All scans in file order; of each class, every fifth is test."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise Refusal("digits come with scikit-learn, which this Python does not have; install it with: make setup")
    seen: Counter[int] = Counter()
    with gzip.open(Path(found.origin).parent / "datasets/data/digits.csv.gz", "rt") as file:
        for number, row in enumerate(csv.reader(file)):
            *ink, digit = (int(float(value)) for value in row)
            seen[digit] += 1
            yield Scan(number, digit, "test" if seen[digit] % 5 == 0 else "train", ink)
