"""Live: what is shown while cells run (rich); states in, by polling, until there is nothing to wait for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from suite import show


class State(Protocol):
    """What is shown of a cell."""

    @property
    def name(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def ended(self) -> bool: ...


S = TypeVar("S", bound=State)
POLL_SECONDS = 0.5
REFRESH_SECONDS = 2.0


def wait(
    console: Console,
    see: Callable[[Sequence[str]], Mapping[str, S]],
    keys: Sequence[str],
) -> dict[str, S]:
    """A bar until every cell has ended: its last states. Ctrl-C leaves the jobs alone and exits with 130."""
    last: dict[str, S] = {}
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as bar:
        line = bar.add_task("", total=len(keys))
        try:
            while waiting := [key for key in keys if key not in last]:
                now = see(waiting)
                new = {key: state for key, state in now.items() if state.ended}
                last |= new
                for key, state in new.items():
                    if state.name == "failed":
                        console.print(f"[red]failed[/] {key}: {state.reason}", highlight=False, soft_wrap=True)
                running = [key for key, state in now.items() if state.name == "running"]
                bar.update(line, completed=len(last), description=running[0] if running else "")
                time.sleep(POLL_SECONDS if len(last) < len(keys) else 0)
        except KeyboardInterrupt:
            console.print("the jobs go on; see: launch.py status")
            sys.exit(130)
    return last


def watch(
    console: Console, see: Callable[[], Mapping[str, S]], reasons: Callable[[Mapping[str, S]], Sequence[str]]
) -> Mapping[str, S]:
    """The table of states and the reasons, renewed until nothing is on its way, or Ctrl-C."""
    now: Mapping[str, S] | None = None
    with Live(console=console, auto_refresh=False) as shown, suppress(KeyboardInterrupt):
        while now is None or not all(state.ended for state in now.values()):
            time.sleep(0 if now is None else REFRESH_SECONDS)
            now = see()
            named = {key: state.name for key, state in now.items()}
            shown.update(Group(show.states(named), *reasons(now)), refresh=True)
    return now or {}


@contextmanager
def bars(unit: str) -> Iterator[tuple[Callable[[str], AbstractContextManager[Callable[[int, int], None]]], Any]]:
    """A line for each name, which shows how far it is in bytes or in images; and what prints a line above it."""
    columns = [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]
    with Progress("{task.description}", BarColumn(), *columns) as bar:

        @contextmanager
        def line(name: str) -> Iterator[Callable[[int, int], None]]:
            own = bar.add_task(name, total=None)
            yield lambda done, size: bar.update(own, completed=done, total=size or None)
            bar.remove_task(own)

        yield line, partial(bar.console.print, soft_wrap=True, markup=False, highlight=False)
