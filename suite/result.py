"""Result: what running a cell gave, and with what. Its file's existence is the cell's state."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from suite import entry
from suite.cell import Cell
from suite.dataset import Dataset
from suite.entry import Refusal
from suite.model import Model
from suite.task import Task


@dataclass(frozen=True)
class Metric:
    """One number: `value` with its 95 % interval [low, high], measured on `n` images or episodes."""

    name: str
    value: float
    low: float
    high: float
    n: int
    headline: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a task's program gives back. `settings` is what was chosen on validation; `details` is for the curious."""

    metrics: tuple[Metric, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def facts(cell: Cell) -> dict[str, str]:
    """Digests of the three entries of a cell: where one differs from a result's, that result is stale."""
    return {noun: fact(cell.task, noun, getattr(cell, noun)) for noun in ("task", "dataset", "model")}


def fact(task: Task, noun: str, value: Task | Dataset | Model) -> str:
    """The digest of one of a cell's entries. The weights that a task makes are what it gives, not what it is given."""
    made = noun == "model" and task.makes == "weights"
    return entry.digest(replace(value, weights=None) if made and isinstance(value, Model) else value)


def record(cell: Cell, outcome: Outcome, **how: Any) -> dict[str, Any]:
    """The JSON of a result; `how` says with what it was run (seconds, commit, image, versions, device ...)."""
    return {
        "key": cell.key,
        "metrics": entry.as_json(outcome.metrics),
        "settings": entry.as_json(outcome.settings),
        "details": entry.as_json(outcome.details),
        "facts": facts(cell),
        "task": entry.as_json(cell.task),
        "dataset": entry.as_json(cell.dataset),
        "model": entry.as_json(cell.model),
        "seed": cell.seed,
        **how,
    }


def keys(results: Path) -> Iterator[str]:
    """The key of every cell that left something under results/, in order."""

    def below(prefix: str, depth: int) -> Iterator[str]:
        with os.scandir(f"{results}/{prefix}") as found:
            names = sorted(e.name for e in found if e.is_dir())
        for name in names:
            if depth == 1:
                yield prefix + name
            else:
                yield from below(f"{prefix}{name}/", depth - 1)

    if results.is_dir():
        yield from below("", 4)


def read(results: Path, key: str) -> dict[str, Any] | None:
    """The result of a cell, or None. Refusal, with the path, where it is not JSON."""
    path = f"{results}/{key}/result.json"
    try:
        with open(path, "rb") as file:
            value: dict[str, Any] = json.loads(file.read())
    except FileNotFoundError:
        return None
    except ValueError:
        raise Refusal(f"{path} is not JSON: move it away, and the cell is run again") from None
    return value


def headlines(results: Path, cells: Iterable[Cell]) -> dict[tuple[str, str, str], float]:
    """(task label, dataset, model) -> mean of the headline over those of the cells' seeds that are done."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for cell in cells:
        if found := read(results, cell.key):
            group = values.setdefault((cell.task.label, cell.dataset.name, cell.model.name), [])
            group += [metric["value"] for metric in found["metrics"] if metric["headline"]]
    return {group: fmean(found) for group, found in values.items() if found}
