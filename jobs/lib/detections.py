"""Detections: from what a detector found on a split to the metrics of a result, each with its interval."""

from __future__ import annotations

from typing import Any

import numpy as np

from jobs.lib import coco_ap, precision, seeds, voc_ap
from jobs.lib.found import Found, from_coco, to_coco
from jobs.lib.precision import Matches
from suite.index import Index, Split
from suite.result import Metric

__all__ = ["Found", "evaluate", "from_coco", "to_coco"]

LEVELS = {"ap": list(range(10)), "ap50": [0], "ap75": [5]}  # of the overlaps 0.5, 0.55 ... 0.95
METRICS = ("voc07", "voc", "coco")
RESAMPLES = 1000


def evaluate(
    found: Found, split: Split, index: Index, metric: str, seed: int, *, masks: bool = False, rounded: bool = True
) -> tuple[tuple[Metric, ...], dict[str, Any]]:
    """(metrics, details) of detections by "voc07" (11 points), "voc" (area under the curve) or "coco".

    All are parts of 1. The headline is `ap50` for VOC, `ap` for COCO. `masks` adds COCO's `mask_ap...`; `rounded` is
    VOC's, see `voc_ap.match`. Intervals are by bootstrap over images. ValueError where the split has no object.
    """
    if metric not in METRICS:
        raise ValueError(f"no metric of detection is called {metric!r}; there are {', '.join(METRICS)}")
    if masks and metric != "coco":
        raise ValueError("masks are measured by COCO's metric only")
    if metric == "coco":
        return _coco(found, split, index, seed, masks)
    return _voc(found, split, index, metric, seed, rounded)


def _voc(
    found: Found, split: Split, index: Index, metric: str, seed: int, rounded: bool
) -> tuple[tuple[Metric, ...], dict[str, Any]]:
    points = {"ap50_11point": voc_ap.POINTS, "ap50_area": None}
    own, other = ("ap50_11point", "ap50_area") if metric == "voc07" else ("ap50_area", "ap50_11point")
    matches = voc_ap.match(found, split, len(index.classes), points=points[own], rounded=rounded)
    details = _details(matches, found, index, metric)
    again = Matches(matches.image, matches.start, matches.hit, matches.ignored, matches.positives, points[other])
    measured = [_measured(name, None, matches, LEVELS[name], seed, name == "ap50") for name in LEVELS]
    measured.append(_measured(other, None, again, LEVELS["ap50"], seed))
    return tuple(measured), details


def _coco(
    found: Found, split: Split, index: Index, seed: int, masks: bool
) -> tuple[tuple[Metric, ...], dict[str, Any]]:
    measured, details = [], {}
    for prefix in ("", "mask_") if masks else ("",):
        assessed = coco_ap.assess(found, split, len(index.classes), masks=bool(prefix))
        details |= details or _details(assessed.matches, found, index, "coco")
        for name, levels in LEVELS.items():
            at, headline = assessed.value(levels), prefix + name == "ap"
            measured.append(_measured(prefix + name, at, assessed.matches, levels, seed, headline))
        for area in coco_ap.AREAS[1:]:
            details[f"{prefix}ap_{area}"] = assessed.value(LEVELS["ap"], area)
    return tuple(measured), details


def _measured(
    name: str, at: float | None, matches: Matches, levels: list[int], seed: int, headline: bool = False
) -> Metric:
    draw = seeds.number(seed, "bootstrap", name)
    low, high = precision.interval(matches, levels, RESAMPLES, draw)
    value = precision.value(matches, levels) if at is None else at
    return Metric(name, value, low, high, len(matches.positives), headline)


def _details(matches: Matches, found: Found, index: Index, metric: str) -> dict[str, Any]:
    """ValueError where no class has an object."""
    present = matches.positives.any(axis=0)
    if not present.any():
        raise ValueError("no class has an object in this split: average precision is not defined")
    level = LEVELS["ap" if metric == "coco" else "ap50"]
    each = precision.per_class(matches, np.ones((1, len(matches.positives))), level)[0].mean(axis=0)
    return {
        "detections": len(found.image),
        "resamples": RESAMPLES,
        "classes_without_objects": [
            name for name, is_there in zip(index.classes, present, strict=True) if not is_there
        ],
        "per_class": {name: float(ap) for name, ap in zip(index.classes, each, strict=True) if not np.isnan(ap)},
    }
