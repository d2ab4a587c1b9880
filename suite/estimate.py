"""Estimate: how long a cell will take, from past results of the same task where there are any."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import median

from suite import result
from suite.cell import Cell

ENOUGH = 20  # results of one task are read until there are this many


class Estimate:
    """Minutes of a cell; `sources` says for each task label how many past results it rests on."""

    def __init__(self, results: Path, labels: Iterable[str]) -> None:
        seconds: dict[str, list[float]] = {label: [] for label in labels}
        for key in result.keys(results) if seconds else ():
            label = key.split("/", 1)[0]
            if len(seconds.get(label, "x" * ENOUGH)) < ENOUGH and (found := result.read(results, key)):
                seconds[label].append(found["seconds"])
        self.sources = {label: len(past) for label, past in seconds.items()}
        self._minutes = {label: median(past) / 60 for label, past in seconds.items() if past}

    def minutes(self, cell: Cell) -> float:
        return self._minutes.get(cell.task.label, cell.task.resources.minutes)
