"""A CSV file that lists images."""

import csv
from pathlib import Path

from suite.index import LayoutError, unlike


def rows(path: Path) -> list[list[str]]:
    """The lines of a file, its head among them, without empty ones; raises LayoutError."""
    if not path.is_file():
        raise unlike(path.parent, path.name)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LayoutError(f"{path}: cannot be read ({error}); expected a CSV file; bring it again") from None
