"""What a step of pre-training costs beyond its networks: ours beside their bare forward and backward pass.

    python tests/bench/step.py [METHOD ...] [--batch 32] [--rounds 7] [--cores 0]

A step is the trainer's whole one: rate, loss, gradients, the method's changes to them, the optimizer, slow copies and
queues, a point of the curve. Bare are the same networks (backbone and heads; without gradient those that a method has
for keys or targets), in the same memory format, on the same batch, in as few calls. Batches are synthetic, of 224
pixels, and made before: the loader is no part of it. Step and bare pass take turns within one training, so that both
see what else the machine does; ratios are medians over the rounds, of the CPU's time in all threads (which wait
passively) and, less surely on a busy machine, of the clock's.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a thread that waits for another does not count as work

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs import pretrain
from jobs.lib import backbone
from jobs.lib.workspace import Workspace
from jobs.pretrain.lib import vit
from jobs.pretrain.lib.method import Batch
from jobs.pretrain.lib.trainer import Trainer
from suite import product
from suite.catalog import Catalog
from suite.cell import Cell
from suite.store import Store

TARGET = 1.10
LATE = 1_000_000  # a step at which every queue is full
Bare = Callable[[Any, list[Tensor]], None]


class Pictures:
    """`count` images that nobody looks at."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count


def cell_of(known: Catalog, model: str, **settings: Any) -> Cell:
    """The cell of a pre-training on a data set of the catalogue, with other settings and without looks."""
    cell = product.maker(known.model(f"{model}@tiny-imagenet"), known)
    assert cell.model.recipe
    common = {"accumulate": 1, "precision": "float32", "knn_every": 0}
    recipe = replace(cell.model.recipe, settings={**cell.model.recipe.settings, **common, **settings})
    task = replace(cell.task, checkpoint_seconds=float("inf"))
    return replace(cell, task=task, model=replace(cell.model, recipe=recipe))


def trainer_of(cell: Cell, workspace: Workspace, images: Any) -> Trainer:
    """Its trainer, from the beginning."""
    assert cell.model.recipe
    network = backbone.build(replace(cell.model, weights=None))
    return Trainer(cell, workspace, images, pretrain.method(cell.model.recipe.method), network)


def back(outputs: Tensor) -> None:
    outputs.backward(torch.randn_like(outputs) / len(outputs))


def simclr(method: Any, views: list[Tensor]) -> None:
    back(method.projector(method.backbone(torch.cat(views))))


def moco(method: Any, views: list[Tensor]) -> None:
    queries = method.projector(method.backbone(views[0]))
    with torch.no_grad():
        method.slow(views[1])
    back(queries)


def simsiam(method: Any, views: list[Tensor]) -> None:
    back(torch.cat([method.predictor(method.projector(method.backbone(view))) for view in views]))


def byol(method: Any, views: list[Tensor]) -> None:
    made = torch.cat([method.predictor(method.projector(method.backbone(view))) for view in views])
    with torch.no_grad():
        for view in views:
            method.slow(view)
    back(made)


def swav(method: Any, views: list[Tensor]) -> None:
    by_size = [torch.cat(list(same)) for _, same in groupby(views, lambda view: view.shape[-1])]
    back(method.prototypes(method.projector(torch.cat([method.backbone(same) for same in by_size]))))


def mae(method: Any, views: list[Tensor]) -> None:
    (images,), of, hidden = views, vit.parts(method.backbone), method.places - method.seen
    kept = torch.arange(method.seen).expand(len(images), -1)
    seen = method.enter(vit.encode(of, images, kept))
    masked = method.mask_token.expand(len(images), hidden, -1)
    back(method.paint(method.decoder(torch.cat([seen, masked], 1) + method.positions)[:, -hidden:]))


METHODS: dict[str, tuple[str, Bare]] = {
    "simclr": ("simclr_resnet50", simclr),
    "moco-v2": ("moco-v2_resnet50", moco),
    "byol": ("byol_resnet50", byol),
    "simsiam": ("simsiam_resnet50", simsiam),
    "swav": ("swav_resnet50", swav),
    "mae": ("mae_vit_b_16", mae),
}


def clock() -> np.ndarray:
    """Seconds of the CPU in all threads, and of the clock."""
    return np.array([time.process_time(), time.perf_counter()])


def measured(cell: Cell, workspace: Workspace, bare: Bare, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """rounds x 2 seconds of a step, and of a bare pass."""
    batch = cell.model.recipe.settings["batch"]
    trainer = trainer_of(cell, workspace, Pictures(batch * (rounds + 2)))
    draw, sizes = (
        torch.Generator().manual_seed(0),
        [view.size for view in trainer.views.views for _ in range(view.count)],
    )
    views = [torch.randn(batch, 3, size, size, generator=draw) for size in sizes]
    views = [view.contiguous(memory_format=torch.channels_last) for view in views]
    steps, passes = [], []

    def batches(epoch: int, first: int) -> Iterator[list[Batch]]:
        """In place of the loader's: the trainer takes one, works on it, and comes back for the next one."""
        for number in range(rounds + 1):  # one less than the training has: the last step would save
            began = clock()
            trainer.method.zero_grad()
            bare(trainer.method, views)
            passes.append(clock() - began)
            began = clock()
            yield [Batch(views, torch.arange(batch), LATE, epoch, number / trainer.loop.steps)]
            steps.append(clock() - began)

    trainer._batches = batches
    with redirect_stdout(io.StringIO()):
        trainer.train()
    return np.array(steps[1:]), np.array(passes[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(METHODS), metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cores", type=int, default=0, help="0: all")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace, known = Workspace(Store(Path(folder)), device="cpu", cores=asked.cores), Catalog(Store(Path(folder)))
        print(f"seconds of a step with a batch of {asked.batch}, float32, CPU, {torch.get_num_threads()} threads")
        print(f"medians of {asked.rounds} rounds; the limit is {TARGET} times the bare pass")
        print("  method    CPU: step    bare   ratio   clock: step    bare   ratio")
        for name in asked.methods:
            model, bare = METHODS[name]
            cell = cell_of(known, model, batch=asked.batch, epochs=1)
            steps, passes = measured(cell, workspace, bare, asked.rounds)
            told, ratios = [], np.median(steps / passes, 0)
            for k, width in enumerate((9, 12)):
                told.append(f"{median(steps[:, k]):{width}.2f}{median(passes[:, k]):8.2f}{ratios[k]:8.3f}")
            print(f"  {name:9}{'  '.join(told)}   {'ok' if ratios[0] <= TARGET else 'MISSED'}", flush=True)


if __name__ == "__main__":
    main()
