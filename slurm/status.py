"""Status: result files, heartbeats and submissions -> the state of every cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from slurm.submission import Submission, alive, submissions
from suite import attempt, entry, result
from suite.catalog import Catalog
from suite.cell import Key, parse
from suite.entry import Refusal, near

Found = dict[str, Any]
Keep = Callable[[str, Found], None]


@dataclass(frozen=True)
class State:
    """done, failed, stale, running, queued or absent, and for what failed, is stale or absent, why."""

    name: str
    reason: str = ""


def states(known: Catalog, keys: Iterable[str] = (), keep: Keep | None = None) -> dict[str, State]:
    """The state of the given cells; without any, of all that the store has heard of.

    Every result is read once: `keep` is handed those that are done.
    """
    sent = submissions(known.store)
    last = {key: one for one in sent for task in one.tasks for key in task.keys}
    waiting = {key for one in sent for task in one.tasks if alive(task, one) for key in task.keys}
    asked = list(keys) or sorted({*last, *result.keys(known.store.results)})
    differs = _Differs(known)
    root, now = known.store.results, {}
    for key in asked:
        try:
            found = result.read(root, key)
        except Refusal as unreadable:
            now[key] = State("failed", str(unreadable))
            continue
        why = differs(parse(key), found["facts"]) if found else ""
        if found and not why:
            now[key] = State("done")
            if keep:
                keep(key, found)
        else:
            now[key] = _undone(root / key, key, found, why, last.get(key), key in waiting)
    return now


def _undone(folder: Path, key: str, found: Found | None, why: str, sent: Submission | None, waiting: bool) -> State:
    """The state of a cell without a result, or with one (`found`) that is stale for the reason `why`."""
    if attempt.beats(folder):
        return State("running")
    error = attempt.error(folder)
    if error and not (waiting and sent and error["at"] < sent.created):
        return State("failed", f"{error['kind']}: {error['message']}")
    if sent and key in sent.cancelled:
        return State("stale", why) if found else State("absent", "cancelled")
    if waiting and sent and not (found and found["finished"] >= sent.created):
        return State("queued")
    if found:
        return State("stale", why)
    if sent:
        return State("failed", f"killed: its job is gone without a result or an error; see {sent.folder}")
    return State("absent")


def chosen(now: dict[str, State], patterns: Sequence[str]) -> dict[str, State]:
    """The cells that any of PATTERNS names: a key, a task's name, or wildcards; all without patterns."""
    wanted = [pattern for word in patterns for pattern in (word, f"{word}-v*", f"{word}/*")] or ["*"]
    found = {key: state for key, state in now.items() if any(fnmatch(key, pattern) for pattern in wanted)}
    if patterns and not found:
        raise near(patterns[0], now, "cell")
    return found


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
