"""Learner: what is trained, and how it is built on a backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from jobs.lib import seeds
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.model import Model

Built = TypeVar("Built", bound="Learner")


class Learner(nn.Module):
    """What is trained. `kind` says what was built, `report` how the backbone's weights came into it."""

    kind: str
    report: str

    def losses(self, views: Sequence[Any]) -> Mapping[str, Tensor]:
        """The parts of the loss, each a mean over the views."""
        raise NotImplementedError


def built(
    make: Callable[[nn.Module, Model, int, Mapping[str, Any]], Built], cell: Cell, workspace: Workspace, classes: int
) -> Built:
    """make(backbone, model, classes, settings) of a cell, its new layers drawn from the cell's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.number(cell.seed, "head"))
        backbone = workspace.backbone(cell.model).network
        return make(backbone, cell.model, classes, cell.task.settings)
