"""Codebook: the unit vectors that surface normals are sorted by, and how files of normals are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jobs.lib import images, seeds
from jobs.lib.failure import AWAY, BadData
from jobs.lib.labelled import VOID

PUBLISHED = "vocab40.mat"  # of the FAIR self-supervision benchmark
DRAWN = 500  # normals of each image that words are found among
ROUNDS = 50


class Codebook(NamedTuple):
    """`words` is K x 3, unit vectors, x to the right, y down, z away from the eye; `source` says where from."""

    words: np.ndarray
    source: str

    def labels(self, path: Path) -> np.ndarray:
        """Height x width uint8: the word that is nearest to each normal of a file, VOID where there is none."""
        found = normals(path)
        near = nearest(found.reshape(-1, 3), self.words).reshape(found.shape[:2]).astype(np.uint8)
        near[~valid(found)] = VOID
        return near


def normals(path: Path) -> np.ndarray:
    """Height x width x 3 float32, unit vectors, 0 where there is none. A file holds 127.5 * (n + 1), black for none."""
    image = images.looked_at(path, Image.Image.copy)
    if image.mode != "RGB":
        raise BadData(f"{path} is {image.mode}; expected a normal a pixel, as red, green and blue")
    levels = np.asarray(image)
    found = levels.astype(np.float32) / np.float32(127.5) - 1
    length = np.linalg.norm(found, axis=2, keepdims=True)
    return np.where(levels.any(2, keepdims=True), found / np.maximum(length, np.float32(1e-6)), np.float32(0))


def valid(found: np.ndarray) -> np.ndarray:
    """Which pixels have a normal."""
    there: np.ndarray = found.any(2)
    return there


def nearest(vectors: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Of N x 3 vectors the numbers of the K x 3 words at the least angle."""
    return np.argmax(vectors @ words.astype(vectors.dtype).T, axis=1)


def read(root: Path, files: Sequence[Path], count: int, seed: int) -> Codebook:
    """The published codebook where its file is in the root, or else the `count` means of normals of these files."""
    path = root / PUBLISHED
    if path.is_file():
        return Codebook(_published(path, count), f"{PUBLISHED}, published")
    drawn = np.concatenate([_some(file, seed) for file in files] or [np.zeros((0, 3))])
    if len(drawn) < count:
        raise BadData(f"{root}: {len(drawn)} normals in {len(files)} images; expected {count} at least")
    words = means(drawn, count, seeds.generator(seed, "codebook"))
    return Codebook(words, f"{count} means of {len(drawn)} training normals, as there is no {PUBLISHED}")


def means(vectors: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """Spherical k-means: the K x 3 unit means of the vectors that each is nearest to (Dhillon and Modha, 2001), begun
    from vectors far apart (Arthur and Vassilvitskii, k-means++, 2007)."""
    words = vectors[draw.integers(len(vectors))][None]
    while len(words) < count:
        far = np.maximum(1 - (vectors @ words.T).max(1), 0)
        total = far.sum()
        words = np.vstack([words, vectors[draw.choice(len(vectors), p=far / total if total else None)]])
    before = np.full(len(vectors), -1)
    for _ in range(ROUNDS):
        near = nearest(vectors, words)
        if np.array_equal(near, before):
            break
        before = near
        sums = np.stack([np.bincount(near, vectors[:, axis], count) for axis in range(3)], 1)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        words = np.where(length > 1e-9, sums / np.maximum(length, 1e-9), words)
    return words


def _some(file: Path, seed: int) -> np.ndarray:
    found = normals(file)
    there = found[valid(found)].astype(np.float64)
    return there[seeds.generator(seed, "normals", file.name).permutation(len(there))[:DRAWN]]


def _published(path: Path, count: int) -> np.ndarray:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(path)
    except (MatReadError, NotImplementedError, ValueError, TypeError, IndexError, OSError) as error:
        if isinstance(error, OSError) and error.errno in AWAY:
            raise
        raise BadData(f"{path} cannot be read: {error}") from error
    for name, value in found.items():
        numbers = not name.startswith("_") and isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
        if numbers and sorted(value.shape) == [3, count]:
            words = (value if value.shape[1] == 3 else value.T).astype(np.float64)
            length = np.linalg.norm(words, axis=1, keepdims=True)
            if (length > 0).all():
                return words / length
    raise BadData(f"{path} has no {count} x 3 array; expected the codebook's unit vectors")
