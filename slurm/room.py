"""Room: how much can be written to a folder."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """A folder that much is written to: the variable or setting that moves it, the room in it in GB, whether that is
    memory, and why nothing can be written there."""

    name: str
    path: str
    gb: float
    memory: bool = False
    trouble: str = ""


def place(name: str, path: str, *, made: bool = True, closed: bool = False) -> Place:
    """A folder and its room. One that is `made` by its user need not be there; to a `closed` one, others write."""
    trouble = "" if made or os.path.isdir(path) else "is not there"
    above = Path(path).absolute()
    while not os.path.isdir(above):
        above = above.parent
    if not (trouble or closed or os.access(above, os.W_OK | os.X_OK)):
        trouble = "cannot be written"
    free, memory = shutil.disk_usage(above).free, filesystem(above) in ("tmpfs", "ramfs")
    if memory:
        told = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        free = min(free, 1024 * int(told[1])) if told else free
    return Place(name, path, round(free / 1e9, 1), memory, trouble)


def filesystem(folder: Path) -> str:
    """The type of the file system that a folder is on."""
    best, kind, path = -1, "", folder.resolve()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, rest = line.partition(" - ")
        point = Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), mount.split()[4]))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), rest.split()[0]
    return kind
