"""Loader: batches made in threads; and the clock that says which share of the time the network waited for them."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

Item = TypeVar("Item")
Made = TypeVar("Made")


class Loader:
    """Makes batches for one device in `cores` threads; `waited` adds up the seconds in which a batch was waited for."""

    def __init__(self, cores: int, device: torch.device) -> None:
        self.device, self.waited = device, 0.0
        self._pool, ready = ThreadPoolExecutor(cores), Barrier(cores + 1)

        def begin() -> None:
            torch.set_num_threads(1)
            ready.wait()

        for _ in range(cores):
            self._pool.submit(begin)
        ready.wait()
        # OpenMP's number of threads is each thread's own, MKL's is the process's: without this a solver would run on
        # one core after features were extracted and on all where they lay in the store, and end with other numbers.
        torch.set_num_threads(cores)

    def batches(self, make: Callable[[Item], Made], items: Iterable[Item], size: int) -> Iterator[list[Made]]:
        """make(item) for each item, in order, `size` at a time."""
        made = self._made(make, items, size)
        try:
            while (batch := self._next(made)) is not None:
                yield batch
        finally:
            made.close()

    def _next(self, made: Iterator[list[Made]]) -> list[Made] | None:
        began = time.monotonic()
        try:
            return next(made, None)
        finally:
            self.waited += time.monotonic() - began

    def _made(self, make: Callable[[Item], Made], items: Iterable[Item], size: int) -> Iterator[list[Made]]:
        """Beside a GPU two more batches are made ahead while the network works. On a CPU they are not: the network has
        all the cores then, and two that fight over them are slower than one after the other."""
        left = iter(items)
        groups = iter(lambda: list(itertools.islice(left, size)), [])
        queue: deque[list[Future[Made]]] = deque()
        try:
            for group in groups:
                queue.append([self._pool.submit(make, item) for item in group])
                if len(queue) > (2 if self.device.type == "cuda" else 0):
                    yield [made.result() for made in queue.popleft()]
            while queue:
                yield [made.result() for made in queue.popleft()]
        finally:
            for made in itertools.chain.from_iterable(queue):
                made.cancel()


class Clock:
    """Seconds since it was made, and of them those in which a loader was waited for; it can go on from earlier ones."""

    def __init__(self, loader: Loader, seconds: float = 0.0, waiting: float = 0.0) -> None:
        self._loader, self._began, self._waited = loader, time.monotonic() - seconds, loader.waited - waiting

    def read(self) -> dict[str, float]:
        return {"seconds": time.monotonic() - self._began, "waiting": self._loader.waited - self._waited}

    @property
    def share(self) -> float:
        """Which part of the time was spent waiting, 0 to 1."""
        spent = self.read()
        return round(spent["waiting"] / max(spent["seconds"], 1e-9), 4)

    def told(self, images: int) -> str:
        return f"{images / self.read()['seconds']:.0f} images/s, {100 * self.share:.0f} % waiting for data"
