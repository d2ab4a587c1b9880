"""Bundle: cells that one process runs one after another, because they share what is dear."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from suite.cell import Cell
from suite.task import Resources


@dataclass(frozen=True)
class Bundle:
    """Cells of one image and one resource shape; frozen-feature cells of one model on one dataset stay together."""

    image: str
    resources: Resources
    cells: tuple[Cell, ...]
    minutes: float

    @property
    def keys(self) -> list[str]:
        return [cell.key for cell in self.cells]


def bundles(cells: Iterable[Cell], minutes: Callable[[Cell], float]) -> list[Bundle]:
    """Groups `cells` in their order; `minutes` estimates one cell."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        shared = (cell.dataset.name, cell.model.name) if cell.task.frozen else (cell.key,)
        groups.setdefault((cell.task.image, cell.task.resources, *shared), []).append(cell)
    return [
        Bundle(group[0].task.image, group[0].task.resources, tuple(group), sum(map(minutes, group)))
        for group in groups.values()
    ]
