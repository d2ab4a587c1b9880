"""Store: the one folder on disk that matters. Files in it appear whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.entry import Refusal


@dataclass(frozen=True)
class Store:
    """Where things are: `data/ weights/ images/ features/ results/ logs/` under one root."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def features(self) -> Path:
        return self.root / "features"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def tables(self) -> Path:
        return self.root / "tables"


def write_text(path: Path, text: str) -> None:
    """Writes `path` whole, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `path` whole: aside, to disk, then moved into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(aside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, whole. NaN is refused: a result that is not a number is a failure, not a value."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in `path`, or None where there is no such file. Refusal where it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise Refusal(f"{path} is not JSON: move it away") from None


@contextmanager
def lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds `path` as a lock; with `wait=False` yields False where somebody else holds it. Freed if the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
