"""Caltech-101: one folder a class, 102 with the background, and no published split.

    101_ObjectCategories/CLASS/image_0001.jpg
    101_ObjectCategories/BACKGROUND_Google/image_0001.jpg       a class like any other

The root is the folder that holds 101_ObjectCategories/ (also within caltech-101/, caltech101/ or caltech_101/), or that
folder. What is no image (BACKGROUND_Google/tmp) and what is hidden (the ._image_0001.jpg of macOS) is left out.

The split is that of Ericsson et al. 2021: for each class, in the order of code points, 30 draws from its images with
replacement, by NumPy's older generator with seed 0. What is drawn is train, once, which makes 17 to 30 images a class;
all else is test. On the whole set that gives their lists, image by image: 2,416 and 6,728.
"""

import random
from pathlib import Path

from suite import inner
from suite.index import Index, Split, folders, images, require_all_labelled

KIND = "classification"
EXPECTED = "101_ObjectCategories/CLASS/*.jpg, BACKGROUND_Google being one of the 102 classes"
HOLDERS = ("", "caltech-101/", "caltech101/", "caltech_101/")
SHOTS, SEED = 30, 0


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return _prefix(root) is not None


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    prefix = inner.required(root, _prefix(root), EXPECTED)
    classes = folders(root / prefix)
    draw = _twister(SEED)
    train, test = Split([], []), Split([], [])
    for label, name in enumerate(classes):
        found = images(root / prefix / name)
        drawn = _draws(draw, len(found)) if found else set()
        for number, image in enumerate(found):
            split = train if number in drawn else test
            split.items.append(f"{prefix}{name}/{image}")
            split.labels.append(label)  # type: ignore[arg-type]
    for split, told in ((train, "train"), (test, "test: more than 30 a class are needed")):
        require_all_labelled(root, classes, split.labels, told)
    return Index(KIND, classes, {"train": train, "test": test})


def _prefix(root: Path) -> str | None:
    names = [f"{holder}101_ObjectCategories" for holder in HOLDERS]
    return inner.prefix(
        root, names, lambda folder: (folder / "BACKGROUND_Google").is_dir() and (folder / "Faces_easy").is_dir()
    )


def _draws(draw: random.Random, count: int) -> set[int]:
    """SHOTS numbers below `count`, as numpy.random.choice draws them with replacement, each once."""
    mask = (1 << (count - 1).bit_length()) - 1
    drawn: list[int] = []
    while len(drawn) < SHOTS:
        number = draw.getrandbits(32) & mask
        if number < count:
            drawn.append(number)
    return set(drawn)


def _twister(seed: int) -> random.Random:
    """The generator after numpy.random.seed: Python's own, its 624 words filled from the seed in the older way."""
    words = [seed]
    for number in range(1, 624):
        words.append((1812433253 * (words[-1] ^ words[-1] >> 30) + number) & 0xFFFFFFFF)
    generator = random.Random()
    generator.setstate((3, (*words, 624), None))
    return generator
