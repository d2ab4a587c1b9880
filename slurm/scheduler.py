"""Scheduler: what is asked of Slurm's commands, and how their answers read."""

from __future__ import annotations

import getpass
import os
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from slurm.array import Limits
from suite.entry import Refusal

PREFIXES = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SQUEUE_", "SACCT_", "SCANCEL_", "PMI", "PALS_")
KEPT = ("SLURM_CONF", "SLURM_CLUSTERS")
TRANSIENT = (
    "Socket timed out",
    "Unable to contact slurm controller",
    "Unexpected message received",
    "Connection refused",
    "Connection timed out",
    "Zero Bytes were transmitted",
    "Slurm temporarily unable to accept job",
    "Resource temporarily unavailable",
    "Slurm backup controller in standby mode",
)
OVER = ("QOSMaxSubmit", "AssocMaxSubmit", "job submit limit", "MaxSubmitJobs")
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
ENDED |= {"REVOKED", "TIMEOUT"}
PATIENCE_SECONDS = 20.0


class Outage(Exception):
    """Slurm did not answer: nothing is known about any job, least of all that it failed."""


@dataclass(frozen=True)
class Seen:
    """A task in the queue, or lately gone from it: its state and reason in Slurm's words, its node and job number."""

    state: str
    reason: str
    node: str
    job: str

    @property
    def active(self) -> bool:
        """A state that we don't know counts as active: a job is gone only where Slurm says so."""
        return self.state not in ENDED

    @property
    def stuck(self) -> bool:
        """A node could not start it again, and Slurm holds it until somebody sees to it."""
        return self.active and "requeued held" in self.reason


Queue = dict[tuple[str, int], Seen]


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """`env` without what an allocation around us has set: inherited, it would bind, size or place our jobs.
    SLURM_CONF stays, since without it some sites' commands do not find their controller."""
    return {name: value for name, value in env.items() if name in KEPT or not name.startswith(PREFIXES)}


def call(*words: str, timeout: float = PATIENCE_SECONDS) -> str:
    """What one of Slurm's commands prints. Outage where Slurm does not answer, Refusal with its words otherwise."""
    env = environment(os.environ) | {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}
    try:
        ran = subprocess.run(words, capture_output=True, text=True, env=env, timeout=timeout)
    except FileNotFoundError:
        raise Refusal(f"no {words[0]} on this machine: is this a login node? See: launch.py doctor") from None
    except subprocess.TimeoutExpired:
        raise Outage(f"{words[0]} did not answer within {timeout:.0f} s") from None
    if ran.returncode == 0:
        return ran.stdout
    told = " ".join((ran.stderr or ran.stdout).split()) or f"exit code {ran.returncode}"
    raise Outage(told) if transient(told) else Refusal(f"{words[0]}: {told}")


def transient(told: str) -> bool:
    """Whether an error's text is one that passes."""
    return any(phrase in told for phrase in TRANSIENT)


def queue() -> Queue:
    """(array's name, index) -> what Slurm says, in one call for any number of tasks: those in the queue, and those that
    left it within MinJobAge (five minutes by default)."""
    words = ("squeue", f"--user={getpass.getuser()}", "--states=all", "--array", "--noheader")
    return parse(call(*words, "--format=%j|%F|%K|%T|%r|%N"))


def parse(told: str) -> Queue:
    """squeue's lines NAME|JOB|INDEX|STATE|REASON|NODES. Of a task that is there twice the active one counts."""
    found: Queue = {}
    for line in told.splitlines():
        parts = line.strip().split("|")
        if len(parts) != 6 or not parts[2].isdecimal():
            continue
        name, job, index, state, reason, node = parts
        before = found.get((name, int(index)))
        if before is None or not before.active:
            found[name, int(index)] = Seen(state, reason, node, f"{job}_{index}")
    return found


def limits(most: int = 0) -> Limits:
    """What the site takes, by its own words; `most` is the entry's own window."""
    config = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", call("scontrol", "show", "config"), re.MULTILINE))
    array = int(config.get("MaxArraySize", 1001))
    tasks = [int(config.get("MaxJobCount", 10_000)), *([most] if most else [])]
    if array < 2:
        raise Refusal("MaxArraySize is 0 or 1: this site takes no job arrays")
    if "slurmdbd" in config.get("AccountingStorageType", ""):
        tasks += _accounts()
    return Limits(array, max(1, min(tasks)))


def _accounts() -> list[int]:
    """The submit limits of this user's associations and of their QOS; none where the accounting does not answer."""
    asked = ("sacctmgr", "--noheader", "--parsable2", "show")
    try:
        own = call(*asked, "assoc", f"user={getpass.getuser()}", "format=MaxSubmitJobs,QOS")
        named = {qos for line in own.splitlines() for qos in line.partition("|")[2].split(",") if qos}
        caps = call(*asked, "qos", "format=Name,MaxSubmitJobsPU") if named else ""
    except (Outage, Refusal):
        return []
    found = [line.partition("|")[0] for line in own.splitlines()]
    found += [cap for name, _, cap in (line.partition("|") for line in caps.splitlines()) if name in named]
    return [int(cap) for cap in found if cap.isdecimal()]


def insist(
    send: Callable[[], str], accepted: Callable[[], str], *, times: int = 6, sleep: Callable[[float], None] = time.sleep
) -> str:
    """The job's number from `send`, again after an error that passes. Before each further time `accepted` must have
    said that Slurm knows no such job ('', or its number): an error does not mean that it was not taken."""
    for attempt in range(times):
        try:
            return (attempt and accepted()) or send()
        except Outage:
            if attempt + 1 == times:
                raise
            sleep(min(2.0**attempt, 30.0) * random.uniform(0.5, 1.5))
    raise ValueError(f"times={times}: at least one")


def cancel(jobs: Iterable[str]) -> None:
    """Ends jobs, by number (`12_3`), in as few calls as the command line allows."""
    jobs = list(jobs)
    for start in range(0, len(jobs), 500):
        call("scancel", *jobs[start : start + 500])
