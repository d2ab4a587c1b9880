"""Checkpoint: the state of a long program, whole on disk, from where the next process goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch

NAME = "checkpoint.pt"


class Checkpoint:
    """One file in a cell's folder, there until its result is. One of another `identity` is ignored."""

    def __init__(self, folder: Path, identity: Any, every_seconds: float) -> None:
        self.path, self.identity, self.every = folder / NAME, identity, every_seconds
        self.saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last, on the CPU, or None. What a killed process was writing is cleared away."""
        for unfinished in self.path.parent.glob(f".{self.path.name}.*"):
            unfinished.unlink(missing_ok=True)
        if not self.path.exists():
            return None
        found = torch.load(self.path, map_location="cpu", weights_only=True)
        return found["state"] if found["identity"] == self.identity else None

    def due(self) -> bool:
        return time.monotonic() - self.saved >= self.every

    def save(self, state: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with open(aside, "wb") as file:
            torch.save({"identity": self.identity, "state": state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self.path)
        self.saved = time.monotonic()
