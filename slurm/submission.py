"""Submission: what one `grid` sent off, or will send, as recorded in logs/ID/submission.json.

The record is written before anything is sent, and a scheduler's job carries its array's name: whoever looks later finds
it by that name, also where the launcher was killed between sending and noting the job's number.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from slurm.array import Array
from slurm.cluster import Cluster
from suite import attempt, image
from suite.store import Store, read_json, write_json, write_text

LOG_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Task:
    """An array task: bundles of keys, each with its log beside submission.json. `pid` is a local job's process."""

    bundles: list[list[str]]
    logs: list[str]
    pid: int = 0

    @property
    def alive(self) -> str:
        """The file that a local job touches while it runs, for who looks from another machine."""
        return f"{self.logs[0]}.alive"

    @property
    def keys(self) -> Iterator[str]:
        return (key for bundle in self.bundles for key in bundle)


@dataclass(frozen=True)
class Sent:
    """An array: what its tasks ask for, its name in the queue, and the scheduler's number for it.

    `state` is "planned" (waits for room in the queue), "sending" or "sent"; `parallel` tasks may run at once, 0 for
    all.
    """

    name: str
    image: str
    asked: dict[str, Any]  # nodes, gpus, cpus, memory_gb, minutes (the limit of one task)
    avoid: list[str]
    after: str  # the name of the array whose task of the same index must end first
    tasks: list[Task]
    parallel: int = 0
    state: str = "planned"
    job: str = ""
    at: float = 0.0  # when it was sent

    @property
    def indices(self) -> list[int]:
        """Of the tasks that have something to run: others only keep the places of an array that waits for another."""
        return [index for index, task in enumerate(self.tasks) if task.bundles]

    @property
    def size(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class Submission:
    """Arrays that were made together, from one machine. `needs` says for a cell whose result it waits for, `images`
    the digest of the image behind a name: another one that is built meanwhile is not for these cells."""

    folder: Path
    created: float
    cluster: str
    commit: str
    scheduler: str = ""  # as the cluster's
    host: str = field(default_factory=socket.gethostname)
    needs: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    arrays: list[Sent] = field(default_factory=list)

    @property
    def cancelled(self) -> set[str]:
        """The keys that somebody asked to stop."""
        return set(read_json(self.folder / "cancelled.json") or ())

    @property
    def tasks(self) -> Iterator[tuple[Sent, int, Task]]:
        return ((array, index, task) for array in self.arrays for index, task in enumerate(array.tasks))

    @property
    def keys(self) -> Iterator[str]:
        return (key for _, _, task in self.tasks for key in task.keys)

    @property
    def unsent(self) -> list[Sent]:
        """The arrays that are still to be sent; not those that were cancelled before."""
        waiting, gone = [array for array in self.arrays if array.state != "sent"], self.cancelled
        return [
            one for one in waiting if not gone or not gone.issuperset(key for task in one.tasks for key in task.keys)
        ]

    def create(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir()
        self.write()

    def write(self) -> None:
        record = asdict(self) | {"folder": self.folder.name}
        write_text(self.folder / "submission.json", json.dumps(record) + "\n")

    def put(self, array: Sent, **changes: Any) -> Sent:
        """Changes an array's record, on disk too."""
        changed = replace(array, **changes)
        self.arrays[[one.name for one in self.arrays].index(array.name)] = changed
        self.write()
        return changed

    def drop(self, array: Sent) -> list[str]:
        """Forgets an array, and those that wait for it, which were never sent: their keys."""
        gone = [one for one in self.arrays if array.name in (one.name, one.after)]
        self.arrays[:] = [one for one in self.arrays if one not in gone]
        self.write()
        return [key for one in gone for task in one.tasks for key in task.keys]

    def cancel(self, keys: Iterable[str]) -> None:
        """Asks the jobs to stop these cells: they look at this list every now and then."""
        write_json(self.folder / "cancelled.json", sorted(self.cancelled.union(keys)))


def draft(
    store: Store, cluster: Cluster, arrays: Sequence[Array], commit: str, *, needs: Mapping[str, str] | None = None
) -> Submission:
    """What will be sent, in a folder of its own; on disk once it is created."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    folder = store.logs / name
    keys = {key for array in arrays for task in array.tasks for bundle in task for key in bundle.keys}
    own = {key: need for key, need in (needs or {}).items() if key in keys}
    # Later than any error that it shall mend, even where a node's clock goes ahead of ours.
    errors = [found["at"] + 0.001 for key in keys if (found := attempt.error(store.results / key))]
    made = Submission(folder, max([time.time(), *errors]), cluster.name, commit, cluster.scheduler, needs=own)
    names = {bundle.image for array in arrays for task in array.tasks for bundle in task} if cluster.runtime else ()
    current = {name: image.current(store, name, cluster.runtime) for name in names}
    made.images.update({name: one.digest for name, one in current.items() if one})
    count, whole = 0, sum(len(array.tasks) for array in arrays)
    for number, array in enumerate(arrays):
        tasks = []
        for bundles in array.tasks:
            logs = [f"{count + i}.log" for i in range(len(bundles))]
            tasks.append(Task([bundle.keys for bundle in bundles], logs))
            count += len(bundles)
        asked = asdict(array.ask.resources) | {"minutes": array.minutes}
        after = "" if array.after is None else f"{name}.{array.after}"
        share = max(1, cluster.parallel * len(tasks) // whole) if cluster.parallel else 0
        made.arrays.append(Sent(f"{name}.{number}", array.image, asked, list(array.ask.avoid), after, tasks, share))
    return made


def read(folder: Path) -> Submission | None:
    """The submission recorded in a folder; None where an older checkout recorded it, whose jobs are none of ours."""
    record = read_json(folder / "submission.json")
    if "arrays" not in record:
        return None
    record.pop("others", None)
    made = [Sent(**one | {"tasks": [Task(**task) for task in one["tasks"]]}) for one in record.pop("arrays")]
    return Submission(**record | {"folder": folder, "arrays": made})


def submissions(store: Store) -> list[Submission]:
    """All submissions of a store, oldest first."""
    found = [read(path.parent) for path in store.logs.glob("*/submission.json")]
    return sorted((one for one in found if one), key=lambda s: s.created)


@dataclass(frozen=True)
class Place:
    """Where a cell was last sent: its submission, array, index and task."""

    sent: Submission
    array: Sent
    index: int
    task: Task

    @property
    def job(self) -> str:
        """The scheduler's number, or the local process'; '' where it has none yet."""
        return f"{self.array.job}_{self.index}" if self.array.job else str(self.task.pid or "")

    @property
    def log(self) -> Path:
        """What the job itself, and Slurm about it, wrote."""
        return self.sent.folder / f"{self.array.job}_{self.index}_0_log.out"

    def logs(self, key: str) -> list[Path]:
        """All that was written about a cell: its job's log, and its program's; each of every rank."""
        own = next(log for keys, log in zip(self.task.bundles, self.task.logs, strict=True) if key in keys)
        others = sorted(self.sent.folder.glob(f"{self.array.job}_{self.index}_[1-9]*_log.out"))
        job = [self.log, *others] if self.sent.scheduler else []
        return [*job, self.sent.folder / own, *sorted(self.sent.folder.glob(f"{own}.[1-9]*"))]


def places(sent: Iterable[Submission]) -> dict[str, Place]:
    """key -> where it was sent last; `sent` is oldest first."""
    return {
        key: Place(one, array, index, task) for one in sent for array, index, task in one.tasks for key in task.keys
    }


def asked(store: Store) -> dict[str, dict[str, Any]]:
    """key -> what the job that had it last asked for."""
    return {
        key: {"cluster": place.sent.cluster, "job": place.job, **place.array.asked}
        for key, place in places(submissions(store)).items()
    }


def tail(path: Path) -> str:
    """The end of a log, '' where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def about(key: str, lines: Iterable[str]) -> Iterator[str]:
    """Of a log, what is about one cell: all but what the processes that wrote it said while they were at others."""
    others = False
    for line in lines:
        if line.startswith("cores: "):  # the first line of each process
            others = False
        elif line.endswith(": begun\n"):
            others = line != f"{key}: begun\n"
        if not others or line.startswith(f"{key}: "):
            yield line


def alive(task: Task, submission: Submission) -> bool:
    """Whether a local job still runs; one of another machine is believed for a minute after it was last heard of."""
    if submission.host != socket.gethostname():
        heard = submission.folder / task.alive
        return heard.exists() and time.time() - heard.stat().st_mtime < attempt.LOST_AFTER_SECONDS
    try:
        words = Path(f"/proc/{task.pid}/cmdline").read_bytes()
    except OSError:
        return False
    return os.fsencode(submission.folder) in words
