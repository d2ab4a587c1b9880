"""Batch: an image built by a job of Slurm, for sites where login nodes are no place to build."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from slurm.builder import NONE, Tell
from slurm.cluster import Cluster
from slurm.scheduler import ENDED, Outage, call
from slurm.submission import Sent, Task, tail
from suite import image
from suite.entry import Refusal
from suite.store import Store
from suite.task import Resources

ASKED = Resources(gpus=0, cpus=8, memory_gb=32, minutes=180)  # to compile CUDA operators takes a core 3 GB
POLL_SECONDS = 2.0


def build(
    cluster: Cluster,
    store: Store,
    name: str,
    runtime: str,
    tell: Tell,
    *,
    base: str = "",
    arguments: Mapping[str, str] = NONE,
) -> None:
    """Runs `launch.py build` on a node and tells what it says, until it has ended. Paths must be those of a file system
    that the nodes share. Refusal where it fails; Ctrl-C ends the job."""
    from slurm.script import Script  # loads submitit, 0.2 s

    if cluster.scheduler != "slurm":
        raise Refusal(f"--via slurm: cluster {cluster.name} has no scheduler; name one with --cluster")
    words = ["launch.py", "--store", str(store.root), "build", name, "--runtime", runtime]
    words += [f"--base={_whole(base)}"] if base else []
    words += [f"--build-arg={key}={_whole(value)}" for key, value in arguments.items()]
    folder = store.logs / f".build-{secrets.token_hex(4)}"
    asked = {"nodes": 1, "gpus": 0, "cpus": ASKED.cpus, "memory_gb": ASKED.memory_gb, "minutes": int(ASKED.minutes)}
    array = Sent(folder.name[1:], name, asked, [], "", [Task([], [])])
    folder.mkdir(parents=True)
    job = ""
    try:
        job = Script(cluster, folder, array, command=words).send()
        tell(f"{name}: job {job}")
        log = _followed(job, folder / f"{job}_0_0_log.out", tell)
        state = _state(job)
        there = image.current(store, name, runtime)
        if state not in ("COMPLETED", "") or not there or there.stale:
            raise Refusal(f"{name}: job {job} is {state}:\n{log}")
    except BaseException:
        if job:
            with suppress(Outage, Refusal):
                call("scancel", job)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _whole(value: str) -> str:
    """A path as it reads from another folder."""
    return str(Path(value).absolute()) if value and Path(value).exists() else value


def _followed(job: str, path: Path, tell: Tell) -> str:
    """Tells what the job writes until it has ended; the end of it."""
    seen = 0
    while True:
        over = _state(job) in (*ENDED, "")
        if path.exists():
            text = path.read_text(errors="replace")
            whole = text if over else text[: text.rfind("\n") + 1]
            for line in whole[seen:].splitlines():
                tell(line)
            seen = len(whole)
        if over:
            return tail(path).strip()
        time.sleep(POLL_SECONDS)


def _state(job: str) -> str:
    """Slurm's word for how the job is; '' for one that it has forgotten, 'unknown' where it does not answer."""
    try:
        told = call("squeue", "--noheader", f"--jobs={job}", "--states=all", "--format=%T").split()
    except Outage:
        return "unknown"
    except Refusal:
        return ""
    return told[0] if told else ""
