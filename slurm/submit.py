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

from slurm import scheduler, submission
from slurm.array import Limits
from slurm.cluster import CHECKOUT, Cluster
from slurm.job import Job
from slurm.scheduler import Outage, Queue
from slurm.submission import Place, Sent, Submission, places, submissions
from slurm.work import Work
from suite import attempt
from suite.entry import Refusal
from suite.store import Store

SBATCH_SECONDS = 30.0  # how long an sbatch may outlive the launcher that started it


def submit(cluster: Cluster, store: Store, work: Work, *, asked: bool = False) -> Submission:
    """Records the work, then sends it off, as much as the queue takes, after what waits there already. Returns at
    once. What Slurm refuses is told to who `asked` for it, and otherwise written down as the cells' error."""
    if not cluster.python and not cluster.runtime and find_spec("torch") is None:
        raise Refusal(f"the jobs need torch, which {sys.executable} does not have: make setup, or see launch.py doctor")
    before = submissions(store)
    made = submission.draft(store, cluster, work.arrays, revision(), needs=work.needs)
    made.create()
    for key, entries in work.notes.items():
        for entry in entries:
            attempt.note(store.results / key, **entry)
    if cluster.scheduler != "slurm":
        _start(cluster, made, store)
        return made
    try:
        queue, when = scheduler.queue(), time.time()
        own = [one for one in before if one.cluster == cluster.name]
        top_up(cluster, [*own, made], queue, work.limits, when, asked=made if asked else None)
        _release(store, before, made, queue)
    except Outage as outage:
        raise Refusal(f"Slurm does not answer ({outage}); the next grid or status sends what is not sent yet") from None
    return made


def _release(store: Store, before: Sequence[Submission], made: Submission, queue: Queue) -> None:
    """Ends jobs that Slurm holds because a node could not start them again, if all that they had left is sent anew."""
    last, own = places(before), set(made.keys)
    stuck = {(p.array.name, p.index): p for p in (last[key] for key in own if key in last)}
    for at, place in stuck.items():
        left = {key for key in place.task.keys if not (store.results / key / "result.json").exists()}
        if at in queue and queue[at].stuck and left <= own:
            scheduler.cancel([queue[at].job])


def cancel(store: Store, keys: set[str]) -> None:
    """Stops cells wherever they were sent. Whole tasks of Slurm are ended by scancel; where others are to go on, the
    job is asked to skip these."""
    sent = submissions(store)
    for one in sent:
        if own := keys.intersection(one.keys):
            one.cancel(own)
    last = places(sent)
    mine = {(p.array.name, p.index): p for p in (last[key] for key in keys if key in last) if p.sent.scheduler}
    whole = [at for at, place in mine.items() if place.sent.cancelled.issuperset(place.task.keys)]
    try:
        queue = scheduler.queue() if whole else {}
        scheduler.cancel(queue[at].job for at in whole if at in queue and queue[at].active)
    except Outage as outage:
        told = "their jobs skip these cells, but stay in the queue until you cancel again"
        raise Refusal(f"Slurm does not answer ({outage}): {told}") from None


def top_up(
    cluster: Cluster,
    sent: Sequence[Submission],
    queue: Queue,
    limits: Limits,
    when: float,
    *,
    asked: Submission | None = None,
) -> tuple[int, str]:
    """Sends the arrays that wait for room in the queue, oldest first, as many as there is room for: how many tasks, and
    in sbatch's words why no more. `when` the queue was looked at. Only one launcher at a time may do so: the caller has
    the lock. An array that Slurm refuses is dropped, and its cells fail; if it is one that was `asked` for just now,
    that is a Refusal, once all others are sent."""
    last, count, refusals = places(sent), 0, []
    room = limits.tasks - sum(seen.active for seen in queue.values())
    room -= sum(array.size for made in sent for array in made.arrays if array.state == "sent" and array.at > when)
    for made in sent:
        for name in [found(made, array, queue, when).name for array in made.arrays]:
            array = next((array for array in made.unsent if array.name == name), None)
            if array is None:
                continue
            if array.state == "sending":  # another launcher's, of a moment ago: what follows may have to wait for it
                return count, ""
            if array.size > room and (array.size <= limits.tasks or room < limits.tasks):
                return count, ""
            try:
                send(cluster, made, array, dependency(made, array, queue, last, when))
            except Refusal as refused:
                if any(phrase in str(refused) for phrase in scheduler.OVER):
                    return count, f"{refused}; {array.size} tasks wait; if for ever: cancel them, and set `window`"
                dropped = made.drop(array)
                if made is asked:
                    refusals.append(str(refused))
                else:
                    _fail(Store(made.folder.parent.parent), dropped, str(refused))
                continue
            room -= array.size
            count += array.size
    if refusals and asked:
        went = ", ".join(f"{array.name} as job {array.job}" for array in asked.arrays if array.state == "sent")
        raise Refusal(f"{'; '.join(dict.fromkeys(refusals))}{f'; sent all the same: {went}' if went else ''}")
    return count, ""


def _fail(store: Store, keys: Sequence[str], told: str) -> None:
    for key in keys:
        (store.results / key).mkdir(parents=True, exist_ok=True)
        attempt.fail(store.results / key, key=key, kind="refused", message=told, at=time.time())


def found(made: Submission, array: Sent, queue: Queue, when: float) -> Sent:
    """Settles an array whose launcher was killed while it was sent: it is in the queue under its name; or it never came
    there, and is planned again under another name, so that the first one, should it turn up late, ends at once."""
    if array.state != "sending":
        return array
    if job := _number(array.name, queue):
        return made.put(array, state="sent", job=job)
    if when - array.at < SBATCH_SECONDS:
        return array
    stem, _, again = array.name.partition("+")
    name = f"{stem}+{int(again or 0) + 1}"
    for other in made.arrays:
        if other.after == array.name:
            made.put(other, after=name)
    return made.put(array, name=name, state="planned")


def send(cluster: Cluster, made: Submission, array: Sent, dependency: str) -> None:
    """Hands one array to sbatch, in the order: noted, sent, noted."""
    from slurm.script import Script  # loads submitit, 0.2 s: only who submits pays for it

    script = Script(cluster, made.folder, array, dependency)
    array = made.put(array, state="sending", at=time.time())
    try:
        job = scheduler.insist(script.send, lambda: _number(array.name, scheduler.queue()))
    except Refusal as refused:
        array = made.put(array, state="planned")
        if not array.avoid or any(phrase in str(refused) for phrase in scheduler.OVER):
            raise
        send(cluster, made, made.put(array, avoid=[]), dependency)  # maybe no node is left
        return
    made.put(array, state="sent", job=job, at=time.time())


def dependency(made: Submission, array: Sent, queue: Queue, last: Mapping[str, Place], when: float) -> str:
    """What an array waits for, in sbatch's words: its partner array, task by task, and jobs sent earlier. Jobs that
    Slurm has forgotten have ended."""

    def waits(other: Sent) -> bool:
        return other.at > when or any(name == other.name for name, _ in queue)

    before = next((one for one in made.arrays if one.name == array.after), None)
    words = [f"aftercorr:{before.job}"] if before and waits(before) else []
    needed = {made.needs[key] for task in array.tasks for key in task.keys if key in made.needs}
    makers = [last[need] for need in needed if need in last and last[need].sent.folder != made.folder]
    jobs = sorted({place.job for place in makers if place.array.job and waits(place.array)})
    return ",".join([*words, *([":".join(["afterany", *jobs])] if jobs else [])])


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
            job = executor.submit(Job(cluster, store, made.folder, task, made.commit, made.images))
            array.tasks[index] = replace(task, pid=int(job.job_id))
            made.put(array, state="sent", at=time.time())


def revision(folder: Path = CHECKOUT) -> str:
    """The commit of a checkout, with '-dirty' where files differ from it; 'unknown' outside git."""
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
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
