"""What tests of pre-training share: a small set of images, and cells of few steps."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from jobs import pretrain
from jobs.lib import checkpoint
from jobs.lib.ranks import Ranks
from jobs.lib.workspace import Workspace
from suite import adhoc, product
from suite.catalog import Catalog
from suite.cell import Cell
from suite.result import Outcome

CLASSES, EACH, TESTED = 4, 12, 2
# By method: the recipe, an architecture, and what makes it small.
SMALL: dict[str, tuple[str, str, dict[str, Any]]] = {
    "simclr": ("simclr-short", "timm-test_resnet", {"projector": (32, 16)}),
    "byol": ("byol-short", "timm-test_resnet", {}),
    "simsiam": ("simsiam-short", "timm-test_resnet", {}),
    "moco-v1": ("moco-v1-short", "timm-test_resnet", {"queue": 32}),
    "moco-v2": ("moco-v2-short", "timm-test_resnet", {"queue": 32}),
    "moco-v3": ("moco-v3-short", "timm-test_resnet", {}),
    "densecl": ("densecl-short", "timm-test_resnet", {"queue": 32}),
    "swav": ("swav-short", "timm-test_resnet", {}),
    "mae": ("mae-short", "timm-test_vit", {}),
    "rotation": ("rotation-short", "timm-test_resnet", {}),
    "relative-loc": ("relative-loc-short", "timm-test_resnet", {}),
    "npid": ("npid-short", "timm-test_resnet", {}),
    "deepcluster": ("deepcluster-short", "timm-test_resnet", {"clusters": 5}),
    "odc": ("odc-short", "timm-test_resnet", {"clusters": 5}),
}


def folder(root: Path) -> Path:
    """Classes of coloured noise: CLASSES x EACH images to train on."""
    draw = np.random.default_rng(0)
    for split, count in (("train", EACH), ("test", TESTED)):
        for label in range(CLASSES):
            for number in range(count):
                made = draw.integers(0, 128, (40, 36, 3)) + 30 * np.eye(3)[label % 3] * (1 + label // 3)
                path = root / split / f"class{label}" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(made.clip(0, 255).astype(np.uint8)).save(path)
    return root


def cell_of(known: Catalog, data: Path, method: str, **settings: Any) -> Cell:
    """A cell of two epochs of three steps; its data set is on record."""
    name, architecture, own = SMALL[method]
    dataset = adhoc.dataset(f"imagefolder:{data}", known)
    known.named[dataset.name] = dataset
    cell = product.maker(known.model(f"{name}_{architecture}@{dataset.name}"), known)
    known.record([cell])
    assert cell.model.recipe
    changed = {**cell.model.recipe.settings, "batch": 16, "published_batch": 16, "epochs": 2, **own, **settings}
    task = replace(cell.task, checkpoint_seconds=0.0)
    return replace(cell, task=task, model=replace(cell.model, recipe=replace(cell.model.recipe, settings=changed)))


def run(known: Catalog, cell: Cell, ranks: Ranks | None = None) -> Outcome:
    return pretrain.run(cell, Workspace(known.store, cores=1, ranks=ranks))


def killed(known: Catalog, cell: Cell, at: int) -> int | None:
    """How a process ended that was killed as it was about to put its checkpoint number `at` into place."""
    left, move = at, os.replace

    def dying(aside: Any, to: Any) -> None:
        nonlocal left
        left -= Path(to).name == checkpoint.NAME
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        move(aside, to)

    def go() -> None:
        torch.set_num_threads(1)
        os.replace = dying  # type: ignore[assignment]
        run(known, cell)

    process = multiprocessing.get_context("fork").Process(target=go)
    process.start()
    process.join(120)
    return process.exitcode
