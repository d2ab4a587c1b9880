"""Estimate: how long a cell will take and how much memory, from past results of the same task and backbone."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from suite import result
from suite.cell import Cell
from suite.entry import Refusal

FEW = 5  # results of one task and model are read, or one a dataset where the cells are on more of them ...
MOST = 2000  # ... as long as that makes no more than this in all
OTHERS = 20  # results of a task's other models are read where one of the cells' models has none
TRIES = 4  # folders are looked into for one result: those of failed cells hold none
SPARE = 1.5  # times the most memory that was ever used
LEAST_GB = 2.0


@dataclass(frozen=True)
class _Past:
    dataset: str
    minutes: float
    peak_gb: float  # 0 where the result does not say


class Estimate:
    """Minutes and memory of a cell; `sources` says for each task label how many past results they rest on."""

    def __init__(self, results: Path, cells: Iterable[Cell]) -> None:
        wanted: dict[str, dict[str, dict[str, None]]] = {}  # label -> model -> datasets of the cells, in order
        for cell in cells:
            models = wanted.setdefault(cell.task.label, {})
            models.setdefault(cell.model.name, {})[cell.dataset.name] = None
        share = MOST // max(sum(map(len, wanted.values())), 1)
        self.sources: dict[str, int] = {}
        self._minutes: dict[tuple[str, ...], float] = {}  # by label; label, model; label, model, dataset
        self._memory_gb: dict[tuple[str, ...], float] = {}
        for label, models in wanted.items():
            there = _datasets(f"{results}/{label}")
            everything: list[_Past] = []
            for model, own in models.items():
                datasets = sorted(there.get(model, ()), key=lambda name, own=own: name not in own)
                past = _read(results, [f"{label}/{d}/{model}" for d in datasets], max(FEW, min(len(own), share)))
                self._note(label, model, past)
                everything += past
            if any((label, model) not in self._minutes for model in models):
                folders = [f"{label}/{d}/{model}" for model in there if model not in models for d in there[model]]
                drawn = Random(label).sample(folders, min(len(folders), TRIES * OTHERS))
                everything += _read(results, drawn, OTHERS)
            if everything:
                self._minutes[label,] = median(one.minutes for one in everything)
            self.sources[label] = len(everything)

    def minutes(self, cell: Cell) -> float:
        """The median of past results of the task: with this model on this dataset, else with this model, else with
        any; without any, the task's own guess."""
        names = (cell.task.label, cell.model.name, cell.dataset.name)
        for known in (names, names[:2], names[:1]):
            if known in self._minutes:
                return self._minutes[known]
        return cell.resources.minutes

    def memory_gb(self, cell: Cell, usual: float) -> float:
        """Host memory to ask for: a power of two above what the task ever used with this model. Only results on this
        dataset speak for less than the `usual`: another one may be far smaller."""
        names = (cell.task.label, cell.model.name, cell.dataset.name)
        return self._memory_gb.get(names) or max(self._memory_gb.get(names[:2], 0.0), usual)

    def _note(self, label: str, model: str, past: list[_Past]) -> None:
        groups: dict[tuple[str, ...], list[_Past]] = {(label, model): past} if past else {}
        for one in past:
            groups.setdefault((label, model, one.dataset), []).append(one)
        for names, own in groups.items():
            self._minutes[names] = median(one.minutes for one in own)
            if peak := max(one.peak_gb for one in own):
                self._memory_gb[names] = 2.0 ** math.ceil(math.log2(max(SPARE * peak, LEAST_GB)))


def _datasets(folder: str) -> dict[str, list[str]]:
    """The datasets of each model, under the results of one task."""
    found: dict[str, list[str]] = {}
    for dataset in _names(folder):
        for model in _names(f"{folder}/{dataset}"):
            found.setdefault(model, []).append(dataset)
    return found


def _read(results: Path, folders: Iterable[str], most: int) -> list[_Past]:
    """Up to `most` results under folders LABEL/DATASET/MODEL."""
    tried = islice(_in_turn([_seeds(results, folder) for folder in folders]), TRIES * most)
    return list(islice((past for key in tried if (past := _past(results, key))), most))


def _in_turn(several: list[Iterator[str]]) -> Iterator[str]:
    """The first of each, then the second of each, and so on; nothing is looked up before its turn."""
    while several:
        left = []
        for one in several:
            for key in islice(one, 1):
                yield key
                left.append(one)
        several = left


def _seeds(results: Path, folder: str) -> Iterator[str]:
    yield from (f"{folder}/{seed}" for seed in _names(f"{results}/{folder}"))


def _past(results: Path, key: str) -> _Past | None:
    """What a result says; None where there is none, or none that can be read (`status` says so)."""
    try:
        found = result.read(results, key)
    except (Refusal, OSError):
        return None
    seconds = _number(found, "seconds")
    return _Past(key.split("/")[1], seconds / 60, _number(found, "peak_gb")) if seconds else None


def _number(found: Any, name: str) -> float:
    """A positive number of a result, or 0."""
    value = found.get(name) if isinstance(found, dict) else None
    return float(value) if isinstance(value, (int, float)) and 0 < value < math.inf else 0.0


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
