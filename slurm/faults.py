"""Faults: what clusters do to a cell, and what is done about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REQUEUE = "requeue"  # the job goes back into the queue as it is, and on from its checkpoint
AGAIN = "retry"  # a new job
MEMORY = "retry with more memory"
TIME = "retry with more time"
ELSEWHERE = "retry elsewhere"
STOP = "stop"


@dataclass(frozen=True)
class Policy:
    """What is done, for one cell at most `most` times; then it counts as failed until somebody asks for it again."""

    act: str
    most: int = 0


FAULTS = {
    "preempted": Policy(REQUEUE, 100),  # no fault of the cell
    "time limit": Policy(TIME, 3),  # with a checkpoint saved, the job goes back into the queue, as often as it takes
    "restarted": Policy(REQUEUE, 5),  # by Slurm: a node failed, somebody requeued it
    "ended": Policy(STOP),  # SIGTERM: whoever sent it decides whether it comes back
    "node failure": Policy(ELSEWHERE, 3),
    "killed": Policy(ELSEWHERE, 2),
    "container": Policy(ELSEWHERE, 2),  # it did not start
    "out of memory": Policy(MEMORY, 3),
    "lost": Policy(AGAIN, 2),  # began, and is gone without a word
    "store": Policy(AGAIN, 3),
    "no space": Policy(AGAIN, 1),
    "freed": Policy(AGAIN, 10),  # no fault: what it waited for had failed, and is mended
    "cancelled": Policy(STOP),
}
"""Every kind that is not here (code, bad data, bad weights, diverged, GPU out of memory ...) would fail again: STOP."""

ASKED = "asked for again"  # an entry of a history from which on faults are counted anew

STATES = {
    "CANCELLED": "cancelled",
    "NODE_FAIL": "node failure",
    "BOOT_FAIL": "node failure",
    "OUT_OF_MEMORY": "out of memory",
    "TIMEOUT": "time limit",
    "DEADLINE": "time limit",
    "PREEMPTED": "preempted",
}
"""Slurm's words for how a job ended -> the fault."""

PHRASES = {
    "DUE TO NODE FAILURE": "node failure",
    "DUE TO PREEMPTION": "preempted",
    "DUE TO TIME LIMIT": "time limit",
    "Exceeded job memory limit": "out of memory",
    "exceeded memory limit": "out of memory",
    "oom-kill": "out of memory",
    "oom_kill": "out of memory",
    "DUE TO JOB REQUEUE": "lost",
    "CANCELLED AT": "cancelled",
}
"""What Slurm's daemons write into a job's own log -> the fault; for jobs that the queue has forgotten."""


def policy(fault: str) -> Policy:
    return FAULTS.get(fault, Policy(STOP))


def times(history: Sequence[Mapping[str, Any]], fault: str) -> int:
    """How often a fault befell a cell since it was last asked for; without those after which it had got further."""
    return sum(entry["fault"] == fault and not entry.get("progress") for entry in _since_asked(history))


def _since_asked(history: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    asked = [number for number, entry in enumerate(history) if entry["fault"] == ASKED]
    return history[asked[-1] + 1 :] if asked else history


def worn(history: Sequence[Mapping[str, Any]]) -> str:
    """The fault that befell a cell more often than its policy bears, or ''."""
    return next((fault for fault, one in FAULTS.items() if one.act != STOP and times(history, fault) > one.most), "")


def minutes(history: Sequence[Mapping[str, Any]]) -> float:
    """The longest time limit that did not suffice, or 0."""
    return max((entry.get("minutes", 0.0) for entry in history if entry["fault"] == "time limit"), default=0.0)


def memory(history: Sequence[Mapping[str, Any]]) -> float:
    """GB to ask for after the last time that memory did not suffice, or 0."""
    asked = (entry.get("memory_gb", 0.0) for entry in history if entry["fault"] == "out of memory")
    return 2 * max(asked, default=0.0)


def avoid(history: Sequence[Mapping[str, Any]], most: int = 3) -> tuple[str, ...]:
    """The last nodes that failed a cell since it was asked for."""
    since = _since_asked(history)
    nodes = [entry["node"] for entry in since if policy(entry["fault"]).act == ELSEWHERE and entry.get("node")]
    return tuple(sorted(dict.fromkeys(nodes[-most:])))
