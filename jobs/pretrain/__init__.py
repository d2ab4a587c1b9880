"""Pre-training: a backbone learns from images without labels, and becomes a model of the store."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace

import safetensors.torch

from jobs.lib import backbone, interrupt
from jobs.lib.failure import BadTask
from jobs.lib.workspace import Workspace
from jobs.pretrain.lib.look import Look
from jobs.pretrain.lib.method import Method
from jobs.pretrain.lib.trainer import Trainer
from suite.cell import Cell
from suite.result import Metric, Outcome
from suite.store import write_bytes, write_text

RANKS = True  # it may run in several
SHOWN_APART = ("step", "epoch", "lr", "images/s", "waiting")


def run(cell: Cell, workspace: Workspace) -> Outcome:
    recipe = cell.model.recipe
    if recipe is None or cell.model.weights is None:
        raise BadTask(f"{cell.model.name} is nothing that a recipe makes: RECIPE_ARCHITECTURE@DATASET")
    images = workspace.images(cell.dataset, "train")
    network = backbone.build(replace(cell.model, weights=None))
    look = Look.of(cell, workspace)
    with interrupt.deferred():  # from here on it leaves between two steps
        trainer = Trainer(cell, workspace, images, method(recipe.method), network, look)
        trainer.train()
        return _finish(cell, workspace, trainer, look)


def method(name: str) -> type[Method]:
    """The method that jobs/pretrain/NAME.py holds."""
    module = importlib.import_module(f"jobs.pretrain.{name}")
    own = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Method)]
    return next(one for one in own if one.__module__ == module.__name__)


def _finish(cell: Cell, workspace: Workspace, trainer: Trainer, look: Look | None) -> Outcome:
    """Writes the backbone as a model of the store, and the curves beside the result."""
    found: tuple[Metric, ...] = (look.metric(trainer.method.backbone),) if look else ()
    file = workspace.store.weights / cell.model.weights.file
    if workspace.ranks.first:
        state = {n: t.detach().cpu().contiguous() for n, t in trainer.method.backbone.state_dict().items()}
        # One key, since their order in the file is drawn by lot: equal weights are equal files.
        about = {"model": cell.model.name, "architecture": cell.model.architecture, "made_by": cell.key}
        write_bytes(file, safetensors.torch.save(state, {"about": json.dumps(about)}))
        write_text(workspace.folder(cell) / "curve.csv", trainer.curve.csv())
        write_bytes(workspace.folder(cell) / "curve.png", trainer.curve.png(cell.model.name))
    last = {name: value for name, value in trainer.curve.points[-1].items() if name not in SHOWN_APART}
    told = {"weights": str(file), "steps": trainer.loop.steps, "schedule": trainer.rate.told, "last": last}
    return Outcome(found, {}, told)
