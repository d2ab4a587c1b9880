"""Conversion: runs the program that makes one uniform file of a published checkpoint, on this machine and now."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from slurm.cluster import Cluster
from slurm.program import absent, command
from suite.entry import Refusal
from suite.fetch import Later
from suite.model import Model
from suite.store import Store


def convert(cluster: Cluster, store: Store, model: Model, files: Sequence[Path], source: str, sha256: str) -> str:
    """Writes the model's file in STORE/weights of what was brought, where cells run: with the cluster's Python, or in
    its image. The line that says what is in it; Refusal where the checkpoint is not what the entry says, and Later
    where nothing is there to run in."""
    words = ["-m", "jobs.convert", model.name, "--store", str(store.root), "--source", source, "--sha256", sha256]
    words += map(str, files)
    if lacking := absent(cluster, store):
        raise Later(f"{model.name}: brought, and to be converted by the same command once there is {lacking}")
    with command(cluster, store, words, name=f"convert-{model.name}") as (argv, folder):
        return _run(model, argv, folder)


def _run(model: Model, argv: list[str], folder: Path) -> str:
    ran = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode == 0:
        return ran.stdout.strip()
    silent = f"it was killed by signal {-ran.returncode}" if ran.returncode < 0 else f"exit code {ran.returncode}"
    last = (ran.stderr.strip() or ran.stdout.strip() or silent).splitlines()[-1]
    if ran.returncode == os.EX_DATAERR:
        raise Refusal(f"{model.name}: not converted: {last}")
    raise Later(
        f"{model.name}: not converted, which is not the file's fault: {last}; the same command goes on from there"
    )
