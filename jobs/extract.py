"""Extraction: the frozen features of a dataset, put into the store for the tasks that work on them; no metric."""

from __future__ import annotations

from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.result import Outcome


def run(cell: Cell, workspace: Workspace) -> Outcome:
    found = {split: workspace.features(cell, split) for split in workspace.index(cell.dataset).splits}
    images = {split: len(features.y) for split, features in found.items()}
    seconds = sum(features.manifest["seconds"] for features in found.values())
    speed = round(sum(images.values()) / max(seconds, 1e-9), 1)
    return Outcome((), {}, {**images, "images_per_second": speed})
