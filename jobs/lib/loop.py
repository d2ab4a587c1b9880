"""Loop: the steps of a long training, which may be killed at any time, and goes on with an unbroken one's numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from jobs.lib import interrupt
from jobs.lib.failure import Diverged
from jobs.lib.interrupt import Interrupted
from jobs.lib.loader import Clock
from jobs.lib.workspace import Workspace
from suite.cell import Cell

SAID_SECONDS = 10.0


class Stateful(Protocol):
    def state_dict(self) -> Any: ...
    def load_state_dict(self, state: Any) -> Any: ...


class Loop:
    """`steps` steps of `batch` images, of which the state lies in `parts` and in `more`, numbers and the like."""

    def __init__(self, cell: Cell, workspace: Workspace, steps: int, batch: int, parts: Mapping[str, Stateful]) -> None:
        self.ranks, self.steps, self.batch, self.parts = workspace.ranks, steps, batch, parts
        self._checkpoint = workspace.checkpoint(cell)
        # Rank 0 reads for all: another machine may still see an older file.
        found = self.ranks.same(self._checkpoint.load() if self.ranks.first else None)
        self.first: int = found["step"] if found else 0
        self.more: dict[str, Any] = found["more"] if found else {}
        for name, part in parts.items() if found else ():
            part.load_state_dict(found["parts"][name])
        if self.first and self.ranks.first:
            print(f"goes on from step {self.first}", flush=True)
        self._clock, self._said = Clock(workspace.loader), time.monotonic()

    def after(self, step: int, loss: torch.Tensor, more: str = "") -> None:
        """To be called by all ranks after each step: says how it goes, saves what is due. Diverged where the loss is
        not finite; Interrupted, once all is saved, where this process is asked to go."""
        last, leaving = step + 1 == self.steps, self.ranks.any(interrupt.asked())
        if ((step + 1) % 10 == 0 or last or leaving) and not math.isfinite(loss.item()):
            raise Diverged(f"the loss is {loss.item()} at step {step + 1} of {self.steps}")
        if self.ranks.first:
            if last or leaving or time.monotonic() - self._said > SAID_SECONDS:
                images = (step + 1 - self.first) * self.batch
                told = ", ".join(filter(None, (f"loss {loss.item():.4f}", more, self._clock.told(images))))
                print(f"step {step + 1}/{self.steps}, {told}", flush=True)
                self._said = time.monotonic()
            if last or leaving or self._checkpoint.due():
                parts = {name: part.state_dict() for name, part in self.parts.items()}
                self._checkpoint.save({"step": step + 1, "parts": parts, "more": self.more})
        if leaving:
            raise Interrupted(f"checkpoint saved: step {step + 1}")
