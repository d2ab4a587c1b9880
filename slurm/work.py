"""Work: cells -> the arrays that run them on a cluster, with what is known of each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from slurm import faults, scheduler
from slurm.array import Array, Limits, arrays
from slurm.cluster import Cluster, asks
from slurm.scheduler import Outage
from suite import attempt, product
from suite.bundle import Ask, bundles
from suite.cell import Cell
from suite.entry import Refusal
from suite.estimate import Estimate
from suite.store import Store


@dataclass(frozen=True)
class Work:
    """Arrays to send. `needs` says for a cell whose result it waits for, `sources` on how many past results of each
    task the estimate rests, `limits` what the site takes."""

    arrays: Sequence[Array]
    needs: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(
        cls,
        cluster: Cluster,
        store: Store,
        cells: Sequence[Cell],
        *,
        among: Sequence[Cell] = (),
        needs: Mapping[str, str] | None = None,
        dry: bool = False,
    ) -> Work:
        """What runs `cells`, which may wait for others `among` the grid's. Jobs ask for what their task says, or for
        what past results and faults say better."""
        estimate = Estimate(store.results, cells)

        def ask(cell: Cell) -> Ask:
            usual = asks(cluster, cell.task.resources)
            history = attempt.history(store.results / cell.key)
            memory = faults.memory(history) or estimate.memory_gb(cell) or usual.memory_gb
            return Ask(replace(usual, memory_gb=memory, minutes=0), faults.avoid(history))

        def minutes(cell: Cell) -> float:
            history = attempt.history(store.results / cell.key)
            return estimate.minutes(cell) * float(2 ** faults.times(history, "time limit"))

        needs = product.needs(among or cells) if needs is None else needs
        limits = _limits(cluster, dry) if cells else Limits()
        made = arrays(cluster, bundles(cells, minutes, ask), needs=needs, limits=limits)
        return cls(made, needs, estimate.sources, limits)


def _limits(cluster: Cluster, dry: bool) -> Limits:
    """What the cluster takes; for a dry run where Slurm is not at hand, Slurm's defaults."""
    if cluster.scheduler != "slurm":
        return Limits()
    try:
        return scheduler.limits(cluster.window)
    except (Outage, Refusal) as trouble:
        if dry:
            return Limits()
        raise Refusal(f"cluster {cluster.name}: {trouble}") from None
