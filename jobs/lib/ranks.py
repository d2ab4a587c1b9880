"""Ranks: the processes, one a GPU, that work together at one cell; alone, each of their ways to meet costs nothing.

Rank 0 leads: it alone locks, prints, and writes. It says which cell is run, and leaves first; the others follow. If one
of them ends before its time, every other one ends soon after, and rank 0 writes down why.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from jobs.lib import failure, interrupt, meeting
from jobs.lib.failure import RankEnded
from jobs.lib.meeting import Line, NotMet
from jobs.lib.norm import GlobalBatchNorm

BROKEN = os.EX_PROTOCOL  # 76: a cell failed in several ranks; its error is written, and the other cells need new ranks
GRACE_SECONDS = 3.0  # for a rank to end of itself once another one has
Value = TypeVar("Value")
Items = TypeVar("Items", bound=Sequence[Any])


class Ranks:
    """This process is number `rank` of `count`, and number `local` on its machine. `meet` is the file to meet at."""

    def __init__(self, rank: int = 0, count: int = 1, local: int = 0, meet: Path | None = None) -> None:
        self.rank, self.count, self.local, self.meet = rank, count, local, meet
        self.first = rank == 0
        self.broken = False
        self._lost: Callable[[RankEnded], None] = _say
        self._lines: dict[int, Line] = {}
        self._ended: RankEnded | None = None
        self._somebody_ended, self._leaving = threading.Event(), threading.Event()
        self._keys: queue.SimpleQueue[str] = queue.SimpleQueue()

    # What the main program says

    def start(self, key: str) -> None:
        """Rank 0: the others run the program of this cell too."""
        self._open()
        for line in self._lines.values():
            line.say(run=key)

    def next(self) -> str:
        """The other ranks: the key of the cell that rank 0 starts next, or '' where there is none."""
        self._open()
        key = self._keys.get()
        if not key:
            self._keys.put("")  # the end stays the end
        if self._ended:
            raise self._ended
        return key

    def leave(self) -> None:
        """Ends what has gone well. Whoever looks after the ranks may end all when one ends: rank 0 is the first to."""
        if self.count == 1 or (interrupt.asked() and not self._lines):
            return
        try:
            self._open()
        except NotMet as why:  # no cell was run together, so there is nothing to end well
            print(f"rank {self.rank}: {why}", flush=True)
            return
        if self.first:
            self._leaving.set()
            for line in self._lines.values():
                line.say(over=True)
        else:
            while self.next():
                continue
            self._leaving.set()
        dist.destroy_process_group()
        for line in self._lines.values():
            line.close()

    @contextmanager
    def watched(self, lost: Callable[[RankEnded], None]) -> Iterator[None]:
        """Within it, `lost` is called (by another thread) before this process ends because another rank has."""
        self._lost = lost
        try:
            yield
        finally:
            self._lost = _say

    def cause(self, error: Exception) -> Exception:
        """Why this rank fails: the end of another one, if this error is but its echo."""
        self.broken = bool(self._lines) or isinstance(error, NotMet)
        if self._lines and isinstance(error, RuntimeError):
            self._somebody_ended.wait(GRACE_SECONDS)
            if self._ended:
                self._ended.__cause__ = error
                return self._ended
        return error

    def abandon(self, why: Exception) -> NoReturn:
        """Ends this process, and says to the others why. It waits for nothing that the others would have to do."""
        for line in self._lines.values():
            line.say(kind=failure.kind(why), message=failure.first_line(why))
        if self._lines and not self.first and not isinstance(why, RankEnded):
            self._somebody_ended.wait(10 * GRACE_SECONDS)  # rank 0 first: it has the reason to write down
        self._quit()

    # What programs say; each is called by all ranks, or by none

    def part(self, items: Items) -> Items:
        """This rank's items: neighbours, as many as any other rank's, or one more."""
        return items[len(items) * self.rank // self.count : len(items) * (self.rank + 1) // self.count]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any rank."""
        if self.count == 1:
            return flag
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def same(self, value: Value) -> Value:
        """Rank 0's value."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, 0, device=torch.device("cpu"))
        return values[0]

    def same_weights(self, network: nn.Module) -> None:
        """Gives every rank the parameters and buffers of rank 0: other machines may draw others from the same seed."""
        if self.count > 1:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, 0)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows of all ranks, on the CPU, in order."""
        return rows if self.count == 1 else torch.cat(self.all(rows))

    def led(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows of all ranks, on the CPU, in order, for rank 0 alone; the others get none."""
        if self.count == 1:
            return rows
        parts: list[Any] | None = [None] * self.count if self.first else None
        dist.gather_object(rows, parts)
        return torch.cat(parts) if parts else rows[:0]

    def all(self, value: Value) -> list[Value]:
        """The values of all ranks, in order."""
        if self.count == 1:
            return [value]
        values = [value] * self.count
        dist.all_gather_object(values, value)
        return values

    def normalising(self) -> AbstractContextManager[object]:
        """Within it, batch norm in training is over the batches of all ranks."""
        return nullcontext() if self.count == 1 else GlobalBatchNorm()

    def backward(self, loss: torch.Tensor, share: float, network: nn.Module) -> torch.Tensor:
        """Gradients of the loss over the batches of all ranks, and that loss; `share` of the images are this rank's.

        One flat sum rather than DistributedDataParallel: that averages ranks as if their batches were of one size, must
        be told of parameters without a gradient, and hides behind the backward pass what takes a few per cent here.
        """
        if self.count == 1:
            loss.backward()
            return loss
        loss = loss * share
        loss.backward()
        return self.summed(loss.detach(), network)

    def summed(self, loss: torch.Tensor, network: nn.Module) -> torch.Tensor:
        """Sums over all ranks what each has: gradients, and a loss."""
        if self.count == 1:
            return loss
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), loss[None]])
        dist.all_reduce(flat)
        *summed, total = flat.split([*(gradient.numel() for gradient in gradients), 1])
        for gradient, values in zip(gradients, summed, strict=True):
            gradient.copy_(values.view_as(gradient))
        return total[0]

    # How they meet, and watch over each other

    def _open(self) -> None:
        if self.count == 1 or self._lines:
            return
        if self.meet is None:
            raise NotMet(f"{self.count} ranks need a file to meet at: --meet FILE")
        if self.first:
            store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
            self._lines = meeting.host(self.meet, self.count, store=store.port)
        else:
            line, address, facts = meeting.join(self.meet, self.rank)
            store = dist.TCPStore(address, facts["store"], is_master=False)
            self._lines = {0: line}
        for rank, line in self._lines.items():
            threading.Thread(target=self._listen, args=(rank, line), daemon=True).start()
            if line.interface:  # the one that is known to reach the others; gloo would take that of the host's name
                os.environ.setdefault("GLOO_SOCKET_IFNAME", line.interface)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.count)

    def _listen(self, rank: int, line: Line) -> None:
        """In a thread: what another rank says, until it ends."""
        while "run" in (said := line.hear()):
            self._keys.put(said["run"])
        if "over" in said:
            self._keys.put("")
        elif not self._leaving.is_set():
            kind, message = said.get("kind", "killed"), said.get("message", "without a word")
            self._end(RankEnded(rank, kind, message))

    def _end(self, why: RankEnded) -> None:
        """Another rank has ended: so does this one, if need be in the middle of waiting for it."""
        self._ended = self._ended or why
        self._somebody_ended.set()
        self._keys.put("")
        if not self._leaving.wait(GRACE_SECONDS):
            self._lost(self._ended)
            self._quit()

    def _quit(self) -> NoReturn:
        sys.stdout.flush()
        # A rank that was asked to go may see rank 0 gone before it: that is no failure.
        os._exit(interrupt.EX_TEMPFAIL if interrupt.asked() and not self.first else BROKEN)


def _say(why: RankEnded) -> None:
    print(why, flush=True)
