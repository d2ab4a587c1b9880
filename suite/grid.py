"""Grid: the cells of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suite import architecture
from suite.cell import Cell
from suite.dataset import Dataset
from suite.entry import remark
from suite.model import Model
from suite.task import Task


@dataclass(frozen=True)
class Grid:
    """A study: names of entries (wildcards allowed); empty `datasets` or `seeds` mean each task's own."""

    name: str = remark()
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    title: str = remark()


def cells(
    tasks: Sequence[Task], datasets: Sequence[Dataset], models: Sequence[Model], seeds: Sequence[int]
) -> list[Cell]:
    """All cells whose task takes the dataset's kind and the model; those which share features are neighbours."""
    return [
        Cell(task, dataset, model, seed)
        for dataset in datasets
        for model in models
        for task in tasks
        if takes(task, dataset) and fits(task, model)
        for seed in ((seeds or task.seeds) if task.seeded else task.seeds[:1])
    ]


def takes(task: Task, dataset: Dataset) -> bool:
    """Whether the dataset has what the task measures."""
    labelled = dataset.kind in task.kinds and (dataset.masks or not task.settings.get("masks"))
    return labelled and (task.untrained or "train" in dataset.counts)


def fits(task: Task, model: Model) -> bool:
    """Whether the model gives what the task works on: feature maps, where it works on them."""
    strides = architecture.strides(model.architecture) if task.maps else ()
    even = all(stride & (stride - 1) == 0 for stride in strides)
    return not task.maps or (bool(strides) and (even or task.maps != "pyramid"))
