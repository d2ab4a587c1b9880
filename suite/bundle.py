"""Bundle: cells that one process runs one after another, because they share what is dear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from suite.cell import Cell
from suite.task import Resources

MOST_CELLS = 200  # of one process: its command line and its log stay of a size


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

    @property
    def frozen(self) -> bool:
        return bool(self.cells) and all(cell.task.frozen for cell in self.cells)


def bundles(
    cells: Iterable[Cell], minutes: Callable[[Cell], float], ask: Callable[[Cell], Ask] | None = None
) -> list[Bundle]:
    """Groups `cells` in their order; `minutes` estimates one cell, `ask` says what its job asks for (default: what its
    task says)."""
    groups: dict[tuple[object, ...], list[tuple[Cell, Ask]]] = {}
    for cell in cells:
        asked = ask(cell) if ask else Ask(cell.resources)
        shape = _shape(asked)
        shared = (cell.dataset.name, cell.model.name) if cell.task.frozen else (cell.key,)
        groups.setdefault((cell.task.image, shape, asked.avoid, *shared), []).append((cell, asked))
    found = []
    for group in groups.values():
        own, asks = zip(*group, strict=True)
        found.append(Bundle(own[0].task.image, _largest(asks), own, sum(map(minutes, own))))
    return found


def joined(bundles: Iterable[Bundle]) -> list[Bundle]:
    """Bundles that one array task runs, those on frozen features that follow one another as one: a process that has
    loaded torch does many a probe in the time that the next one needs to do so. Others, which run for long and may
    leave more behind, keep a process of their own."""
    found: list[Bundle] = []
    for bundle in bundles:
        last = found[-1] if found else None
        if (
            last
            and last.frozen
            and bundle.frozen
            and (last.image, _shape(last.ask), last.ask.avoid) == (bundle.image, _shape(bundle.ask), bundle.ask.avoid)
            and len(last.cells) + len(bundle.cells) <= MOST_CELLS
        ):
            cells, minutes = (*last.cells, *bundle.cells), last.minutes + bundle.minutes
            found[-1] = Bundle(last.image, _largest((last.ask, bundle.ask)), cells, minutes)
        else:
            found.append(bundle)
    return found


def _shape(asked: Ask) -> Resources:
    return replace(asked.resources, memory_gb=0, minutes=0)


def _largest(asks: Sequence[Ask]) -> Ask:
    """Of one shape, with the largest memory."""
    memory = max(asked.resources.memory_gb for asked in asks)
    return replace(asks[0], resources=replace(asks[0].resources, memory_gb=memory))
