"""Enough: whether a data set has the images that a task draws from it, as far as that is known before it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from suite.dataset import Dataset
from suite.task import Task


def lack(task: Task, dataset: Dataset) -> str:
    """Why a data set has too few images for a task; '' where it has enough, or where only its labels can say."""
    s, images = task.settings, dataset.counts.get("train", 0)
    if "holdout" in s and "val" not in dataset.counts:
        classes = dataset.classes if dataset.kind == "classification" else 1  # of each one is held out, or of all
        drawn = int(s["holdout"] * images) if "holdout_draw" in s else images - classes
        if images and drawn < 1:
            told = f"{images} training images" + (f" of {classes} classes" if classes > 1 else "")
            return (
                f"{task.name} holds out a part of the training images to validate on, and {dataset.name} has {told}: "
                "give it a val split, or more images"
            )
    if (
        "way" in s
        and dataset.images
        and not any(episodes(dataset.images, shots=shots, **limits(s)) for shots in s["shots"])
    ):
        most = ", ".join(map(str, sorted(dataset.images)[-3:]))
        return (
            f"{task.name} needs {s.get('min_way', 2)} classes with {min(s['shots']) + s['min_query']} images each, and "
            f"the largest classes of {dataset.name} have {most}"
        )
    return ""


def limits(settings: Mapping[str, Any]) -> dict[str, int]:
    """What a few-shot task's settings say of its episodes, for `episodes`."""
    return {name: settings[name] for name in ("way", "query", "min_query", "min_way") if name in settings}


def episodes(
    class_counts: Sequence[int], *, shots: int, way: int = 5, query: int = 15, min_query: int = 5, min_way: int = 2
) -> tuple[int, int, list[int]] | None:
    """(way, query, classes with enough images), or None where not even `min_way` classes with `min_query` queries each
    are to be had.

    The way shrinks to the number of classes, the queries to the most that leave enough classes.
    """
    counts = [int(count) for count in class_counts]
    way = min(way, sum(count > 0 for count in counts))
    if way < min_way:
        return None
    most = sorted(counts, reverse=True)[way - 1] - shots
    query = min(query, most)
    if query < min_query:
        return None
    return way, query, [number for number, count in enumerate(counts) if count >= shots + query]
