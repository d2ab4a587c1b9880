"""Submission: what one `grid` sent off, as recorded in logs/ID/submission.json."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from suite import attempt
from suite.store import Store, read_json, write_json, write_text


@dataclass(frozen=True)
class Task:
    """An array task: the scheduler's job id, and bundles of keys, each with its log beside submission.json."""

    job: str
    bundles: list[list[str]]
    logs: list[str]

    @property
    def alive(self) -> str:
        """The file that the job touches while it runs, for who looks from another machine."""
        return f"{self.logs[0]}.alive"

    @property
    def keys(self) -> Iterator[str]:
        return (key for bundle in self.bundles for key in bundle)


@dataclass(frozen=True)
class Submission:
    """Array tasks that were sent off together from one machine."""

    folder: Path
    created: float
    cluster: str
    host: str = field(default_factory=socket.gethostname)
    tasks: list[Task] = field(default_factory=list)

    @property
    def cancelled(self) -> set[str]:
        """The keys that somebody asked to stop."""
        return set(read_json(self.folder / "cancelled.json") or ())

    def write(self) -> None:
        record = asdict(self) | {"folder": self.folder.name}
        write_text(self.folder / "submission.json", json.dumps(record) + "\n")

    def cancel(self, keys: Iterable[str]) -> None:
        """Asks the jobs to stop these cells: they look at this list every half second."""
        write_json(self.folder / "cancelled.json", sorted(self.cancelled.union(keys)))


def new(store: Store, cluster: str) -> Submission:
    """An empty submission in a folder of its own."""
    folder = store.logs / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    folder.mkdir(parents=True)
    return Submission(folder, time.time(), cluster)


def submissions(store: Store) -> list[Submission]:
    """All submissions of a store, oldest first."""
    found = []
    for path in sorted(store.logs.glob("*/submission.json")):
        record = read_json(path)
        tasks = [Task(**task) for task in record.pop("tasks")]
        found.append(Submission(**record | {"folder": path.parent, "tasks": tasks}))
    return sorted(found, key=lambda s: s.created)


def alive(task: Task, submission: Submission) -> bool:
    """Whether a local job still runs; one of another machine is believed for a minute after it was last heard of."""
    if submission.host != socket.gethostname():
        heard = submission.folder / task.alive
        return heard.exists() and time.time() - heard.stat().st_mtime < attempt.LOST_AFTER_SECONDS
    try:
        words = Path(f"/proc/{task.job}/cmdline").read_bytes()
    except OSError:
        return False
    return os.fsencode(submission.folder) in words
