"""Where a data set lies: right in the folder that was named, or in one in it, as its archive unpacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path


def prefix(root: Path, names: Iterable[str], fits: Callable[[Path], bool]) -> str | None:
    """What stands before the data set's own paths: "" where the root fits, "NAME/" where that folder in it does, None
    where neither."""
    return next((prefix for prefix in ("", *(f"{name}/" for name in names)) if fits(root / prefix)), None)
