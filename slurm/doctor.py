"""Doctor: what may keep a grid from running here, one line a finding, each with its remedy."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slurm.cluster import Cluster
from suite.store import Store, write_text

JOB_PACKAGES = ("torch", "torchvision", "timm", "numpy", "PIL", "safetensors")


@dataclass(frozen=True)
class Finding:
    """A check: whether it went well, what was seen, and what to do if not."""

    well: bool
    seen: str
    remedy: str = ""


def examine(cluster: Cluster, store: Store) -> Iterator[Finding]:
    """All checks of a cluster and a store."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(sys.version_info >= (3, 10), f"Python {version}", "use Python 3.10 or newer")
    absent = [name for name in JOB_PACKAGES if importlib.util.find_spec(name) is None]
    if not cluster.python:
        told = f"missing: {', '.join(absent)}" if absent else "all there"
        yield Finding(not absent, f"packages of the jobs {told}", "make setup, or give the cluster another `python`")
    pandas = importlib.util.find_spec("pandas") is not None
    yield Finding(pandas, f"pandas {'is there' if pandas else 'is missing'}", "only `gather` needs it: make setup")
    yield _writable(store)
    yield _space(store)
    cores = len(os.sched_getaffinity(0))
    yield Finding(cores >= 1, f"{cores} of {os.cpu_count()} cores may be used; {cluster.slots} job(s) side by side")
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    yield Finding(True, f"{gpus} GPUs" if gpus else "no GPU: everything runs on the CPU")


def _writable(store: Store) -> Finding:
    try:
        write_text(store.root / ".doctor", "")
        (store.root / ".doctor").unlink()
    except OSError as error:
        return Finding(False, f"{store.root} cannot be written: {error.strerror}", "name another with --store")
    return Finding(True, f"{store.root} can be written")


def _space(store: Store) -> Finding:
    free = shutil.disk_usage(store.root if store.root.exists() else Path.cwd()).free / 1e9
    return Finding(free > 10, f"{free:.0f} GB free in {store.root}", "features of a large dataset take 10 GB a model")
