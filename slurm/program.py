"""Program: one of jobs/ that is no cell, run on this machine and now, where cells run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from slurm.cluster import CHECKOUT, Cluster
from slurm.container import enter
from slurm.engine import entered
from suite import image
from suite.store import Store

IMAGE = "core"


@contextmanager
def command(
    cluster: Cluster, store: Store, words: Sequence[str], *, name: str, read: Sequence[Path] = ()
) -> Iterator[tuple[list[str], Path]]:
    """The command that runs Python with `words`, the cluster's or its image's, and the folder to run it in; in a
    container it may `read` these, too. Refusal where nothing is there to run it in (see `absent`)."""
    if not cluster.runtime:
        yield [cluster.python or sys.executable, *words], CHECKOUT
        return
    found = image.current(store, IMAGE, cluster.runtime)
    assert found
    there = replace(cluster, binds=(*cluster.binds, *map(str, read)))
    with entered(there, store, found, [], name=name) as inside:
        yield enter(cluster.runtime, inside, list(words)), Path("/")


def absent(cluster: Cluster, store: Store) -> str:
    """What such a program lacks here: '' where it can run."""
    if cluster.runtime:
        return image.absent(store, IMAGE, cluster.runtime)
    own = not cluster.python and find_spec("torch") is None
    return "torch in this Python (make setup, or a cluster's entry with a runtime and its image)" if own else ""
