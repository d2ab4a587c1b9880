"""Product: what one cell leaves in the store for others to work with, and who waits for it."""

from __future__ import annotations

from collections.abc import Iterable

from suite.cell import Cell


def needs(cells: Iterable[Cell]) -> dict[str, str]:
    """key -> key of that one of `cells` whose product it works with. Where none of them makes it, a cell makes its own
    (a frozen task extracts the features that it does not find), and waits for nobody."""
    cells = list(cells)
    makers = {_features(cell): cell.key for cell in cells if cell.task.makes == "features"}
    return {
        cell.key: makers[_features(cell)]
        for cell in cells
        if cell.task.frozen and not cell.task.makes and _features(cell) in makers
    }


def _features(cell: Cell) -> tuple[str, str, object]:
    return cell.dataset.name, cell.model.name, cell.task.settings.get("precision")
