"""Status: result files, heartbeats and submissions -> the state of every cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from slurm.submission import Submission, alive, submissions
from suite import attempt, entry, result
from suite.catalog import Catalog
from suite.cell import Key, parse
from suite.entry import Refusal

NAMES = ("done", "failed", "stale", "running", "queued", "absent")


@dataclass(frozen=True)
class State:
    """One of NAMES, and for what failed, is stale or absent, why."""

    name: str
    reason: str = ""


def states(known: Catalog, keys: Iterable[str] = ()) -> dict[str, State]:
    """The state of the given cells; without any, of all that the store has heard of."""
    sent = submissions(known.store)
    last = {key: one for one in sent for task in one.tasks for key in task.keys}
    waiting = {key for one in sent for task in one.tasks if alive(task, one) for key in task.keys}
    asked = list(keys) or sorted({*last, *(key for key, _ in result.folders(known.store.results))})
    differs = _Differs(known)
    return {key: _state(known, key, last.get(key), key in waiting, differs) for key in asked}


def _state(known: Catalog, key: str, sent: Submission | None, waiting: bool, differs: _Differs) -> State:
    folder = known.store.results / key
    found = result.read(folder)
    why = differs(parse(key), found["facts"]) if found else ""
    if found and not why:
        return State("done")
    if attempt.beats(folder):
        return State("running")
    error = attempt.error(folder)
    if error and not (waiting and sent and error["at"] < sent.created):
        return State("failed", f"{error['kind']}: {error['message']}")
    if sent and key in sent.cancelled:
        return State("stale", why) if found else State("absent", "cancelled")
    if waiting:
        return State("queued")
    if found:
        return State("stale", why)
    if sent:
        return State("failed", f"killed: its job is gone without a result or an error; see {sent.folder}")
    return State("absent")


class _Differs:
    """Says which entries of a result differ from today's; each entry is looked up once."""

    def __init__(self, known: Catalog) -> None:
        self.task = cache(lambda name: known.task(name))
        self.digest = cache(lambda noun, name: entry.digest(getattr(known, noun)(name)))

    def __call__(self, key: Key, facts: dict[str, str]) -> str:
        try:
            if self.task(key.task).version != key.version:
                return f"this checkout has {self.task(key.task).label}"
            names = {"task": key.task, "dataset": key.dataset, "model": key.model}
            changed = [noun for noun, name in names.items() if facts[noun] != self.digest(noun, name)]
        except Refusal as unknown:
            return str(unknown)
        return f"the {' and the '.join(changed)} changed since it was run" if changed else ""
