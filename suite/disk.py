"""Disk: room on it, and writing to it, told apart from what goes wrong with what is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from suite.entry import Refusal
from suite.store import lock

CHUNK = 1 << 20


def room(to: Path, size: int) -> None:
    """Refusal where `size` bytes more do not fit beside `to`."""
    free = shutil.disk_usage(to.parent).free
    if free < size:
        have = f"where {free / 1e9:.3g} GB are free"
        raise Refusal(f"{to.name} needs {size / 1e9:.3g} GB more in {to.parent}, {have}: make room there")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Makes a disk that is full, read-only or broken a Refusal: no other address would help."""
    try:
        yield
    except OSError as error:
        raise Refusal(f"{path}: cannot be written ({error.strerror}); see to the disk and its permissions") from None


@contextmanager
def mine(path: Path, waiting: str, tell: Callable[[str], object]) -> Iterator[None]:
    """Holds `path` as a lock; who has to wait for it is told so."""
    with lock(path, wait=False) as held:
        if held:
            yield
            return
    tell(waiting)
    with lock(path):
        yield


def pour(
    read: Callable[[int], bytes],
    to: Path,
    first: bytes = b"",
    told: Callable[[int], None] = lambda size: None,
    *,
    behind: bool = False,
) -> None:
    """Writes `first` and all that `read` gives to `to`, or `behind` what is there; `told` has the size as it grows."""
    with writing(to):
        file = open(to, "ab" if behind else "wb")  # noqa: SIM115
    with file:
        chunk = first or read(CHUNK)
        while chunk:
            with writing(to):
                file.write(chunk)
                file.flush()  # it is there after a kill
            told(file.tell())
            chunk = read(CHUNK)
        with writing(to):
            os.fsync(file.fileno())
