"""Cluster: a place to run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from suite.bundle import Bundle

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Cluster:
    """`slots` is how many jobs run side by side, `python` the interpreter that has the jobs' packages ('' = this one),
    `hours` the longest that a job may take."""

    name: str
    store: str = "./store"
    slots: int = 1
    python: str = ""
    hours: float = 24.0 * 365


def command(cluster: Cluster, keys: Sequence[str], store: Path, commit: str) -> list[str]:
    """The one command that crosses from the host to the program."""
    python = cluster.python or sys.executable
    return [python, "-m", "jobs", *keys, "--store", str(store), "--commit", commit]


def arrays(cluster: Cluster, bundles: Sequence[Bundle]) -> list[list[list[Bundle]]]:
    """Bundles -> arrays -> array tasks, each a list of bundles to run in turn.

    Without a scheduler there is one array of `slots` tasks, filled so that all end at about the same time.
    """
    return [_pack(bundles, cluster.slots)] if bundles else []


def _pack(bundles: Sequence[Bundle], slots: int) -> list[list[Bundle]]:
    tasks: list[list[Bundle]] = [[] for _ in range(min(slots, len(bundles)))]
    load = [0.0] * len(tasks)
    for bundle in sorted(bundles, key=lambda b: -b.minutes):
        lightest = load.index(min(load))
        tasks[lightest].append(bundle)
        load[lightest] += bundle.minutes
    return tasks
