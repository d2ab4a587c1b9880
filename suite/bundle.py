"""Bundle: cells that one process runs one after another, because they share what is dear."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from suite.cell import Cell
from suite.task import Resources


@dataclass(frozen=True)
class Ask:
    """What the job of a cell asks for, and the nodes where it must not run again."""

    resources: Resources
    avoid: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """Cells of one image and one resource shape; frozen-feature cells of one model on one dataset stay together, so
    that features are extracted where they are used. The job asks for the largest memory among them."""

    image: str
    ask: Ask
    cells: tuple[Cell, ...]
    minutes: float

    @property
    def keys(self) -> list[str]:
        return [cell.key for cell in self.cells]


def bundles(
    cells: Iterable[Cell], minutes: Callable[[Cell], float], ask: Callable[[Cell], Ask] | None = None
) -> list[Bundle]:
    """Groups `cells` in their order; `minutes` estimates one cell, `ask` says what its job asks for (default: what its
    task says)."""
    groups: dict[tuple[object, ...], list[tuple[Cell, Ask]]] = {}
    for cell in cells:
        asked = ask(cell) if ask else Ask(cell.resources)
        shape = replace(asked.resources, memory_gb=0, minutes=0)
        shared = (cell.dataset.name, cell.model.name) if cell.task.frozen else (cell.key,)
        groups.setdefault((cell.task.image, shape, asked.avoid, *shared), []).append((cell, asked))
    found = []
    for group in groups.values():
        own, asks = zip(*group, strict=True)
        memory = max(asked.resources.memory_gb for asked in asks)
        asked = replace(asks[0], resources=replace(asks[0].resources, memory_gb=memory))
        found.append(Bundle(own[0].task.image, asked, own, sum(map(minutes, own))))
    return found
