"""What tests of detection share: cells that are small in every way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jobs.detection import build
from jobs.lib.training import Trainer
from jobs.lib.view import Views
from jobs.lib.workspace import Workspace
from suite.catalog import Catalog
from suite.cell import Cell

TINY: dict[str, Any] = {
    "iterations": 6,
    "drops": (4,),
    "warmup": 2,
    "batch": 4,
    "published_batch": 4,
    "learning_rate": 0.005,
    "short_sides": (48, 64),
    "test_short_side": 64,
    "width": 16,
    "head": 32,
    "rois": 16,
    "rpn_before": (50, 50),
    "rpn_after": (20, 20),
    "score_threshold": 0.0,
    "detections": 5,
    "flip": True,
}
MODEL = "random-32px_squeezenet1_1"


def cell_of(known: Catalog, task: str = "detection-lite-short", model: str = MODEL, **settings: Any) -> Cell:
    cell = known.cell(f"{task}-v1/digit-scenes/{model}/0")
    return replace(cell, task=replace(cell.task, settings={**cell.task.settings, **TINY, **settings}))


def trainer(known: Catalog, cell: Cell) -> Trainer:
    workspace = Workspace(known.store, cores=1)
    root, index = workspace.root(cell.dataset), workspace.index(cell.dataset)
    return Trainer(cell, workspace, build(cell, workspace), [Views(root, index.splits["train"])])
