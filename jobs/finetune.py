"""Fine-tuning: lr x weight decay chosen on validation, retrained on train + validation, test touched once.

Every draw (order, crops, dropout) is a pure function of (seed, run, step), so a run that is killed and started again
from its checkpoint ends with the same numbers as an unbroken one. In several ranks each takes its part of every batch,
and they step as one: same images, same gradients, same statistics.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from jobs.lib import interrupt, score, seeds
from jobs.lib.augment import random_crop
from jobs.lib.checkpoint import Checkpoint
from jobs.lib.failure import BadTask, Diverged
from jobs.lib.images import Images, normalise, prepare
from jobs.lib.interrupt import Interrupted
from jobs.lib.workspace import BATCH, Workspace
from suite import result
from suite.cell import Cell
from suite.result import Outcome

RANKS = True  # it may run in several


@dataclass(frozen=True)
class Rows:
    """Some images of a dataset, maybe from several splits, with their labels."""

    images: list[tuple[Images, int]]
    labels: torch.Tensor

    @classmethod
    def of(cls, images: Images, rows: Sequence[int] | np.ndarray | None = None) -> Rows:
        chosen = np.arange(len(images)) if rows is None else np.asarray(rows)
        return cls([(images, int(row)) for row in chosen], torch.from_numpy(images.labels[chosen]))

    def __add__(self, other: Rows) -> Rows:
        return Rows(self.images + other.images, torch.cat([self.labels, other.labels]))

    def __len__(self) -> int:
        return len(self.images)


class Trainer:
    """Trains copies of one backbone with a fresh head; between steps, all that matters is in `state`."""

    def __init__(self, cell: Cell, workspace: Workspace) -> None:
        self.cell, self.device = cell, workspace.device
        self.loader, self.ranks = workspace.loader, workspace.ranks
        self.settings: Mapping[str, Any] = cell.task.settings
        self.backbone = workspace.backbone(cell.model).network
        self.own = self.ranks.part(range(self.settings["batch"]))  # this rank's places in every batch
        if not self.own:
            raise BadTask(
                f"{cell.task.label}: a batch of {self.settings['batch']} is too small for {self.ranks.count} ranks"
            )
        software = {"recipe": workspace.recipe} if workspace.recipe else {}
        identity = result.facts(cell) | software
        self.checkpoint = Checkpoint(workspace.folder(cell), identity, cell.task.checkpoint_seconds)
        self.done: dict[str, float] = {}  # validation score of every finished run
        self.failed: dict[str, str] = {}  # and why those that diverged did
        # Rank 0 reads for all: another machine may still see an older file.
        self.pending = self.ranks.same(self.checkpoint.load() if self.ranks.first else None)
        if self.pending:
            self.done, self.failed = self.pending["done"], self.pending["failed"]

    def network(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.number(self.cell.seed, "head"))
            head = nn.Linear(self.cell.model.dimension, self.cell.dataset.classes)
        network = nn.Sequential(deepcopy(self.backbone), head.to(self.device)).to(self.device)
        self.ranks.same_weights(network)
        return network.to(memory_format=torch.channels_last)

    def train(self, run: str, rows: Rows, rate: float, decay: float) -> nn.Module:
        """A network after all steps of one run. Diverged where the loss is not finite; Interrupted, once what was done
        is saved, where this process is asked to go."""
        s, network = self.settings, self.network()
        optimizer = torch.optim.SGD(
            network.parameters(), lr=rate, momentum=s["momentum"], nesterov=True, weight_decay=decay / rate
        )
        first = self._resume(run, network, optimizer)
        began = time.monotonic()
        other = () if self.ranks.first else (self.ranks.rank,)  # dropout is for the images of each rank
        network.train()
        for step, (x, y) in enumerate(self._batches(run, rows, first), first):
            torch.manual_seed(seeds.number(self.cell.seed, "dropout", run, step, *other))
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 + math.cos(math.pi * step / s["steps"])) / 2
            loss = self._step(network, optimizer, x, y)
            last, leaving = step + 1 == s["steps"], self.ranks.any(interrupt.asked())
            if ((step + 1) % 10 == 0 or last) and not math.isfinite(loss.item()):
                raise Diverged(f"the loss is {loss.item()} at step {step + 1} with lr {rate:g}, weight decay {decay:g}")
            if self.ranks.first and (last or leaving or self.checkpoint.due()):
                speed = (step + 1 - first) * s["batch"] / (time.monotonic() - began)
                print(f"{run}: step {step + 1}/{s['steps']}, loss {loss.item():.4f}, {speed:.0f} images/s", flush=True)
                self._save(run, step + 1, network, optimizer)
            if leaving:
                raise Interrupted(f"checkpoint saved: {run}, step {step + 1}")
        return network

    @torch.inference_mode()
    def scores(self, network: nn.Module, rows: Rows) -> torch.Tensor:
        """N x classes logits, on the CPU. Each rank makes its part of them, and has all in the end."""
        network.eval()
        made_by, own = self.cell.model.input, self.ranks.part(rows.images)
        out = [torch.empty(0, self.cell.dataset.classes)]
        for pixels in self.loader.batches(lambda at: prepare(at[0][at[1]], made_by), own, BATCH):
            if interrupt.asked():
                break
            x = normalise(torch.stack(pixels).to(self.device), made_by)
            out.append(network(x.contiguous(memory_format=torch.channels_last)).float().cpu())
        if self.ranks.any(sum(map(len, out)) < len(own)):
            raise Interrupted("checkpoint saved")  # after the last step
        return self.ranks.gather(torch.cat(out))

    def finish(self, run: str, value: float, failed: str = "") -> None:
        """Notes a run's validation score, or why it failed; its network is not needed again."""
        self.done[run] = self.ranks.same(value)
        if failed:
            self.failed[run] = failed
        if self.ranks.first:
            self._keep(run="")

    def _batches(self, run: str, rows: Rows, first: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        made_by, s = self.cell.model.input, self.settings
        steps = range(first, s["steps"])
        at = (self._drawn(run, step * s["batch"] + place, len(rows)) for step in steps for place in self.own)
        make = partial(self._augmented, run, rows)
        for made in self.loader.batches(make, at, len(self.own)):
            pixels, chosen = zip(*made, strict=True)
            x = normalise(torch.stack(pixels).to(self.device), made_by)
            yield x.contiguous(memory_format=torch.channels_last), rows.labels[list(chosen)].to(self.device)

    def _step(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """Takes one step; the loss of the whole batch."""
        with self.ranks.normalising():
            out = network(x)
        loss = cross_entropy(out, y) if y.ndim == 1 else binary_cross_entropy_with_logits(out, y.float())
        optimizer.zero_grad()
        loss = self.ranks.backward(loss, len(self.own) / self.settings["batch"], network)
        optimizer.step()
        return loss

    def _drawn(self, run: str, number: int, images: int) -> tuple[int, int]:
        """(number, row) of the number-th image that a run sees: a new permutation every epoch."""
        epoch, place = divmod(number, images)
        if getattr(self, "_epoch", None) != (run, epoch):
            self._epoch = (run, epoch)
            self._order = seeds.generator(self.cell.seed, "order", run, epoch).permutation(images)
        return number, int(self._order[place])

    def _augmented(self, run: str, rows: Rows, drawn: tuple[int, int]) -> tuple[torch.Tensor, int]:
        (number, row), made_by = drawn, self.cell.model.input
        images, at = rows.images[row]
        draw = seeds.generator(self.cell.seed, "crop", run, number)
        return random_crop(images[at], made_by, draw, self.settings["crop_scale"], self.settings["flip"]), row

    def _resume(self, run: str, network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        if not self.pending or self.pending["run"] != run:
            return 0
        network.load_state_dict(self.pending["network"])
        optimizer.load_state_dict(self.pending["optimizer"])
        step: int = self.pending["step"]
        self.pending = None
        if self.ranks.first:
            print(f"{run}: goes on from step {step}", flush=True)
        return step

    def _save(self, run: str, step: int, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._keep(run=run, step=step, network=network.state_dict(), optimizer=optimizer.state_dict())

    def _keep(self, **state: Any) -> None:
        self.checkpoint.save({"done": self.done, "failed": self.failed, **state})


def run(cell: Cell, workspace: Workspace) -> Outcome:
    parts = split(cell, workspace)
    with interrupt.deferred():  # from here on it leaves between two steps
        return measure(cell, Trainer(cell, workspace), *parts)


def measure(cell: Cell, trainer: Trainer, train: Rows, val: Rows, test: Rows) -> Outcome:
    """Chooses on validation, retrains, and scores the test images."""
    pairs = list(itertools.product(cell.task.settings["learning_rates"], cell.task.settings["weight_decays"]))
    names = {pair: f"lr {pair[0]:g} wd {pair[1]:g}" for pair in pairs}
    metric = cell.dataset.metric
    for pair in pairs if len(pairs) > 1 else ():
        if names[pair] in trainer.done:
            continue
        try:
            network = trainer.train(names[pair], train, *pair)
            trainer.finish(names[pair], score.value(trainer.scores(network, val), val.labels, metric))
        except Diverged as why:  # a learning rate that is too high for this network is an answer, not a failure
            trainer.finish(names[pair], -math.inf, str(why))
    best = max(pairs, key=lambda pair: trainer.done.get(names[pair], 0.0))
    if trainer.done.get(names[best], 0.0) == -math.inf:
        raise Diverged(f"every learning rate diverges: {'; '.join(trainer.failed.values())}")
    network = trainer.train("refit", train + val, *best)
    found = score.evaluate(trainer.scores(network, test), test.labels, cell)
    chosen = {"learning_rate": best[0], "weight_decay": best[1]}
    tried = {name: None if value == -math.inf else value for name, value in trainer.done.items()}
    return Outcome(
        found, chosen, {"validation": tried, "diverged": trainer.failed, "images": _counts(train, val, test)}
    )


def split(cell: Cell, workspace: Workspace) -> tuple[Rows, Rows, Rows]:
    """(train, validation, test); validation is held out of train where the dataset has no official one."""
    splits = workspace.index(cell.dataset).splits
    images = {name: workspace.images(cell.dataset, name) for name in splits}
    if "val" in splits:
        return Rows.of(images["train"]), Rows.of(images["val"]), Rows.of(images["test"])
    kept, held = seeds.holdout(images["train"].labels, cell.task.settings["holdout"], cell.seed)
    return Rows.of(images["train"], kept), Rows.of(images["train"], held), Rows.of(images["test"])


def _counts(train: Rows, val: Rows, test: Rows) -> dict[str, int]:
    return {"train": len(train), "val": len(val), "test": len(test)}
