"""Partition: the nodes where a cluster's jobs would run, as sinfo tells of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DOWN = ("down", "drain", "drng", "fail", "inval", "unk")
FORMAT = "--format=%P|%l|%c|%m|%G|%D|%t"


@dataclass(frozen=True)
class Nodes:
    """Nodes of a partition that are alike: each one's CPUs, memory in MB and gres; `default` is the site's own choice
    of a partition, `hours` the longest that a job of it may take."""

    partition: str
    default: bool
    hours: float
    cpus: int
    memory: int
    gres: dict[str, int]
    count: int
    up: bool

    def fit(self, given: Mapping[str, Any]) -> bool:
        """Whether there are enough of them for an array with these parameters (script.parameters), were they idle."""
        wanted = given.get("gres") or (f"gpu:{given['gpus_per_node']}" if given.get("gpus_per_node") else "")
        return (
            given["nodes"] <= self.count
            and given["ntasks_per_node"] * given["cpus_per_task"] <= self.cpus
            and int(given["mem"].removesuffix("M")) <= self.memory
            and all(self.gres.get(name, 0) >= count for name, count in counts(wanted).items())
        )


def parse(told: str) -> list[Nodes]:
    """sinfo's lines of FORMAT."""
    found = []
    for line in told.splitlines():
        name, limit, cpus, memory, gres, count, state = line.strip().split("|")
        up = not state.startswith(DOWN) and not state.endswith("*")
        numbers = (_first(cpus), _first(memory), counts(gres), _first(count))
        found.append(Nodes(name.rstrip("*"), name.endswith("*"), hours(limit), *numbers, up))
    return found


def of(partition: str, nodes: Iterable[Nodes]) -> list[Nodes]:
    """The nodes of a partition, of several ("a,b"), or of the site's default one ('')."""
    return [one for one in nodes if (one.partition in partition.split(",") if partition else one.default)]


def hours(limit: str) -> float:
    """A time limit, [DAYS-]HOURS:MINUTES:SECONDS or MINUTES:SECONDS; infinite where it is no time."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if not found:
        return float("inf")
    days, hour, minute, second = (int(part or 0) for part in found.groups())
    return days * 24 + hour + minute / 60 + second / 3600


def counts(gres: str) -> dict[str, int]:
    """'gpu:a100:4(S:0-1),gpu:v100:2' -> {'gpu': 6, 'gpu:a100': 4, 'gpu:v100': 2}; nothing of what is no count."""
    found: dict[str, int] = {}
    for item in re.sub(r"\([^)]*\)", "", gres).split(","):
        if parts := re.fullmatch(r"(\w+)(:(?!\d+[KMGT]?$)[^:]+)?(?::(\d+)([KMGT]?))?", item.strip()):
            count = int(parts[3] or 1) * 1024 ** " KMGT".index(parts[4] or " ")
            for key in {parts[1], parts[1] + (parts[2] or "")}:
                found[key] = found.get(key, 0) + count
    return found


def _first(text: str) -> int:
    return int((re.findall(r"\d+", text) or ["0"])[0])
