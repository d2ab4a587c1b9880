"""Preview: what a grid would do, as lines of text."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from slurm.cluster import Cluster, command
from slurm.status import State
from suite.bundle import Bundle
from suite.plan import Plan

Arrays = Sequence[Sequence[Sequence[Bundle]]]


def summary(planned: Plan, now: Mapping[str, State], work: Arrays, past: Mapping[str, int]) -> Iterator[str]:
    """How many cells are in which state, what was left out, and the estimate with its sources."""
    count = Counter(state.name for state in now.values())
    yield f"{len(planned.cells)} cells: " + ", ".join(f"{number} {name}" for name, number in count.items())
    yield from (f"left out: {why}" for why in planned.left_out)
    bundles = [bundle for array in work for task in array for bundle in task]
    if bundles:
        hours = sum(bundle.minutes * max(bundle.resources.gpus, 1) for bundle in bundles) / 60
        sources = ", ".join(f"{label}: {f'{n} past results' if n else 'a guess'}" for label, n in sorted(past.items()))
        yield (
            f"to run: {sum(len(bundle.cells) for bundle in bundles)} cells in {len(bundles)} bundles, "
            f"{sum(map(len, work))} array tasks, {len(work)} arrays; about {hours:.2f} GPU hours ({sources})"
        )


def details(cluster: Cluster, store: Path, planned: Plan, now: Mapping[str, State], work: Arrays) -> Iterator[str]:
    """Every cell with its state, every array with its tasks and bundles, and one job's exact command."""
    yield from (f"  {now[cell.key].name:8} {cell.key}" for cell in planned.cells)
    for number, array in enumerate(work):
        yield f"array {number}: {len(array)} tasks"
        for index, task in enumerate(array):
            yield f"  task {index}: {len(task)} bundles, about {sum(bundle.minutes for bundle in task):.1f} minutes"
            yield from (f"    {_shape(bundle)}: {' '.join(bundle.keys)}" for bundle in task)
    if work:
        yield "one job runs: " + shlex.join(command(cluster, work[0][0][0].keys, store, "COMMIT"))
    yield "dry run: nothing was submitted"


def _shape(bundle: Bundle) -> str:
    asked = bundle.resources
    return f"image {bundle.image}, {asked.gpus} GPU, {asked.cpus} CPUs, {asked.memory_gb} GB"
