"""Task: how a model is measured on a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from suite.entry import remark


@dataclass(frozen=True)
class Resources:
    """What one job asks for, on each of `nodes`; `minutes` is the guess for one cell until past results know better.

    A job has a rank a GPU on every node, and one a node where it asks for none.
    """

    nodes: int = 1
    gpus: int = 1
    cpus: int = 8
    memory_gb: float = 32
    minutes: float = 30.0


@dataclass(frozen=True)
class Task:
    """A protocol. Whatever changes its numbers changes `version`, so that a number never changes behind its name.

    `metric` is the headline ("" = the dataset's own); `frozen` tasks work on extracted features and share them;
    a task that is not `seeded` gives the same number for every seed and is run for the first one only; one that is
    `untrained` takes data sets of test images alone, too; what it `makes`
    ("features") is waited for by the cells of the same grid that work with it. One that works on feature `maps` takes
    the models whose architecture gives them: "any"; for a "pyramid" those of strides that are powers of 2; for "layers"
    those of all strides from 2 to 32, as a ResNet's stem and stages have them. Its `image` has what its program
    imports; where no containers are, its cells are blocked until the packages are there that it `needs` beyond core's.
    """

    name: str = remark()
    version: int = 1
    program: str = ""
    kinds: tuple[str, ...] = ("classification",)
    metric: str = ""
    frozen: bool = False
    seeded: bool = True
    untrained: bool = remark(False)
    makes: str = remark("")
    maps: str = remark("")
    settings: Mapping[str, Any] = field(default_factory=dict)
    image: str = remark("core")
    needs: tuple[str, ...] = remark(())
    resources: Resources = remark(Resources())
    datasets: tuple[str, ...] = remark(())
    seeds: tuple[int, ...] = remark((0,))
    checkpoint_seconds: float = remark(60.0)
    source: str = remark()

    @property
    def label(self) -> str:
        """Name and version, as they stand in keys."""
        return f"{self.name}-v{self.version}"
