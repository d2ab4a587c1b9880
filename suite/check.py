"""Check: whether a data set is what its entry says, and what its folder has beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from suite import adhoc, packed
from suite.adhoc import Place
from suite.dataset import Dataset
from suite.index import PIXELWISE, Index, LayoutError, images, locate, some


@dataclass(frozen=True)
class Found:
    """What a look at a data set gave: lines to tell, and lines that say what is amiss."""

    told: list[str]
    faults: list[str]


def look(place: Place) -> Found:
    """What a data set's index says, without any of its images being opened."""
    try:
        index = adhoc.read(place.layout, place.root)
        beside = extra(index, place.root)
    except LayoutError as fault:
        return Found([], [str(fault)])
    counts = ", ".join(f"{split} {len(rows.items)}" for split, rows in index.splits.items())
    told = [f"{index.kind}, {len(index.classes)} classes; {counts}"]
    told += [f"left out by its layout: {why} {count}" for why, count in index.dropped.items()]
    told += [f"{len(beside)} images in its folder are in no split ({some(beside)})"] if beside else []
    told += [f"packed in {packed.folder(place.root)}"] if packed.holds(place.root, place.layout) else []
    faults = differences(place.published, index) if place.published else []
    if place.published and not faults:
        told.append("classes and counts are the published ones")
    return Found(told, faults)


def differences(dataset: Dataset, index: Index) -> list[str]:
    """How an index differs from what its entry says of kind, classes and images; [] where in nothing."""
    counts = {split: len(rows.items) for split, rows in index.splits.items()}
    told = {"kind": dataset.kind, "classes": dataset.classes, "images": dict(dataset.counts)}
    seen = {"kind": index.kind, "classes": len(index.classes), "images": counts}
    return [f"has {what} {seen[what]}, but the dataset has {told[what]}" for what in told if seen[what] != told[what]]


def files(index: Index) -> list[str]:
    """The files of all images and masks of an index, each once, in its order; of rows in a file, that file."""
    listed: dict[str, None] = {}
    for split in index.splits.values():
        listed.update(dict.fromkeys(_labelled(index, split.items, split.labels)))
    return list(listed)


def extra(index: Index, root: Path) -> list[str]:
    """The images in a data set's folder that are in no split, nor masks of one; none where the folder is packed."""
    if not root.is_dir():
        return []
    named = set(files(index))
    return [image for image in images(root) if image not in named]


def _labelled(index: Index, items: list[str], labels: Iterable[object]) -> Iterable[str]:
    yield from (locate(item)[0] for item in items)
    if index.kind in PIXELWISE:
        yield from map(str, labels)
