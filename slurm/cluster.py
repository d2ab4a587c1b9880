"""Cluster: a place to run, and how it is asked: pure functions of its entry."""

from __future__ import annotations

import runpy
from dataclasses import dataclass, replace
from pathlib import Path

from suite import catalog, image
from suite.entry import Refusal, near
from suite.task import Resources

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Cluster:
    """Facts of a place. What is empty, or 0, is left to the site's own default.

    `python` is the interpreter that has the jobs' packages ('' = this one), `hours` the longest that a job may take,
    `pack` the minutes of estimated work that an array task is filled with. With a `runtime` the programs run in
    containers, and `python` needs the launcher's packages only.
    """

    name: str
    scheduler: str = ""  # "slurm", or "" for this machine alone
    store: str = "./store"
    python: str = ""
    hours: float = 24.0 * 365
    slots: int = 1  # without a scheduler: jobs side by side
    runtime: str = ""  # apptainer, singularity, docker, podman, pyxis, or "" for none
    images: str = ""  # where to pull images from, e.g. "oras://registry.lab/suite/{image}:{recipe}"
    base: str = ""  # what `build` starts from instead of Debian's image: see --base
    binds: tuple[str, ...] = ()  # more folders to read in containers: where links in your data lead to
    scratch: str = ""  # folder on a node for temporary files in containers, e.g. "/local/$SLURM_JOB_ID"; "" = TMPDIR
    # With one. Names are sbatch's.
    account: str = ""
    partition: str = ""
    qos: str = ""
    constraint: str = ""
    gres: str = ""  # e.g. "gpu:a100:{gpus}"; "" asks with --gpus-per-node; "none" asks for no GPU
    mail_user: str = ""
    mail_type: str = ""
    wckey: str = ""
    lines: tuple[str, ...] = ()  # more of sbatch's options, e.g. "--reservation=vision"
    setup: tuple[str, ...] = ()  # shell lines before the job, e.g. "module load python"
    cpus_a_gpu: int = 0  # instead of what tasks ask
    gb_a_gpu: float = 0
    parallel: int = 0  # most array tasks of one grid that run at once, shared out over its arrays
    window: int = 0  # most array tasks in the queue at once
    pack: float = 10.0
    grace: int = 90  # seconds between the warning and the end of a job: enough to save a checkpoint
    srun: bool = True  # False where srun is refused within a job


def find(name: str) -> Cluster:
    """The cluster of a name in slurm/clusters/, or the one in a file of the user's own, PATH.py. Refusal with near
    names."""
    if not name.endswith(".py"):
        known = catalog.entries("slurm.clusters", Cluster)
        if name not in known:
            raise near(name, known, "cluster")
        return _checked(known[name])
    path = Path(name).expanduser().absolute()
    if not path.is_file():
        raise Refusal(f"--cluster {name}: no such file")
    found = [value for value in runpy.run_path(str(path)).values() if isinstance(value, Cluster)]
    if not found:
        raise Refusal(f"--cluster {name}: it holds no Cluster(...); see slurm/clusters/ for examples")
    return _checked(replace(found[-1], name=str(path)))


def _checked(cluster: Cluster) -> Cluster:
    image.runtime(cluster.runtime)
    return cluster


def ranks(asked: Resources) -> int:
    """Processes of one job: one a GPU on every node, and one a node where no GPU is asked for."""
    return asked.nodes * max(asked.gpus, 1)


def asks(cluster: Cluster, asked: Resources) -> Resources:
    """What a job of these resources asks for on this cluster: as its GPUs come, where the entry says so."""
    share = max(asked.gpus, 1)
    cpus = cluster.cpus_a_gpu * share or asked.cpus
    return replace(asked, cpus=cpus, memory_gb=cluster.gb_a_gpu * share or asked.memory_gb)
