"""Send: from a grid that was asked for to cells that are on their way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

from slurm import preview, status, work
from slurm.cluster import Cluster
from slurm.status import State
from suite import fetch, plan
from suite.catalog import Catalog
from suite.cell import Cell
from suite.grid import Grid
from suite.store import lock


@dataclass(frozen=True)
class Sent:
    """The cells of a grid, their states before what was missing was sent, why some are blocked (as their error.json has
    it), and the folders of data that cannot be read."""

    cells: list[Cell]
    states: dict[str, State]
    blocked: Mapping[str, Mapping[str, str]]
    bad: list[str]


def send(
    cluster: Cluster,
    known: Catalog,
    asked: Grid,
    tell: Callable[[str], None],
    *,
    every: bool = False,
    stale: bool = False,
    dry: bool = False,
    get: Callable[[str], None] | None = None,
) -> Sent:
    """Submits what is missing of a grid; `every` model of the store, `stale` results again. What is done, or, with
    `dry`, would be done, is told. `get` brings an image that cells need, by its name. Refusal on bad input."""
    named = {*asked.datasets, *(model.partition("@")[2].partition("~")[0] for model in asked.models)}
    for name in sorted(named.intersection(fetch.EMBEDDED)):
        fetch.EMBEDDED[name](known.store.data / known.datasets[name].path)
    planned, look = plan.plan(asked, known, every_model=every), status.Look()
    keys = [cell.key for cell in planned.cells]
    if get:
        before = status.states(known, keys, look=look)
        for name in sorted({cell.task.image for cell in planned.cells if before[cell.key].name != "done"}):
            get(name)
    # Two grids at once: the second sees what the first has sent.
    with nullcontext() if dry else lock(known.store.logs / ".submitting"):
        now = status.states(known, keys, look=look)
        again = {"absent", "failed", "blocked"} | ({"stale"} if stale else set())
        todo = [cell for cell in planned.cells if now[cell.key].name in again]
        why = work.blocked(cluster, known.store, todo)
        now |= {key: State("blocked", told["message"]) for key, told in why.items()}
        free = [cell for cell in todo if cell.key not in why]
        made = work.Work.asked(cluster, known.store, free, among=planned.cells, dry=dry)
        summary = preview.summary(planned, now, made)
        for line in [*summary, *work.reasons(why), *work.outdated(cluster, known.store, free)]:
            tell(line)
        if dry:
            tell("\n".join(preview.details(cluster, known.store, planned, now, made)))
            return Sent(planned.cells, now, why, planned.bad)
        known.record(todo)
        work.block(known.store, why)
        if free:
            from slurm.submit import submit

            sent = submit(cluster, known.store, made, asked=True)
            tell(f"submitted {len(free)} cells as {sent.folder.name}; see: launch.py status")
    return Sent(planned.cells, now, why, planned.bad)
