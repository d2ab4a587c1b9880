"""Rows: some rows of memory-mapped features, read where they are asked for; a set larger than memory stays on disk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CHUNK = 8192
FLOOR = 1e-5  # of the largest deviation


class Rows:
    """N x D float32 over several arrays, or chosen rows of them; `rows[start:stop]` and `rows[indices]` read."""

    def __init__(self, *parts: tuple[np.ndarray, np.ndarray | None]) -> None:
        self.parts = [(x, np.arange(len(x)) if chosen is None else chosen) for x, chosen in parts]
        self.starts = np.cumsum([0, *(len(chosen) for _, chosen in self.parts)])
        self.shape = (int(self.starts[-1]), self.parts[0][0].shape[1])
        self.unit_length = False
        self.shift, self.scale = np.float32(0), np.float32(1)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, asked: slice | np.ndarray) -> np.ndarray:
        wanted = np.arange(len(self))[asked]
        out = np.empty((len(wanted), self.shape[1]), np.float32)
        for (x, chosen), start, stop in zip(self.parts, self.starts, self.starts[1:], strict=False):
            here = (wanted >= start) & (wanted < stop)
            out[here] = x[chosen[wanted[here] - start]]
        if self.unit_length:
            out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), np.float32(1e-12))
        return (out - self.shift) / self.scale

    def subset(self, wanted: np.ndarray) -> Rows:
        """The rows `wanted` of these, ascending, as they are before they are normalised."""
        bounds = np.searchsorted(wanted, self.starts)
        parts = zip(self.parts, self.starts[:-1], bounds[:-1], bounds[1:], strict=True)
        return Rows(*((x, chosen[wanted[low:high] - start]) for (x, chosen), start, low, high in parts))

    def normalised(self, how: str, like: Rows | None = None) -> Rows:
        """The same rows 'plain', of unit length ('l2'), or 'standard': each dimension of mean 0 and deviation 1 on the
        training rows, which `like` are."""
        made = Rows(*self.parts)
        made.unit_length = how == "l2"
        if how == "standard":
            made.shift, made.scale = moments(like or self)
        return made


def moments(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each dimension, in one pass in float64.

    A deviation is at least FLOOR of the largest one: a dimension that hardly varies is not blown up to be like others.
    That is no length of its own, as all features of a random network can be near 1e-10; 1 where all are constant.
    """
    total, squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    for block in chunks(rows):
        total += block.sum(0, dtype=np.float64)
        squares += np.square(block, dtype=np.float64).sum(0)
    mean = total / len(rows)
    deviation = np.sqrt(np.maximum(squares / len(rows) - mean**2, 0))
    floor = FLOOR * deviation.max() or 1.0
    return mean.astype(np.float32), np.maximum(deviation, floor).astype(np.float32)


def chunks(rows: Rows) -> Iterator[np.ndarray]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))
