"""Check: runs the program that opens every image of a data set, on this machine and now."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slurm.cluster import Cluster
from slurm.program import absent, command
from suite.entry import Refusal
from suite.store import Store


def check(
    cluster: Cluster, store: Store, layout: str, root: Path, progress: Callable[[int, int], None], *, decode: bool
) -> dict[str, Any]:
    """What jobs/check.py found: how many `images` were opened, and the `faults` of those that could not be. Refusal
    where there is nothing to run it in, or it ends before its time."""
    if lacking := absent(cluster, store):
        raise Refusal(f"{root}: its images were not opened: there is no {lacking}")
    words = ["-m", "jobs.check", layout, str(root), *(["--decode"] if decode else [])]
    read = [path for path in (root, root.with_name(f"{root.name}.packed")) if path.exists()]
    told: dict[str, Any] = {}
    with command(cluster, store, words, name="check", read=read) as (argv, folder), tempfile.TemporaryFile("w+") as log:
        with subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True) as process:
            try:
                for line in process.stdout or ():
                    told = json.loads(line)
                    progress(told["images"], told["total"])
            except BaseException:
                process.kill()
                raise
        log.seek(0)
        last = (log.read().strip() or f"exit code {process.returncode}").splitlines()[-1]
    if "faults" not in told:
        raise Refusal(f"{root}: its images were not all opened: {last}")
    return told
