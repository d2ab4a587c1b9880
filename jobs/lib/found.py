"""Found: what a detector found on a split, and the same as COCO's results, which are kept beside a cell's result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.lib.failure import Diverged
from suite.index import Index, Split


@dataclass(frozen=True)
class Found:
    """N detections, in the order of the images; within an image in the detector's own order.

    Scores and boxes are held as float32, whatever they are given as: it is what survives `to_coco` to the last bit.
    """

    image: np.ndarray  # N int64, row of the image in the split, ascending
    label: np.ndarray  # N int64
    score: np.ndarray  # N float32
    box: np.ndarray  # N x 4 float32: left, top, right, bottom in pixels of the original image, right - left its width
    masks: list[dict[str, Any]] | None = None  # COCO's run-length codes {"size": [h, w], "counts": str}

    def __post_init__(self) -> None:
        kinds = {"image": np.int64, "label": np.int64, "score": np.float32, "box": np.float32}
        for name, kind in kinds.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), kind))
        count = len(self.image)
        shapes = [self.image.shape, self.label.shape, self.score.shape, self.box.shape]
        if shapes != [(count,), (count,), (count,), (count, 4)]:
            raise ValueError(f"image, label, score and box are {shapes}; expected N, N, N and N x 4")
        if self.masks is not None and len(self.masks) != count:
            raise ValueError(f"{len(self.masks)} masks for {count} detections")
        if (np.diff(self.image) < 0).any():
            raise ValueError("detections are not in the order of the images")
        bad = int((~np.isfinite(self.box).all(axis=1) | ~np.isfinite(self.score)).sum())
        if bad:
            raise Diverged(f"{bad} of {count} detections have a score or a box that is not a number")


def to_coco(found: Found, split: Split, index: Index) -> list[dict[str, Any]]:
    """COCO's results, with the published numbers of images and categories where the data set has some."""
    ids = split.ids or range(len(split.items))
    categories = index.categories or range(1, len(index.classes) + 1)
    box = found.box.astype(np.float64)
    box[:, 2:] -= box[:, :2]  # exact, and so is the way back: a difference of two float32 fits a float64
    rows = zip(found.image.tolist(), found.label.tolist(), box.tolist(), found.score.tolist(), strict=True)
    results: list[dict[str, Any]] = [
        {"image_id": ids[image], "category_id": categories[label], "bbox": sides, "score": score}
        for image, label, sides, score in rows
    ]
    for result, mask in zip(results, found.masks or (), strict=False):
        result["segmentation"] = mask
    return results


def from_coco(results: Iterable[dict[str, Any]], split: Split, index: Index) -> Found:
    """What `to_coco` was given. ValueError where an image or a category is not of this split."""
    rows = {number: row for row, number in enumerate(split.ids or range(len(split.items)))}
    labels = {number: label for label, number in enumerate(index.categories or range(1, len(index.classes) + 1))}
    held = list(results)
    for name, known in (("image_id", rows), ("category_id", labels)):
        odd = [result[name] for result in held if result[name] not in known]
        if odd:
            raise ValueError(f"{len(odd)} detections have an unknown {name}, such as {odd[0]!r}")
    held.sort(key=lambda result: rows[result["image_id"]])
    box = np.array([result["bbox"] for result in held], np.float64).reshape(-1, 4)
    box[:, 2:] += box[:, :2]
    return Found(
        np.array([rows[result["image_id"]] for result in held], np.int64),
        np.array([labels[result["category_id"]] for result in held], np.int64),
        np.array([result["score"] for result in held], np.float32),
        box.astype(np.float32),
        [result["segmentation"] for result in held] if held and "segmentation" in held[0] else None,
    )
