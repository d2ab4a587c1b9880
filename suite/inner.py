"""Where a data set lies: right in the folder that was named, or in one in it, as its archive unpacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from suite.index import unlike


def prefix(root: Path, names: Iterable[str], fits: Callable[[Path], bool]) -> str | None:
    """What stands before the data set's own paths: "" where the root fits, "NAME/" where that folder in it does, None
    where neither."""
    return next((prefix for prefix in ("", *(f"{name}/" for name in names)) if fits(root / prefix)), None)


def required(root: Path, prefix: str | None, expected: str) -> str:
    """The prefix; LayoutError where there is none, which says what was expected."""
    if prefix is None:
        raise unlike(root, expected)
    return prefix
