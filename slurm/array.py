"""Array: bundles -> job arrays, one an image and resource shape, cut to what the site takes. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slurm.cluster import Cluster
from suite.bundle import Ask, Bundle, joined
from suite.entry import Refusal

# What is asked for is a start and twice the estimate, rounded up to a power of two: a guess that is off by half ends no
# job, and tasks of about the same length share an array.
START_MINUTES, MARGIN = 8.0, 2.0


@dataclass(frozen=True)
class Limits:
    """What a site takes: `array` caps the index of an array's task, from 0 on; `tasks` those in the queue at once."""

    array: int = 1001
    tasks: int = 10_000


@dataclass(frozen=True)
class Array:
    """Tasks of one shape, each a list of bundles to run in turn, with a time limit of `minutes`.

    Task i waits for task i of the array number `after` (among those made together), where there is one.
    """

    image: str
    ask: Ask
    minutes: int
    tasks: tuple[tuple[Bundle, ...], ...]
    after: int | None = None


def arrays(
    cluster: Cluster,
    bundles: Sequence[Bundle],
    *,
    needs: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> list[Array]:
    """The arrays that run `bundles`; `needs` says for a cell's key for which other cell it waits.

    Without a scheduler there is one array of `slots` tasks, filled so that all end at about the same time; bundles that
    wait for one another are in the same task, in order.
    """
    waits = _waits(bundles, needs or {})
    if cluster.scheduler == "slurm":
        found = _slurm(cluster, bundles, waits, limits or Limits())
    else:
        firsts = [number for number in range(len(bundles)) if number not in waits]
        chains = [tuple(bundles[n] for n in _chain(number, waits)) for number in firsts]
        found = [Array("", bundles[0].ask, 0, _spread(chains, cluster.slots))] if bundles else []
    return [replace(array, tasks=tuple(tuple(joined(task)) for task in array.tasks)) for array in found]


def limit(cluster: Cluster, task: Iterable[Bundle]) -> int:
    """The time limit to ask for, in minutes: it follows the estimate, since short jobs start sooner; but a task that is
    packed less full than others shares their array."""
    asked = START_MINUTES + MARGIN * max(cluster.pack, sum(bundle.minutes for bundle in task))
    return max(1, math.floor(min(2.0 ** math.ceil(math.log2(asked)), cluster.hours * 60)))


def estimated(minutes: float) -> float:
    """The estimate for which a time limit of so many minutes is asked."""
    return (minutes - START_MINUTES) / MARGIN


def ranges(numbers: list[int]) -> str:
    """[0, 1, 2, 5] -> '0-2,5'."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and groups[-1][-1] == number - 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return ",".join(f"{group[0]}-{group[-1]}" if len(group) > 1 else f"{group[0]}" for group in groups)


def _waits(bundles: Sequence[Bundle], needs: Mapping[str, str]) -> dict[int, int]:
    """number of a bundle -> number of the bundle that it waits for."""
    maker = {key: number for number, bundle in enumerate(bundles) for key in bundle.keys}
    waits: dict[int, int] = {}
    for number, bundle in enumerate(bundles):
        others = {maker[needs[key]] for key in bundle.keys if needs.get(key) in maker} - {number}
        if len(others) > 1:
            raise Refusal(f"{bundle.keys[0]} waits for several others: run those as a grid of their own first")
        for other in others:
            waits[number] = other
    return waits


def _chain(number: int, waits: Mapping[int, int]) -> Iterator[int]:
    """A bundle, and behind it all that wait for it."""
    yield number
    for other in waits:
        if waits[other] == number:
            yield from _chain(other, waits)


def _slurm(cluster: Cluster, bundles: Sequence[Bundle], waits: Mapping[int, int], limits: Limits) -> list[Array]:
    """First those that wait for nobody, those that are waited for in front; then those that wait for these, and so on.

    What waits for an array's task i is packed like any other, and the first pack is task i of one following array, the
    second of another: Slurm's aftercorr ties task i to task i."""
    waited = set(waits.values())
    order = sorted((n for n in range(len(bundles)) if n not in waits), key=lambda n: n not in waited)
    packed = list(_packed([bundles[n] for n in order], cluster.pack))
    # What doesn't fit into the queue at once goes in smaller arrays, so that one follows when a few tasks have ended.
    size = min(limits.array, limits.tasks if len(packed) <= limits.tasks else max(1, limits.tasks // 4))
    found = list(_cut(cluster, packed, size))
    number_of = {id(bundle): n for n, bundle in enumerate(bundles)}
    for number, array in _growing(found):
        # One array for the first packs of all tasks, one for the second packs, and so on; a shape each.
        following: dict[tuple[str, Ask, int], dict[int, tuple[Bundle, ...]]] = {}
        for index, task in enumerate(array.tasks):
            own = {number_of[id(bundle)] for bundle in task}
            counts: Counter[tuple[str, Ask]] = Counter()
            for pack in _packed([bundles[n] for n, other in waits.items() if other in own], cluster.pack):
                shape = (pack[0].image, pack[0].ask)
                following.setdefault((*shape, counts[shape]), {})[index] = pack
                counts[shape] += 1
        for (image, ask, _), packs in following.items():
            filled = tuple(packs.get(index, ()) for index in range(max(packs) + 1))
            found.append(Array(image, ask, max(limit(cluster, task) for task in filled), filled, after=number))
    return found


def _growing(arrays: list[Array]) -> Iterator[tuple[int, Array]]:
    """Number and array of all, also those that are appended meanwhile."""
    number = 0
    while number < len(arrays):
        yield number, arrays[number]
        number += 1


def _packed(bundles: Iterable[Bundle], minutes: float) -> Iterator[tuple[Bundle, ...]]:
    """Bundles of one shape, in their order, together as long as their estimates stay within `minutes`."""
    by_shape: dict[tuple[str, Ask], list[Bundle]] = {}
    for bundle in bundles:
        by_shape.setdefault((bundle.image, bundle.ask), []).append(bundle)
    for (_, ask), group in by_shape.items():
        alone = ask.resources.nodes > 1 or ask.resources.gpus > 1  # several ranks end together
        task: list[Bundle] = []
        for bundle in group:
            if task and (alone or sum(b.minutes for b in task) + bundle.minutes > minutes):
                yield tuple(task)
                task = []
            task.append(bundle)
        yield tuple(task)


def _cut(cluster: Cluster, tasks: Iterable[tuple[Bundle, ...]], size: int) -> Iterator[Array]:
    groups: dict[tuple[str, Ask, int], list[tuple[Bundle, ...]]] = {}
    for task in tasks:
        groups.setdefault((task[0].image, task[0].ask, limit(cluster, task)), []).append(task)
    for (image, ask, minutes), group in groups.items():
        for start in range(0, len(group), size):
            yield Array(image, ask, minutes, tuple(group[start : start + size]))


def _spread(chains: Sequence[tuple[Bundle, ...]], slots: int) -> tuple[tuple[Bundle, ...], ...]:
    """Chains over `slots` tasks, the longest first, each to the task that has the least to do."""
    tasks: list[list[Bundle]] = [[] for _ in range(min(slots, len(chains)))]
    load = [0.0] * len(tasks)
    for chain in sorted(chains, key=lambda chain: -sum(bundle.minutes for bundle in chain)):
        lightest = load.index(min(load))
        tasks[lightest] += chain
        load[lightest] += sum(bundle.minutes for bundle in chain)
    return tuple(map(tuple, tasks))
