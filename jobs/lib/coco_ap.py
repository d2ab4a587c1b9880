"""COCO's average precision: the value by the tools that published numbers come from, and the matches behind it."""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import faster_coco_eval
import numpy as np
import pycocotools.coco
import pycocotools.cocoeval

from jobs.lib.found import Found
from jobs.lib.precision import Matches
from suite.index import Split, Thing

OVERLAPS = np.linspace(0.5, 0.95, 10)
POINTS = np.linspace(0, 1, 101)
MOST = 100  # detections of a class in an image: those of the highest scores
AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True)
class Assessed:
    """Precision as the tool gives it, T x points x K x areas, -1 where a class has no object; and the matches."""

    precision: np.ndarray
    matches: Matches

    def value(self, levels: list[int], area: str = "all") -> float | None:
        """Mean precision, None where no class has an object of this size."""
        held = self.precision[levels, :, :, AREAS.index(area)]
        return float(held[held > -1].mean()) if (held > -1).any() else None


def assess(found: Found, split: Split, classes: int, *, masks: bool = False) -> Assessed:
    """Boxes by faster-coco-eval, masks by pycocotools. A category's number is its label + 1; an image's is its row
    after sorting by published id, since the tools take equal scores in the order of those."""
    if masks and found.masks is None:
        raise ValueError("these detections have no masks")
    order = np.argsort(np.array(split.ids), kind="stable") if split.ids else np.arange(len(split.items))
    rank = np.argsort(order)  # of an image's row
    truth = _truth(split, order, classes, masks)
    if not len(found.image):
        return _nothing(truth, split, classes)
    tool: Any
    with _undisturbed():
        if masks:
            coco, tool = pycocotools.coco.COCO(), pycocotools.cocoeval.COCOeval
        else:
            coco, tool = faster_coco_eval.COCO(), faster_coco_eval.COCOeval_faster
        coco.dataset = truth
        coco.createIndex()
        run = tool(coco, coco.loadRes(_results(found, rank, masks)), "segm" if masks else "bbox")
        run.params.maxDets = [MOST]
        run.evaluate()
        run.accumulate()
    outside = np.zeros(len(found.image), bool) if masks else _area(found.box) < 0
    return Assessed(run.eval["precision"][..., -1], _match(run.ious, found, rank, split, classes, outside))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Nothing on stdout, where the tools talk; and no garbage collector, which would look through all they make."""
    collected = gc.isenabled()
    gc.disable()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        if collected:
            gc.enable()


def _area(box: np.ndarray) -> np.ndarray:
    return np.prod(box[:, 2:] - box[:, :2], axis=1)


def _results(found: Found, rank: np.ndarray, masks: bool) -> list[dict[str, Any]]:
    """The detections for a tool; masks without boxes, or it would take the box's area for the mask's."""
    box = found.box.astype(np.float64)
    box[:, 2:] -= box[:, :2]
    shapes: list[Any] = (found.masks or []) if masks else box.tolist()
    rows = zip(rank[found.image].tolist(), (found.label + 1).tolist(), found.score.tolist(), shapes, strict=True)
    if masks:
        return [{"image_id": i, "category_id": c, "score": s, "segmentation": mask} for i, c, s, mask in rows]
    # With a segmentation, though of nothing, the tool does not make polygons of all boxes.
    return [{"image_id": i, "category_id": c, "score": s, "bbox": b, "segmentation": None} for i, c, s, b in rows]


def _truth(split: Split, order: np.ndarray, classes: int, masks: bool) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image, row in enumerate(order):
        for thing in split.labels[row]:
            annotations.append(_annotation(thing, image, len(annotations) + 1, masks))  # 0 would mean no match
    sizes = [split.sizes[row] for row in order] if split.sizes else [(0, 0)] * len(order)
    return {
        "images": [{"id": image, "width": w, "height": h} for image, (w, h) in enumerate(sizes)],
        "categories": [{"id": label + 1, "name": str(label)} for label in range(classes)],
        "annotations": annotations,
    }


def _annotation(thing: Thing, image: int, number: int, masks: bool) -> dict[str, Any]:
    left, top, right, bottom = thing.box
    held = {"id": number, "image_id": image, "category_id": thing.label + 1, "iscrowd": int(thing.crowd)}
    held |= {"bbox": [left, top, right - left, bottom - top], "area": thing.area or (right - left) * (bottom - top)}
    if masks:
        if not thing.mask:
            raise ValueError(f"an object at {thing.box} has no mask, and masks are to be measured")
        held["segmentation"] = thing.mask
    return held


def _match(
    ious: dict[tuple[int, int], Any], found: Found, rank: np.ndarray, split: Split, classes: int, outside: np.ndarray
) -> Matches:
    """The tools' matches, which they do not give away, from the overlaps that they do: all images and classes at once,
    a detection of each at a time, from the highest score down.

    Of the objects that overlap enough and are not taken, a detection takes the one that it overlaps most (the later of
    two alike), and a crowd only where there is no other, which can be taken again. What takes a crowd is ignored, as
    is what takes nothing and is `outside` of all sizes: boxes of right < left.
    """
    crowd, objects, positives = _objects(split, rank, classes)
    key = rank[found.image] * classes + found.label
    order = np.lexsort((-found.score, key))
    key = key[order]
    place = np.arange(len(key)) - np.searchsorted(key, key)  # within its image and class
    order, key, place = (x[place < MOST] for x in (order, key, place))
    pairs = _pairs(ious, key, objects, classes)
    one, other, overlap = (np.concatenate([part[i] for part in pairs]) for i in range(3))
    preferred = np.lexsort((-other, -overlap, crowd[other], one, place[one]))
    one, other, overlap = one[preferred], other[preferred], overlap[preferred]
    enough = overlap >= np.minimum(OVERLAPS, 1 - 1e-10)[:, None]
    taken = np.zeros((len(OVERLAPS), len(crowd)), bool)
    hit, ignored = (np.zeros((len(OVERLAPS), len(key)), bool) for _ in range(2))
    steps = np.searchsorted(place[one], np.arange(MOST + 1))
    for begin, end in itertools.pairwise(steps.tolist()):
        if begin == end:
            continue
        theirs = other[begin:end]
        free = enough[:, begin:end] & (~taken[:, theirs] | crowd[theirs])
        starts = np.flatnonzero(np.diff(one[begin:end], prepend=-1))
        first = np.minimum.reduceat(np.where(free, np.arange(begin, end), len(one)), starts, axis=1)
        level, which = np.nonzero(first < len(one))
        pair = first[level, which]
        taken[level, other[pair]] = True
        hit[level, one[pair]] = ~crowd[other[pair]]
        ignored[level, one[pair]] = crowd[other[pair]]
    ignored |= ~hit & outside[order]
    label, score = found.label[order], found.score[order]
    ranked = np.lexsort((-score, label))  # stable: equal scores stay in the order of the images
    start = np.searchsorted(label[ranked], np.arange(classes + 1))
    return Matches(rank[found.image][order][ranked], start, hit[:, ranked], ignored[:, ranked], positives, POINTS)


def _objects(split: Split, rank: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(which are crowds, image * classes + label ascending, number of others by image and class) of all objects."""
    rows = [
        (rank[row] * classes + thing.label, thing.crowd) for row, things in enumerate(split.labels) for thing in things
    ]
    keys, crowd = np.array([key for key, _ in rows], np.int64), np.array([is_crowd for _, is_crowd in rows], bool)
    order = np.argsort(keys, kind="stable")
    keys, crowd = keys[order], crowd[order]
    counts = np.bincount(keys[~crowd], minlength=len(split.items) * classes)
    return crowd, keys, counts.reshape(-1, classes).astype(np.float64)


def _pairs(ious: dict[tuple[int, int], Any], key: np.ndarray, objects: np.ndarray, classes: int) -> list[tuple]:
    """(detection, object, overlap) of the pairs whose overlap is enough for the lowest level."""
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    both = np.intersect1d(key, objects)
    starts = zip(np.searchsorted(key, both).tolist(), np.searchsorted(objects, both).tolist(), strict=True)
    for (image, label), (here, there) in zip(np.stack(np.divmod(both, classes), 1).tolist(), starts, strict=True):
        overlap = np.asarray(ious[image, label + 1])
        one, other = np.nonzero(overlap >= OVERLAPS[0])
        if len(one):
            found.append((one + here, other + there, overlap[one, other]))
    return found


def _nothing(truth: dict[str, Any], split: Split, classes: int) -> Assessed:
    """Without a detection the tools have nothing to read: precision is 0 where there is an object."""
    rank = np.arange(len(split.items))
    _, _, positives = _objects(split, rank, classes)
    none = np.empty((len(OVERLAPS), 0), bool)
    matches = Matches(np.empty(0, np.int64), np.zeros(classes + 1, np.int64), none, none, positives, POINTS)
    ranges = [(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)]
    precision = np.full((len(OVERLAPS), len(POINTS), classes, len(AREAS)), -1.0)
    for one in truth["annotations"]:
        inside = [low <= one["area"] <= high and not one["iscrowd"] for low, high in ranges]
        precision[:, :, one["category_id"] - 1, inside] = 0
    return Assessed(precision, matches)
