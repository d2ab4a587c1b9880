"""Package: what the programs of some tasks import beyond core's software, and whether a cluster's jobs have it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterable
from functools import cache

from slurm.cluster import CHECKOUT, Cluster
from suite.task import Task

ASK_SECONDS = 30.0
UNREGISTERED = {"detectron2": "DETECTRON2=/path/to/checkout"}  # what set-up takes from where it is told
# A folder without __init__.py, such as a clone of its repository, is no package.
PROGRAM = "import importlib.util as u, sys; s = u.find_spec(sys.argv[1]); sys.exit(3 * (not (s and s.origin)))"


def python(cluster: Cluster) -> str:
    """The Python of a cluster's jobs, where they run in no container."""
    return cluster.python or sys.executable


def missing(python: str, packages: Iterable[str]) -> list[str]:
    """Those of `packages` that a Python does not have. Of one that cannot be asked here, nothing is known, and nothing
    is missing: its jobs will say."""
    return [name for name in packages if not (_here(name) if python == sys.executable else _there(python, name))]


def needed(tasks: Iterable[Task]) -> dict[str, list[str]]:
    """package -> the names of the tasks that need it."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        for name in task.needs:
            found.setdefault(name, []).append(task.name)
    return found


def remedy(packages: Iterable[str]) -> str:
    """The command that installs packages."""
    return " ".join(["make setup", *(UNREGISTERED[name] for name in packages if name in UNREGISTERED)])


def elsewhere(python: str) -> str:
    """What is to be done beside that, where the jobs' Python is not the one that set-up installs into."""
    own = CHECKOUT / ".venv/bin/python"
    return "" if python == str(own) else f" and python={str(own)!r} in the cluster's entry"


def _here(name: str) -> bool:
    found = importlib.util.find_spec(name)
    return bool(found and found.origin)


@cache
def _there(python: str, name: str) -> bool:
    """Asked once: not at every poll of who stays."""
    if "/" not in python:  # found by the PATH of the job, which is another
        return True
    try:
        ran = subprocess.run([python, "-c", PROGRAM, name], cwd=CHECKOUT, capture_output=True, timeout=ASK_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return ran.returncode != 3
