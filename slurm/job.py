"""Job: what runs on the host, under submitit: bundle after bundle, each in a process of its own."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from slurm.cluster import CHECKOUT, Cluster, command
from slurm.submission import Task
from suite import attempt
from suite.store import Store, read_json


class Job:
    """Runs bundles of keys in turn. A process that dies costs the cell it was at; the others go on in a new one."""

    def __init__(self, cluster: Cluster, store: Store, folder: Path, task: Task, commit: str) -> None:
        self.cluster, self.store, self.folder, self.task, self.commit = cluster, store, folder, task, commit

    def __call__(self) -> None:
        for keys, log in zip(self.task.bundles, self.task.logs, strict=True):
            with open(self.folder / log, "ab") as file:
                self.run(keys, file)

    def run(self, keys: list[str], log: IO[bytes]) -> None:
        """Runs one bundle to its end: afterwards each of its cells has a result, an error, or was cancelled."""
        waiting = list(keys)
        while waiting := [key for key in waiting if key not in self.cancelled()]:
            started = time.time()
            code = self.watch(waiting, log)
            waiting = [key for key in waiting if not attempt.ended(self.store, key, since=started)]
            if code == 0 or not waiting:
                return
            if self.cancelled().intersection(waiting):
                continue
            # Whoever was at work is to blame; a process that ended before its first cell would do so for every one.
            for key in [key for key in waiting if attempt.left(self.store, key, since=started)] or list(waiting):
                with suppress(OSError):  # a full store: `status` then says that the job is gone
                    attempt.died(self.store, key, code, log.name)
                waiting.remove(key)

    def watch(self, keys: list[str], log: IO[bytes]) -> int:
        """Runs one process over `keys`; it is ended when the cell that it is at is cancelled."""
        argv = command(self.cluster, keys, self.store.root, self.commit)
        with subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT, cwd=CHECKOUT) as process:
            try:
                while (code := process.poll()) is None:
                    with suppress(OSError):
                        (self.folder / self.task.alive).touch()
                    if any(attempt.beats(self.store.results / key) for key in self.cancelled().intersection(keys)):
                        process.terminate()
                    time.sleep(0.5)
                return code
            finally:
                process.kill()  # nothing where it has ended; if this job is stopped, so is its program

    def cancelled(self) -> set[str]:
        return set(read_json(self.folder / "cancelled.json") or ())
