"""Preview: what a grid would do, as lines of text."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from slurm import engine, submission
from slurm.array import Array
from slurm.cluster import Cluster, ranks
from slurm.container import Inside, command
from slurm.status import State
from slurm.submission import Submission
from slurm.work import Work
from suite import image
from suite.bundle import Bundle
from suite.image import Image
from suite.plan import Plan
from suite.store import Store


def summary(planned: Plan, now: Mapping[str, State], work: Work) -> Iterator[str]:
    """How many cells are in which state, what was left out, and the estimate with its sources."""
    count = Counter(state.name for state in now.values())
    yield f"{len(planned.cells)} cells: " + ", ".join(f"{number} {name}" for name, number in count.items())
    yield from (f"left out: {why}" for why in planned.left_out)
    yield from (f"bad data: {why}" for why in planned.bad)
    bundles = [bundle for array in work.arrays for task in array.tasks for bundle in task]
    if bundles:
        past = sorted(work.sources.items())
        sources = ", ".join(f"{label}: {f'{n} past results' if n else 'a guess'}" for label, n in past)
        yield (
            f"to run: {sum(len(bundle.cells) for bundle in bundles)} cells in {len(bundles)} bundles, "
            f"{sum(len(array.tasks) for array in work.arrays)} array tasks, {len(work.arrays)} arrays; "
            f"about {sum(map(gpu_hours, work.arrays)):.2f} GPU hours ({sources})"
        )


def details(cluster: Cluster, store: Store, planned: Plan, now: Mapping[str, State], work: Work) -> Iterator[str]:
    """Every cell with its state, every array with its tasks and bundles, and one job's exact command."""
    yield from (f"  {now[cell.key].name:8} {cell.key}" for cell in planned.cells)
    for number, array in enumerate(work.arrays):
        after = "" if array.after is None else f"; task i after task i of array {array.after}"
        limit = f", at most {array.minutes} minutes a task" if array.minutes else ""
        yield f"array {number}: {len(array.tasks)} tasks, {gpu_hours(array):.2f} GPU hours{limit}{after}"
        for index, task in enumerate(array.tasks):
            yield f"  task {index}: {len(task)} bundles, about {sum(bundle.minutes for bundle in task):.1f} minutes"
            yield from (f"    {_shape(bundle)}: {' '.join(bundle.keys)}" for bundle in task)
    if work.arrays:
        first = next(bundle for task in work.arrays[0].tasks for bundle in task)
        more = ["--cores", str(first.ask.resources.cpus)] if cluster.scheduler else []
        inside = _inside(cluster, store, first) if cluster.runtime else None
        yield "one job runs: " + shlex.join(
            command(cluster, first.keys, store.root, "COMMIT", more=more, inside=inside)
        )
        if cluster.scheduler == "slurm":
            yield from scripts(cluster, submission.draft(store, cluster, work.arrays, "COMMIT", needs=work.needs))
    yield "dry run: nothing was submitted"


def scripts(cluster: Cluster, drafted: Submission) -> Iterator[str]:
    """What sbatch would be given, array by array."""
    from slurm.script import Script  # loads submitit, 0.2 s

    for array in drafted.arrays:
        after = f"aftercorr:JOB-OF-{array.after}" if array.after else ""
        yield f"--- {array.name}.sh\n{Script(cluster, drafted.folder, array, after).text}"


def gpu_hours(array: Array) -> float:
    """What the estimate of an array costs; a job without a GPU counts as one."""
    return sum(bundle.minutes for task in array.tasks for bundle in task) * ranks(array.ask.resources) / 60


def _inside(cluster: Cluster, store: Store, bundle: Bundle) -> Inside:
    """What a bundle would get in its image on this machine; on a node, its GPUs and cores."""
    there = image.current(store, bundle.image, cluster.runtime)
    scratch = Path(os.path.expandvars(cluster.scratch) or tempfile.gettempdir()) / "cells-XXXXXXXX"
    return engine.inside(cluster, store, there or Image("", "", ""), bundle.cells, scratch, name="NAME")


def _shape(bundle: Bundle) -> str:
    asked = bundle.ask.resources
    nodes = f"{asked.nodes} nodes of " if asked.nodes > 1 else ""
    avoid = f", not on {','.join(bundle.ask.avoid)}" if bundle.ask.avoid else ""
    return f"image {bundle.image}, {nodes}{asked.gpus} GPU, {asked.cpus} CPUs, {asked.memory_gb:g} GB{avoid}"
