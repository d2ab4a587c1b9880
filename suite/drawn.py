"""Drawn splits: of a data set that was published whole, every fifth image is the test split, by a seed."""

import random

from suite.index import Split

EVERY = 5


def drawn(items: list[str], labels: list[int], seed: int = 0) -> dict[str, Split]:
    """Train and test, a pure function of the names, the labels and the seed: the images stand class after class, those
    of a class in an order that random.Random(seed) draws from their sorted names, and every fifth of all is the test.

    So the test has len(items) // 5 images, a fifth of each class to within one. Both splits are sorted by name.
    """
    draw = random.Random(seed)
    rows = sorted(zip(items, labels, strict=True))
    # random() alone is sure to draw the same in all of Python's versions.
    order = sorted((label, draw.random(), item) for item, label in rows)
    tested = {item for _, _, item in order[EVERY - 1 :: EVERY]}
    parts = {"train": [row for row in rows if row[0] not in tested], "test": [row for row in rows if row[0] in tested]}
    return {name: Split([item for item, _ in part], [label for _, label in part]) for name, part in parts.items()}
