"""Conversion: runs the program that makes one uniform file of a published checkpoint, on this machine and now."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from slurm.cluster import CHECKOUT, Cluster
from slurm.container import enter
from slurm.engine import entered
from suite import image
from suite.entry import Refusal
from suite.fetch import Later
from suite.model import Model
from suite.store import Store

IMAGE = "core"


def convert(cluster: Cluster, store: Store, model: Model, files: Sequence[Path], source: str, sha256: str) -> str:
    """Writes the model's file in STORE/weights of what was brought, where cells run: with the cluster's Python, or in
    its image. The line that says what is in it; Refusal where the checkpoint is not what the entry says, and Later
    where nothing is there to run in."""
    words = ["-m", "jobs.convert", model.name, "--store", str(store.root), "--source", source, "--sha256", sha256]
    words += map(str, files)
    if lacking := absent(cluster, store):
        raise Later(f"{model.name}: brought, and to be converted by the same command once there is {lacking}")
    if not cluster.runtime:
        return _run(model, [cluster.python or sys.executable, *words], CHECKOUT)
    found = image.current(store, IMAGE, cluster.runtime)
    assert found
    with entered(cluster, store, found, [], name=f"convert-{model.name}") as inside:
        return _run(model, enter(cluster.runtime, inside, words), Path("/"))


def absent(cluster: Cluster, store: Store) -> str:
    """What the conversion lacks here: '' where it can run."""
    if cluster.runtime:
        return image.absent(store, IMAGE, cluster.runtime)
    own = not cluster.python and find_spec("torch") is None
    return "torch in this Python (make setup, or a cluster's entry with a runtime and its image)" if own else ""


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
