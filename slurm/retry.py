"""Retry: what the table of faults says about cells that failed or were lost, and the window of waiting arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slurm import scheduler, submit
from slurm.cluster import Cluster, find
from slurm.scheduler import Outage
from slurm.status import Look, State, states
from slurm.submission import Place, Submission, places, submissions
from slurm.work import Work
from suite import attempt
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.store import lock


def tend(known: Catalog, now: Mapping[str, State], look: Look) -> Iterator[str]:
    """Fills the window of every cluster and sends again what its policy says; yields what was done, a line each.
    Nothing where another launcher is at it."""
    sent = [one for one in submissions(known.store) if one.scheduler]
    if not sent:
        return
    with lock(known.store.logs / ".submitting", wait=False) as mine:
        sent = [one for one in submissions(known.store) if one.scheduler] if mine else []
        last = places(sent)
        maybe = [key for key, state in now.items() if key in last and state.again]
        now = {**now, **states(known, maybe, look=look)} if maybe else now  # another launcher may have been quicker
        again = {key: last[key] for key in maybe if now[key].again}
        for name in sorted({one.cluster for one in sent}):
            own = [one for one in sent if one.cluster == name]
            mended = {key: place for key, place in again.items() if place.sent.cluster == name}
            if mended or any(array.state != "sent" for one in own for array in one.arrays):
                try:
                    yield from _tend(find(name), known, own, mended, now, look)
                except (Outage, Refusal) as trouble:
                    yield f"{name}: {trouble}"


def _tend(
    cluster: Cluster,
    known: Catalog,
    sent: list[Submission],
    again: Mapping[str, Place],
    now: Mapping[str, State],
    look: Look,
) -> Iterator[str]:
    limits, queue = scheduler.limits(cluster.window), look.queue()
    if look.outage:
        raise Outage(look.outage)
    if count := submit.top_up(cluster, sent, queue, limits):
        yield f"{cluster.name}: sent {count} array tasks that had waited for room in the queue"
    if not again:
        return
    for key, place in again.items():
        told = attempt.error(known.store.results / key) or {}
        seen = queue.get((place.array.name, place.index))
        node = told.get("node") or (seen.node if seen else "")
        memory = told.get("memory_gb") or place.array.asked["memory_gb"]
        more = {"node": node, "memory_gb": memory, "job": place.job}
        attempt.note(known.store.results / key, now[key].fault, now[key].again, **more)
    needs = {key: place.sent.needs[key] for key, place in again.items() if key in place.sent.needs}
    work = Work.of(cluster, known.store, [known.cell(key) for key in again], needs=needs)
    name = submit.submit(cluster, known.store, work, now).folder.name
    for fault in sorted({now[key].fault for key in again}):
        keys = [key for key in again if now[key].fault == fault]
        others = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        yield f"{fault}: {now[keys[0]].again}, as {name}: {keys[0]}{others}"
