"""Retry: what the table of faults says about cells that failed or were lost, and the window of waiting arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slurm import submit
from slurm.cluster import Cluster, find
from slurm.scheduler import Outage
from slurm.status import Look, State, states
from slurm.submission import Place, Submission, places, submissions
from slurm.work import Work, blocked, reasons
from suite import attempt
from suite.catalog import Catalog
from suite.cell import Cell
from suite.entry import Refusal
from suite.store import lock


def tend(known: Catalog, now: Mapping[str, State], look: Look) -> Iterator[str]:
    """Fills the window of every cluster and sends again what its policy says; yields what was done, a line each.
    Nothing where another launcher is at it, or where Slurm does not answer."""
    if not any(one.scheduler for one in submissions(known.store)):
        return
    with lock(known.store.logs / ".submitting", wait=False) as mine:
        sent = [one for one in submissions(known.store) if one.scheduler] if mine else []
        last = places(sent)
        maybe = [key for key, state in now.items() if key in last and state.again]
        now = {**now, **states(known, maybe, look=look)} if maybe else now  # another launcher may have been quicker
        again = {key: last[key] for key in maybe if now[key].again}
        waiting = {one.cluster for one in sent if one.unsent} | {place.sent.cluster for place in again.values()}
        for name in sorted(waiting) if waiting and look.fresh() else ():
            own = [one for one in sent if one.cluster == name]
            mended = {key: place for key, place in again.items() if place.sent.cluster == name}
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
    limits = look.limits(cluster)
    count, held = submit.top_up(cluster, sent, look.seen, limits, look.when)
    if count:
        yield f"{cluster.name}: sent {count} array tasks that had waited for room in the queue"
    if held:
        yield f"{cluster.name}: {held}"
    cells: list[Cell] = []
    for key in again:
        try:
            cells.append(known.cell(key))
        except Refusal as unknown:
            yield f"{key}: not sent again: {unknown}"
    why = blocked(cluster, known.store, cells)
    yield from reasons(why)
    cells = [cell for cell in cells if cell.key not in why]
    if not cells:
        return
    notes = {cell.key: [_note(known, cell.key, again[cell.key], now[cell.key], look)] for cell in cells}
    needs = {key: place.sent.needs[key] for key, place in again.items() if key in place.sent.needs}
    work = Work.of(cluster, known.store, cells, needs=needs, limits=limits, notes=notes)
    name = submit.submit(cluster, known.store, work).folder.name
    for fault in sorted({now[key].fault for key in notes}):
        keys = [key for key in notes if now[key].fault == fault]
        others = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        yield f"{fault}: {now[keys[0]].again}, as {name}: {keys[0]}{others}"


def _note(known: Catalog, key: str, place: Place, state: State, look: Look) -> dict[str, Any]:
    """The entry for a cell's history: what befell it where, and with what it had asked for."""
    found = attempt.error(known.store.results / key) or {"at": 0.0}
    told = found if found["at"] >= place.sent.created else {}  # an older error is another job's
    seen = look.seen.get((place.array.name, place.index))
    node = told.get("node") or (seen.node if seen else "")
    asked = {name: place.array.asked[name] for name in ("memory_gb", "minutes")}
    return {"fault": state.fault, "did": state.again, "node": node, "job": place.job, **asked}
