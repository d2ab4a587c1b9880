"""Allocation: what Slurm gave the job that we are in, as its environment tells."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Allocation:
    """One rank of an array task. `restarts` counts how often Slurm has started the task before."""

    job: str
    index: int
    number: str
    restarts: int
    node: str
    rank: int
    ranks: int
    local_rank: int
    cpus: int
    end: float  # the time limit, in seconds since the epoch; 0 where Slurm does not say
    began: float = field(default_factory=time.time)

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Allocation:
        def number(name: str, default: int = 0) -> int:
            return int(env.get(name) or default)

        index = number("SLURM_ARRAY_TASK_ID")
        return cls(
            job=f"{env['SLURM_ARRAY_JOB_ID']}_{index}",
            index=index,
            number=env["SLURM_JOB_ID"],
            restarts=number("SLURM_RESTART_COUNT"),
            node=env.get("SLURMD_NODENAME", ""),
            rank=number("SLURM_PROCID"),
            ranks=number("SLURM_NTASKS", 1),
            local_rank=number("SLURM_LOCALID"),
            cpus=number("SLURM_CPUS_PER_TASK"),
            end=number("SLURM_JOB_END_TIME"),
        )

    def requeue(self, patience: float) -> None:
        """Puts this job back into the queue, which ends it; for `patience` seconds again where Slurm refuses. If that
        does not help, the job is seen as lost, and its cells are sent again."""
        until = time.time() + patience
        while subprocess.run(["scontrol", "requeue", self.number]).returncode and time.time() < until:
            time.sleep(2)


def killed_for_memory() -> int:
    """How many processes of our cgroup the kernel has killed for memory; 0 where that cannot be read."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root = "/sys/fs/cgroup" + ("/memory" if controllers else "")
        for name in ("memory.events", "memory.oom_control") if not controllers or controllers == "memory" else ():
            try:
                words = Path(f"{root}{path}/{name}").read_text().split()
            except OSError:
                continue
            if "oom_kill" in words:
                return int(words[words.index("oom_kill") + 1])
    return 0


def resident_gb(pid: int) -> float:
    """Memory that a process and its descendants hold now, in GB; 0 where it is gone."""
    page, total = os.sysconf("SC_PAGE_SIZE"), 0
    for one in _family(pid):
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * page
        except (OSError, IndexError):
            continue
    return total / 2**30


def _family(pid: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(word) for thread in threads for word in (thread / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(one for child in children for one in _family(child))]
