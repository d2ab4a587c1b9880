"""Job: what runs on the host: bundle after bundle, each in a process of its own, which may be in a container.

Signals of the scheduler end here. The program is told to save and leave; whether the job goes back into the queue is
decided by the table of faults, with what stands on disk: nothing is carried in the job.

    python -m slurm.job FOLDER NAME     one task of the array NAME; its index and rank come from Slurm
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO

from slurm import allocation, faults, submission
from slurm.allocation import Allocation
from slurm.cluster import CHECKOUT, Cluster, find
from slurm.container import ENGINES, Inside, command
from slurm.engine import entered
from slurm.submission import Sent, Submission, Task, tail
from suite import attempt
from suite.catalog import Catalog
from suite.cell import Cell
from suite.entry import Refusal
from suite.image import Image, images
from suite.store import Store, read_json

NOT_STARTED = (125, 126, 127, 255)  # what runtimes end with, and our program never
LEFT = 75  # the program's exit code when it was told to leave and saved what it had
POLL_SECONDS = 0.1
STORE_SECONDS, STORE_TIMES = 5.0, 360  # half an hour


class Unknown(Refusal):
    """A cell that this checkout does not know: no other node would."""


class Job:
    """Runs bundles of keys in turn. A process that dies costs the cell it was at; the others go on in a new one."""

    look_seconds = 0.5  # how often it looks whether cells were cancelled

    def __init__(
        self, cluster: Cluster, store: Store, folder: Path, task: Task, commit: str, images: Mapping[str, str]
    ) -> None:
        self.cluster, self.store, self.folder, self.task, self.commit = cluster, store, folder, task, commit
        self.images = images
        self.memory_gb = 0.0  # that the scheduler granted
        self.told: signal.Signals | None = None  # the scheduler wants this job to end
        self.more: list[str] = []  # for the program's command line
        self.begun = 0.0  # what was written before is not this job's

    def __call__(self) -> None:
        for keys, log in zip(self.task.bundles, self.task.logs, strict=True):
            with self.opened(log) as file:
                self.run(keys, file)
            if self.told:
                return

    def opened(self, log: str) -> IO[bytes]:
        try:
            return open(self.folder / log, "ab")
        except OSError:
            self.writable()
            return open(self.folder / log, "ab")

    def run(self, keys: list[str], log: IO[bytes]) -> None:
        """Runs one bundle to its end: afterwards each of its cells has a result, an error, or was cancelled."""
        waiting = [key for key in keys if not self.begun or not attempt.ended(self.store, key, since=self.begun)]
        while waiting := [key for key in waiting if key not in self.cancelled()]:
            started = time.time()
            code, why = self.watch(waiting, log)
            if self.told:
                return
            waiting = [key for key in waiting if not attempt.ended(self.store, key, since=started)]
            if code == 0 or not waiting:
                return
            if code == LEFT or self.cancelled().intersection(waiting):
                continue  # it was told to leave
            if not self.writable():
                continue  # nobody is to blame
            # Whoever was at work is to blame; a process that ended before its first cell would do so for every one.
            for key in [key for key in waiting if attempt.left(self.store, key, since=started)] or list(waiting):
                with suppress(OSError):  # a full store: `status` then says that the job is gone
                    attempt.died(self.store, key, code, log=log.name, **why)
                waiting.remove(key)

    def watch(self, keys: list[str], log: IO[bytes]) -> tuple[int, dict[str, object]]:
        """Runs one process over `keys`, inside an image where the cluster's entry says so: its exit code, and what is
        known of its death."""
        if not self.cluster.runtime:
            return self._watch(keys, log, None)
        try:
            cells, image = self.needed(keys)
            name = f"cells-{self.folder.name}-{Path(log.name).name}"
            with entered(
                self.cluster, self.store, image, cells, name=name, memory_gb=self.memory_gb, leave=lambda: self.told
            ) as inside:
                code, why = self._watch(keys, log, inside)
        except Unknown as unknown:
            return 1, {"kind": "unknown entry", "message": str(unknown)}
        except Refusal as refused:
            return 1, {**self.death(1, 0.0), "kind": "container", "message": str(refused)}
        if code in NOT_STARTED:
            last = (tail(Path(log.name)).strip().splitlines() or ["it says nothing"])[-1]
            return code, {**why, "kind": "container", "message": f"{self.cluster.runtime} ended: {last}"}
        return code, why

    def needed(self, keys: Sequence[str]) -> tuple[list[Cell], Image]:
        """The cells that this checkout knows among `keys`, and the image that they were sent with. Refusal for none."""
        known, unknown, cells = Catalog(self.store), Unknown("no cells"), list[Cell]()
        for key in keys:
            try:
                cells.append(known.cell(key))
            except Refusal as refused:  # the program will say so, too, for this cell
                unknown = Unknown(refused)
        if not cells:
            raise unknown
        name, digest = cells[0].task.image, self.images.get(cells[0].task.image)
        image = next((one for one in images(self.store) if one.digest == digest), None)
        if image is None:
            raise Refusal(f"the image {name} ({digest}) that it was sent with is gone from {self.store.images}")
        return cells, image

    def _watch(self, keys: list[str], log: IO[bytes], inside: Inside | None) -> tuple[int, dict[str, object]]:
        """The process is told to leave when the scheduler wants the job to end, or when the cell that it is at is
        cancelled."""
        argv = command(self.cluster, keys, self.store.root, self.commit, more=self.more, inside=inside)
        apart = self.cluster.runtime in ENGINES
        began = now = time.time()
        looked, deadline, peak = 0.0, 0.0, 0.0
        # Blocked until the program listens: a signal that comes while it starts waits for it, and does not kill it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        # A program that is not our child knows by its standard input that we live. Apptainer would mount the folder
        # that it is called in.
        stdin, folder = subprocess.PIPE if apart else None, "/" if inside else CHECKOUT
        # What a user has set for all of Apptainer's images is not for ours.
        env = {k: v for k, v in os.environ.items() if not k.startswith(("APPTAINERENV_", "SINGULARITYENV_"))}
        process = subprocess.Popen(argv, stdin=stdin, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=env)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        with process:
            try:
                while (code := process.poll()) is None:
                    now = time.time()
                    if not deadline and self.told:
                        deadline = self.leave(process, keys)
                    if now - looked >= self.look_seconds:
                        looked = now
                        self.look()
                        pids = [attempt.at_work(self.store.results / key) for key in keys] if apart else [process.pid]
                        peak = max(peak, *map(allocation.resident_gb, pids))
                        stopping = self.cancelled().intersection(keys)
                        if not deadline and any(attempt.beats(self.store.results / key) for key in stopping):
                            deadline = self.leave(process, keys)
                        if self.deserted(keys, began):
                            process.kill()
                    if deadline and now > deadline:
                        process.kill()
                    time.sleep(POLL_SECONDS)
                if apart and 128 < code < 128 + signal.NSIG:
                    code = 128 - code  # an engine's word for a signal
                return code, self.death(code, peak, ours=now > deadline > 0)
            finally:
                process.kill()  # nothing where it has ended; if this job is stopped, so is its program

    def leave(self, process: subprocess.Popen[bytes], keys: list[str]) -> float:
        """Tells the program over `keys` to save and leave: until when it has time to."""
        process.send_signal(signal.SIGUSR2)
        return time.time() + max(self.cluster.grace - 15, 5)

    def look(self) -> None:
        with suppress(OSError):
            (self.folder / self.task.alive).touch()

    def deserted(self, keys: Sequence[str], since: float) -> bool:
        """Whether the program waits for others that will not come."""
        return False

    def death(self, code: int, peak: float, *, ours: bool = False) -> dict[str, object]:
        """What is known beyond the exit code of how the program ended; `peak` is the memory it was last seen with;
        whether it was `ours` to end it."""
        return {}

    def writable(self) -> bool:
        """Waits while the store cannot be written, for half an hour at most: False if it had to wait. A job that the
        scheduler wants to end does not wait."""
        probe = self.folder / f".{self.task.logs[0]}.probe"
        for waited in range(STORE_TIMES):
            try:
                with open(probe, "w") as file:  # makes no folder: where a store is not mounted, one could be made
                    file.write("?")
                    os.fsync(file.fileno())
                probe.unlink()
                return waited == 0
            except OSError:
                if self.told:
                    return False
                time.sleep(STORE_SECONDS)
        return True

    def cancelled(self) -> set[str]:
        try:
            return set(read_json(self.folder / "cancelled.json") or ())
        except OSError:
            return set()


class Allocated(Job):
    """A job within an allocation of Slurm, one rank of it."""

    look_seconds = 5.0  # thousands of jobs look at one file system

    def __init__(self, cluster: Cluster, made: Submission, array: Sent, here: Allocation) -> None:
        store, task = Store(made.folder.parent.parent), array.tasks[here.index]
        super().__init__(cluster, store, made.folder, task, made.commit, made.images)
        self.memory_gb = array.asked["memory_gb"] * array.asked["nodes"] / here.ranks
        self.array, self.here, self.begun, self.needs = array, here, made.created, made.needs
        self.at_work: list[str] = []
        self.more = ["--cores", str(here.cpus)] if here.cpus else []
        if here.ranks > 1:
            meet = made.folder / f".meet-{here.job}-{here.restarts}"
            self.more += ["--rank", str(here.rank), "--ranks", str(here.ranks)]
            self.more += ["--local-rank", str(here.local_rank), "--meet", str(meet)]

    def __call__(self) -> None:
        for name in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(name, self.hear)
        try:
            if self.here.rank == 0:
                self.catch_up()
            super().__call__()
        finally:  # also where the store is away
            if self.told:
                self.end()

    def opened(self, log: str) -> IO[bytes]:
        # Machines that append to one file over NFS overwrite each other's lines.
        return super().opened(f"{log}.{self.here.rank}" if self.here.rank else log)

    def hear(self, number: int, frame: FrameType | None) -> None:
        self.told = self.told or signal.Signals(number)

    def run(self, keys: list[str], log: IO[bytes]) -> None:
        """As Job does, without the cells whose product is missing, and those that were restarted too often."""
        ready = []
        for key in keys:
            need = self.needs.get(key, "")
            if need and need not in keys and not (self.store.results / need / "result.json").exists():
                log.write(f"{key}: blocked: {need} has no result\n".encode())
            else:
                ready.append(key)
        log.flush()
        if self.here.ranks == 1:
            super().run(ready, log)
        # What rank 0 gave up on, no other rank has to meet it for: they wait for it in vain, and end.
        elif ready := self.undone(ready) if self.here.rank == 0 else ready:
            self.run_ranks(ready, log)

    def run_ranks(self, keys: list[str], log: IO[bytes]) -> None:
        """One process of several. Rank 0 answers for the cell: it hears of it when another one dies. Only what the
        kernel did to that one for memory it cannot know."""
        started = time.time()
        code, why = self.watch(keys, log)
        if self.told or code == 0 or self.cancelled().intersection(keys):
            return
        if self.here.rank and why.get("kind") == "container":
            pass  # rank 0 would wait for this one
        elif self.here.rank and why.get("kind"):
            time.sleep(5)  # rank 0 writes first
            keys = [key for key in keys if (self.store.results / key / "error.json").exists()]
        elif self.here.rank:
            return
        else:
            keys = [key for key in keys if not attempt.ended(self.store, key, since=started)]
        for key in keys:
            attempt.died(self.store, key, code, log=log.name, **why)

    def deserted(self, keys: Sequence[str], since: float) -> bool:
        """Another rank's container did not start: it has said so."""
        found = [attempt.error(self.store.results / key) for key in keys] if self.here.ranks > 1 else []
        return any(error and error["kind"] == "container" and error["at"] >= since for error in found)

    def death(self, code: int, peak: float, *, ours: bool = False) -> dict[str, object]:
        asked = self.array.asked["memory_gb"]
        where = {"node": self.here.node, "memory_gb": asked}
        # An engine's containers have a limit of their own, and nobody else who would kill them.
        limited = self.cluster.runtime in ENGINES and not ours
        if code == -signal.SIGKILL and (limited or allocation.killed_for_memory() or peak > 0.9 * asked):
            return {"kind": "out of memory", "message": f"killed at {peak:.1f} GB; asked for {asked:g} GB", **where}
        return where

    def look(self) -> None:
        """Slurm knows that this job lives."""

    def catch_up(self) -> None:
        """After a restart: notes what ended the last one without a word, and gives up on cells that this befell too
        often."""
        for key in self.undone(self.task.keys):
            where = {"node": self.here.node, "job": self.here.job}
            attempt.pick_up(self.store, key, self.begun, gone=self.here.restarts > 0, **where)
            history = attempt.history(self.store.results / key)
            if fault := faults.worn(history):
                told = f"{faults.times(history, fault)} times; the log: {self.folder}"
                attempt.fail(self.store.results / key, key=key, kind=fault, message=told, at=time.time())

    def end(self) -> None:
        """The scheduler wants this job to end. Notes it for the cell at work; goes back into the queue, unless that
        would only bring it to the same end; and must be gone soon: a job that Slurm starts again beside its old process
        is held. After SIGTERM whoever sent it decides whether the job comes back."""
        if self.here.rank:
            sys.exit(0)  # rank 0 has the word
        warned = self.told is signal.SIGUSR2
        end = self.here.end or self.here.began + self.array.asked["minutes"] * 60
        fault = "time limit" if end - time.time() < self.cluster.grace + 90 else "preempted"
        left = True
        with suppress(OSError):  # where the store is away, the job goes back all the same
            for key in self.undone(self.at_work) if warned else ():
                self.note(key, fault, "back into the queue")
            left = bool(self.undone(self.task.keys))
        if warned and left:
            self.here.requeue(patience=self.cluster.grace)
        sys.exit(1)

    def undone(self, keys: Iterable[str]) -> list[str]:
        gone = self.cancelled()
        return [key for key in keys if key not in gone and not attempt.ended(self.store, key, since=self.begun)]

    def note(self, key: str, fault: str, did: str) -> None:
        """Adds to a cell's history. A time limit that came before any checkpoint would come again: that is an error,
        after which the cell is given more time."""
        folder, where = self.store.results / key, {"node": self.here.node, "job": self.here.job}
        saved = folder / "checkpoint.pt"
        progress = saved.exists() and saved.stat().st_mtime >= self.here.began
        if fault == "time limit" and not progress:
            minutes = self.array.asked["minutes"]
            told = f"no checkpoint within the {minutes} minutes of its job"
            attempt.fail(folder, key=key, kind=fault, message=told, at=time.time(), minutes=minutes, **where)
        else:
            attempt.note(folder, fault, did, progress=progress, **where)

    def leave(self, process: subprocess.Popen[bytes], keys: list[str]) -> float:
        # Before its first cell, a program is at all of them: one that never begins must not be sent back for ever.
        self.at_work = [key for key in keys if attempt.beats(self.store.results / key)] or list(keys)
        if self.told is signal.SIGTERM and self.here.rank == 0:
            with suppress(OSError):  # now: within seconds Slurm ends us, too
                for key in self.undone(self.at_work):
                    self.note(key, "ended", "left to Slurm")
        return super().leave(process, keys)


def main() -> None:
    folder, name = sys.argv[1:]
    made = submission.read(Path(folder))
    array = next((one for one in made.arrays if one.name == name), None) if made else None
    if made is None or array is None:
        sys.exit(f"{name}: its launcher was killed while it was sent, and it was sent again under another name")
    here = Allocation.of(os.environ)
    print(f"{name} task {here.index}: job {here.job} on {here.node}, restart {here.restarts}", flush=True)
    Allocated(find(made.cluster), made, array, here)()


if __name__ == "__main__":
    main()
