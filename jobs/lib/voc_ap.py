"""Matches as PASCAL VOC makes them (VOC development kit, VOCevaldet.m), in numbers equal to detectron2's."""

from __future__ import annotations

import numpy as np

from jobs.lib.found import Found
from jobs.lib.precision import Matches
from suite.index import Split

OVERLAPS = np.arange(50, 100, 5) / 100
POINTS = np.arange(0, 1.1, 0.1)  # with VOC's own rounding: a recall of 3/10 does not reach 0.30000000000000004


def match(found: Found, split: Split, classes: int, *, points: np.ndarray | None, rounded: bool = True) -> Matches:
    """Every detection goes to the object of its class that it overlaps most, found already or not.

    `rounded` takes scores to 3 and boxes to 1 decimal, as VOC's result files hold them and published tools read them;
    equal scores, of which there are then many, come in numpy's order, which is the same for the same scores.
    """
    rows = [(row, thing) for row, things in enumerate(split.labels) for thing in things]
    objects = np.array([thing.box for _, thing in rows], np.float64).reshape(-1, 4)
    difficult = np.array([thing.difficult for _, thing in rows], bool)
    where = np.array([(row, thing.label) for row, thing in rows], np.int64).reshape(-1, 2)
    score, box = found.score.astype(np.float64), found.box.astype(np.float64)
    if rounded:
        score = np.array([float(f"{s:.3f}") for s in score.tolist()])
        pixels = found.box + np.array([1, 1, 0, 0], np.float32)  # VOC counts pixels from 1
        box = np.array([float(f"{side:.1f}") for side in pixels.ravel().tolist()]).reshape(-1, 4)
        objects += np.array([1, 1, 0, 0])
    overlap, nearest = _nearest(
        box, found.image * classes + found.label, objects, where @ [classes, 1], 1.0 if rounded else 0.0
    )
    kind = None if rounded else "stable"
    members = [np.flatnonzero(found.label == label) for label in range(classes)]
    order = np.concatenate([rows[np.argsort(-score[rows], kind=kind)] for rows in members])
    overlap, nearest = overlap[order], nearest[order]
    over = overlap > OVERLAPS[:, None]
    ignored = over & difficult[nearest] if len(rows) else np.zeros_like(over)
    hit = np.zeros_like(over)
    for level, candidates in enumerate(over & ~ignored):
        at = np.flatnonzero(candidates)
        hit[level, at[np.unique(nearest[at], return_index=True)[1]]] = True  # the first of an object's detections
    positives = np.zeros((len(split.items), classes))
    np.add.at(positives, tuple(where[~difficult].T), 1)
    start = np.cumsum([0, *map(len, members)])
    return Matches(found.image[order], start, hit, ignored, positives, points)


def _nearest(
    box: np.ndarray, group: np.ndarray, objects: np.ndarray, groups: np.ndarray, pixel: float
) -> tuple[np.ndarray, np.ndarray]:
    """(highest overlap, row of the first object that has it) of every box with the objects of its group; -1, 0 where
    the group has none. `pixel` is 1 where right - left is one less than the width."""
    by_group = np.argsort(groups, kind="stable")
    first, last = (np.searchsorted(groups[by_group], group, side) for side in ("left", "right"))
    many = last - first
    one = np.repeat(np.arange(len(box)), many)  # pairs: this box ...
    starts = np.cumsum(many) - many
    other = by_group[np.arange(len(one)) - np.repeat(starts - first, many)]  # ... and that object
    overlap = _overlap(box[one], objects[other], pixel)
    some = np.flatnonzero(many)
    best, nearest = np.full(len(box), -1.0), np.zeros(len(box), np.int64)
    if len(some):
        best[some] = np.maximum.reduceat(overlap, starts[some])
        places = np.where(overlap == best[one], np.arange(len(one)), len(one))
        nearest[some] = other[np.minimum.reduceat(places, starts[some])]
    return best, nearest


def _overlap(box: np.ndarray, other: np.ndarray, pixel: float) -> np.ndarray:
    """Intersection over union, row by row; 0 where both are empty."""
    shared = np.maximum(np.minimum(box[:, 2:], other[:, 2:]) - np.maximum(box[:, :2], other[:, :2]) + pixel, 0)
    sides, others = box[:, 2:] - box[:, :2] + pixel, other[:, 2:] - other[:, :2] + pixel
    inside = shared[:, 0] * shared[:, 1]
    union = sides[:, 0] * sides[:, 1] + others[:, 0] * others[:, 1] - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union != 0)
