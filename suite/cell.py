"""Cell: one number of a grid, and the key that names it."""

from __future__ import annotations

from dataclasses import dataclass

from suite.dataset import Dataset
from suite.model import Model
from suite.task import Resources, Task


@dataclass(frozen=True)
class Cell:
    """Task x dataset x model x seed."""

    task: Task
    dataset: Dataset
    model: Model
    seed: int

    @property
    def key(self) -> str:
        """`linear-v1/dtd/moco-v2_resnet50/0`: also the folder of its result under results/."""
        return f"{self.task.label}/{self.dataset.name}/{self.model.name}/{self.seed}"

    @property
    def resources(self) -> Resources:
        """What its job asks for: its task's, or, where the model is made, its recipe's."""
        made = self.task.makes == "weights" and self.model.recipe
        return self.model.recipe.resources if made and self.model.recipe else self.task.resources


@dataclass(frozen=True)
class Key:
    """The parts of a cell's key."""

    task: str
    version: int
    dataset: str
    model: str
    seed: int


def parse(key: str) -> Key:
    """The parts of `key`; ValueError where it is none."""
    try:
        label, dataset, model, seed = key.split("/")
        task, version = label.rsplit("-v", 1)
        return Key(task, int(version), dataset, model, int(seed))
    except ValueError:
        raise ValueError(f"{key!r} is not a cell's key; a key reads TASK-vVERSION/DATASET/MODEL/SEED") from None
