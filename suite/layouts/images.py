"""Images without labels, at any depth under one folder: what pre-training can learn from, and nothing else.

    **/*.jpg

All of them are the training split. A folder with images right in it is recognised; another one is named as images:PATH.
"""

import os
from pathlib import Path

from suite.index import IMAGE_EXTENSIONS, Index, Split, images, unlike

KIND = "images"
EXPECTED = "images, in it or in folders in it"


def recognise(root: Path) -> bool:
    """Whether there are images right in the folder, or in folders in it (a name is looked at, not each of millions)."""
    return any(_holds_one(folder) for folder, _, _ in os.walk(root)) if root.is_dir() else False


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    found = images(root) if root.is_dir() else []
    if not found:
        raise unlike(root, EXPECTED)
    return Index(KIND, [], {"train": Split(found, [0] * len(found))})


def _holds_one(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(IMAGE_EXTENSIONS) and entry.name[0] != "." for entry in entries)
