"""Submit: arrays -> the queue, or this machine's processes; a window of them at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from slurm import faults, scheduler, submission
from slurm.array import Limits
from slurm.cluster import CHECKOUT, Cluster
from slurm.job import Job
from slurm.scheduler import Outage, Queue
from slurm.status import State
from slurm.submission import Sent, Submission, places, submissions
from slurm.work import Work
from suite import attempt
from suite.entry import Refusal
from suite.store import Store

SBATCH_SECONDS = 30.0  # how long an sbatch may outlive the launcher that started it


def submit(cluster: Cluster, store: Store, work: Work, now: Mapping[str, State], *, asked: bool = False) -> Submission:
    """Records the work, then sends it off, as much as the queue takes. Returns at once. `now` is the state of all cells
    that others may wait for; `asked` says that a user wants it, so that earlier faults count no more."""
    if not cluster.python and find_spec("torch") is None:
        raise Refusal(f"the jobs need torch, which {sys.executable} does not have: make setup, or see launch.py doctor")
    last = places(submissions(store))
    waiting = {need for need in work.needs.values() if need in now and now[need].name in ("queued", "running")}
    others = sorted({last[need].job for need in waiting if need in last and last[need].array.job})
    made = submission.draft(store, cluster, work.arrays, revision(), needs=work.needs, others=others)
    for key in made.keys if asked else ():
        folder = store.results / key
        if attempt.history(folder) or attempt.error(folder) or attempt.left(store, key, since=0.0):
            attempt.note(folder, faults.ASKED, f"sent as {made.folder.name}")
    made.create()
    if cluster.scheduler != "slurm":
        _start(cluster, made, store)
        return made
    try:
        queue = scheduler.queue()
        before = {(last[key].array.name, last[key].index) for key in made.keys if key in last}
        scheduler.cancel(queue[at].job for at in before if at in queue and queue[at].stuck)
        top_up(cluster, [made], queue, work.limits)
    except Outage as outage:
        raise Refusal(f"Slurm does not answer ({outage}); the next grid or status sends what is not sent yet") from None
    except Refusal as refused:
        made.arrays[:] = [array for array in made.arrays if array.state == "sent"]
        made.write()
        went = ", ".join(f"{array.name} as job {array.job}" for array in made.arrays)
        raise Refusal(f"{refused}{f'; sent before that: {went}' if went else ''}") from None
    return made


def cancel(store: Store, keys: set[str]) -> None:
    """Stops cells wherever they were sent. Whole tasks of Slurm are ended by scancel; where others are to go on, the
    job is asked to skip these."""
    sent = submissions(store)
    for one in sent:
        if own := keys.intersection(one.keys):
            one.cancel(own)
    if not any(one.scheduler for one in sent):
        return
    last, queue = places(sent), scheduler.queue()
    mine = {(p.array.name, p.index): p for p in (last[key] for key in keys if key in last) if p.sent.scheduler}
    whole = [at for at, place in mine.items() if place.sent.cancelled.issuperset(place.task.keys)]
    scheduler.cancel(queue[at].job for at in whole if at in queue and queue[at].active)


def top_up(cluster: Cluster, sent: Sequence[Submission], queue: Queue, limits: Limits) -> int:
    """Sends the arrays that wait for room in the queue, oldest first, as many as there is room for; says how many
    tasks. Only one launcher at a time may do so: the caller has the lock."""
    room = limits.tasks - sum(seen.active for seen in queue.values())
    count = 0
    for made in sent:
        for array in [found(made, array, queue) for array in made.arrays]:
            keys = {key for task in array.tasks for key in task.keys}
            if array.state != "planned" or (keys and keys <= made.cancelled):
                continue
            if len(array.tasks) > room:
                return count
            try:
                send(cluster, made, array, queue)
            except Refusal as refused:
                made.put(array, state="planned")
                if any(phrase in str(refused) for phrase in scheduler.OVER):
                    return count
                raise
            room -= len(array.tasks)
            count += len(array.tasks)
    return count


def found(made: Submission, array: Sent, queue: Queue) -> Sent:
    """Settles an array whose launcher was killed while it was sent: it is in the queue under its name; or it never came
    there, and is planned again under another name, so that the first one, should it turn up late, ends at once."""
    if array.state != "sending":
        return array
    if job := _number(array.name, queue):
        return made.put(array, state="sent", job=job)
    if time.time() - array.at < SBATCH_SECONDS:
        return array
    stem, _, again = array.name.partition("+")
    name = f"{stem}+{int(again or 0) + 1}"
    for other in made.arrays:
        if other.after == array.name:
            made.put(other, after=name)
    return made.put(array, name=name, state="planned")


def send(cluster: Cluster, made: Submission, array: Sent, queue: Queue) -> None:
    """Hands one array to sbatch, in the order: noted, sent, noted."""
    from slurm.script import Script  # loads submitit, 0.2 s: only who submits pays for it

    script = Script(cluster, made.folder, array, dependency(made, array, queue))
    array = made.put(array, state="sending", at=time.time())
    job = scheduler.insist(script.send, lambda: _number(array.name, scheduler.queue()))
    made.put(array, state="sent", job=job)


def dependency(made: Submission, array: Sent, queue: Queue) -> str:
    """What an array waits for, in sbatch's words; jobs that Slurm has forgotten have ended."""
    here = {seen.job for seen in queue.values()} | {seen.job.partition("_")[0] for seen in queue.values()}
    before = next((one for one in made.arrays if one.name == array.after), None)
    fresh = before is not None and time.time() - before.at < 60  # sent after the queue was looked at
    words = [f"aftercorr:{before.job}"] if before and (fresh or before.job in here) else []
    others = [job for job in made.others if job in here]
    return ",".join(words + ([":".join(["afterany", *others])] if others else []))


def _number(name: str, queue: Queue) -> str:
    return next((seen.job.partition("_")[0] for (known, _), seen in queue.items() if known == name), "")


def _start(cluster: Cluster, made: Submission, store: Store) -> None:
    """Runs an array's tasks as processes of this machine, through submitit's local executor."""
    import submitit  # takes 0.2 s: only who submits pays for it

    (array,) = made.arrays
    executor = submitit.LocalExecutor(made.folder)
    executor.update_parameters(timeout_min=cluster.hours * 60, gpus_per_node=_gpus())
    with _undisturbed():
        for index, task in enumerate(array.tasks):
            job = executor.submit(Job(cluster, store, made.folder, task, made.commit))
            array.tasks[index] = replace(task, pid=int(job.job_id))
            made.put(array, state="sent", at=time.time())


def revision() -> str:
    """The commit of this checkout, with '-dirty' where files differ from it; 'unknown' outside git."""
    git = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Jobs started within outlive the terminal: they ignore its Ctrl-C and hang-up, hold none of its streams (a pipe
    behind the launcher would wait for them), and find this checkout."""
    before = {s: signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGHUP)}
    path = os.environ.get("PYTHONPATH", "")
    sys.stdout.flush()
    streams = [os.dup(number) for number in range(3)]
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        for number in range(3):
            os.dup2(nothing, number)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), path]))
        yield
    finally:
        os.environ["PYTHONPATH"] = path
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.close(nothing)
        for number, handler in before.items():
            signal.signal(number, handler)


def _gpus() -> int:
    """How many GPUs this machine has: submitit's local executor hides all that are not asked for."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
