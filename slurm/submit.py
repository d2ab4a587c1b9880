"""Submit: cells without a result -> bundles -> job arrays, through submitit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from slurm import submission
from slurm.cluster import CHECKOUT, Cluster
from slurm.job import Job
from slurm.submission import Submission, Task
from suite.bundle import Bundle
from suite.entry import Refusal
from suite.store import Store


def submit(cluster: Cluster, arrays: Sequence[Sequence[Sequence[Bundle]]], store: Store) -> Submission:
    """Sends arrays of array tasks off and records what went where. Returns at once."""
    if not cluster.python and find_spec("torch") is None:
        raise Refusal(f"the jobs need torch, which {sys.executable} does not have: make setup, or see launch.py doctor")
    import submitit  # takes 0.2 s: only who submits pays for it

    sent = submission.new(store, cluster.name)
    executor = submitit.LocalExecutor(sent.folder)
    executor.update_parameters(timeout_min=cluster.hours * 60, gpus_per_node=_gpus())
    planned, count = [], 0
    for bundles in (task for array in arrays for task in array):
        logs = [f"{count + i}.log" for i in range(len(bundles))]
        planned.append(Task("", [bundle.keys for bundle in bundles], logs))
        count += len(bundles)
    commit = revision()
    try:
        with _undisturbed():
            for task in planned:
                work = Job(cluster, store, sent.folder, task, commit)
                sent.tasks.append(replace(task, job=str(executor.submit(work).job_id)))
    finally:
        sent.write()  # what was sent before something went wrong is not forgotten
    return sent


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
