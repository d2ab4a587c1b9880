"""Work: cells -> the arrays that run them on a cluster, with what is known of each cell."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from slurm import engine, faults, package, scheduler
from slurm.array import Array, Limits, arrays, estimated
from slurm.cluster import Cluster, asks, ranks
from slurm.scheduler import Outage
from suite import attempt, image, product
from suite.bundle import Ask, bundles
from suite.cell import Cell
from suite.entry import Refusal
from suite.estimate import Estimate
from suite.store import Store
from suite.task import Task

Notes = Mapping[str, Sequence[Mapping[str, Any]]]
Why = Mapping[str, Any]  # a cell cannot be sent: its error's `kind` and `message`, and what it is for want of


@dataclass(frozen=True)
class Work:
    """Arrays to send. `needs` says for a cell whose result it waits for, `sources` on how many past results of each
    task the estimate rests, `limits` what the site takes; `notes` go into the cells' histories when it is sent."""

    arrays: Sequence[Array]
    needs: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    notes: Notes = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        cluster: Cluster,
        store: Store,
        cells: Sequence[Cell],
        *,
        needs: Mapping[str, str],
        limits: Limits,
        notes: Notes | None = None,
    ) -> Work:
        """What runs `cells`. Jobs ask for what their task says, or for what past results and faults say better. Refusal
        where a container could not be told of a path that they need."""
        if cluster.runtime:
            engine.check(cluster, store, cells)
        estimate = Estimate(store.results, cells)
        noted: Notes = {} if notes is None else notes
        histories = {cell.key: [*attempt.history(store.results / cell.key), *noted.get(cell.key, ())] for cell in cells}

        def ask(cell: Cell) -> Ask:
            usual = asks(cluster, cell.resources)
            if ranks(usual) > 1 and cluster.scheduler and not cluster.srun:
                raise Refusal(f"{cell.task.name} runs in {ranks(usual)} ranks, but the entry says srun=False")
            history = histories[cell.key]
            memory = max(faults.memory(history), estimate.memory_gb(cell, usual.memory_gb))
            return Ask(replace(usual, memory_gb=memory, minutes=0), faults.avoid(history))

        def minutes(cell: Cell) -> float:
            return max(estimate.minutes(cell), estimated(2 * faults.minutes(histories[cell.key])))

        made = arrays(cluster, bundles(cells, minutes, ask), needs=needs, limits=limits)
        return cls(made, needs, estimate.sources, limits, noted)

    @classmethod
    def asked(
        cls, cluster: Cluster, store: Store, cells: Sequence[Cell], *, among: Sequence[Cell], dry: bool = False
    ) -> Work:
        """What runs `cells`, which somebody asked for and which may wait for others `among` the grid's: faults that
        befell them before count no more."""
        notes = {cell.key: noted for cell in cells if (noted := _before(store, cell.key))}
        limits = _limits(cluster, dry) if cells else Limits()
        return cls.of(cluster, store, cells, needs=product.needs(among), limits=limits, notes=notes)


def blocked(cluster: Cluster, store: Store, cells: Sequence[Cell]) -> dict[str, Why]:
    """key -> why, for the cells whose image is not there; outside containers, for those whose packages are not."""
    tasks = {cell.task.name: cell.task for cell in cells}.values()
    find = _without_image if cluster.runtime else _without_packages
    why = {task.name: found for task in tasks if (found := find(cluster, store, task))}
    return {cell.key: why[cell.task.name] for cell in cells if cell.task.name in why}


def _without_image(cluster: Cluster, store: Store, task: Task) -> Why | None:
    told = image.absent(store, task.image, cluster.runtime)
    what = {"image": task.image, "runtime": cluster.runtime}
    return {"kind": attempt.NO_IMAGE, "message": told, **what} if told else None


def _without_packages(cluster: Cluster, store: Store, task: Task) -> Why | None:
    python = package.python(cluster)
    absent = package.missing(python, task.needs)
    told = f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed for {python}: "
    told += f"{package.remedy(absent)}{package.elsewhere(python)}, or run in an image: "
    told += "`runtime` in the cluster's entry" if cluster.scheduler else "--cluster apptainer"
    what = {"packages": absent, "python": python}
    return {"kind": attempt.NO_PACKAGE, "message": told, **what} if absent else None


def reasons(why: Mapping[str, Why]) -> Iterator[str]:
    """A line for every reason why cells are blocked."""
    count = Counter(one["message"] for one in why.values())
    yield from (f"blocked: {number} cells: {told}" for told, number in count.items())


def outdated(cluster: Cluster, store: Store, cells: Sequence[Cell]) -> list[str]:
    """A line for every image of `cells` whose recipe is not this checkout's."""
    names = sorted({cell.task.image for cell in cells}) if cluster.runtime else []
    there = [image.current(store, name, cluster.runtime) for name in names]
    told = "is of another recipe than this checkout's; to make it anew: launch.py build"
    return [f"image {one.file} {told} {one.name}" for one in there if one and one.stale]


def block(store: Store, why: Mapping[str, Why]) -> None:
    """Records that cells wait for their image or packages, until `grid` is called again and these are there; and,
    before that takes its place, why they had failed."""
    for key, told in why.items():
        before = attempt.error(store.results / key)
        if not before or before["kind"] not in attempt.UNSENT:
            for entry in _before(store, key):
                attempt.note(store.results / key, **entry)
        attempt.fail(store.results / key, key=key, **told, at=time.time())


def _before(store: Store, key: str) -> list[dict[str, Any]]:
    """What a cell's history gets when it is asked for again: how it stands, if that says what to ask for, and that."""
    error = attempt.error(store.results / key)
    if not error and not attempt.history(store.results / key) and not attempt.left(store, key, since=0.0):
        return []
    asked: dict[str, Any] = {name: error[name] for name in ("memory_gb", "minutes") if name in error} if error else {}
    last = [{"fault": error["kind"], "did": "none", **asked}] if error and asked else []
    return [*last, {"fault": faults.ASKED, "did": "sent by grid"}]


def _limits(cluster: Cluster, dry: bool) -> Limits:
    """What the cluster takes; for a dry run where Slurm is not at hand, Slurm's defaults."""
    if cluster.scheduler != "slurm":
        return Limits()
    try:
        return scheduler.limits(cluster.window)
    except (Outage, Refusal) as trouble:
        if dry:
            return Limits()
        raise Refusal(f"cluster {cluster.name}: {trouble}") from None
