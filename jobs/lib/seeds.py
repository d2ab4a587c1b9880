"""Random draws, each from a generator of its own: a pure function of (seed, purpose), whatever ran before."""

from __future__ import annotations

import hashlib

import numpy as np

from jobs.lib.failure import BadData


def number(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose: number(0, "hold-out"), number(0, "crop", step, image)."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> np.random.Generator:
    return np.random.default_rng(number(seed, *purpose))


def holdout(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(training rows, validation rows): of each class floor(share * its size) random rows go to validation,

    `labels` is N class indices, or N x K 0/1 for multi-label, where the draw is over images and not stratified.
    One at least of each class that has two; a class of one image stays whole in training. BadData where that is all.
    """
    groups = [np.flatnonzero(labels == c) for c in np.unique(labels)] if labels.ndim == 1 else [np.arange(len(labels))]
    draw = generator(seed, "hold-out")
    chosen = [draw.permutation(rows)[: max(int(share * len(rows)), len(rows) > 1)] for rows in groups]
    val = np.sort(np.concatenate(chosen)) if chosen else np.empty(0, int)
    if not len(val):
        raise BadData(f"of {len(labels)} training images none can be held out to validate on: no class has two")
    return np.setdiff1d(np.arange(len(labels)), val), val
