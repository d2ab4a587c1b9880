"""Fine-tuning: a grid chosen on validation, retrained on train + validation, test touched once.

Every draw (order, crops, dropout) is a pure function of (seed, run, step), so a run that is killed and started again
from its checkpoint ends with the same numbers as an unbroken one. In several ranks each takes its part of every batch,
and they step as one: same images, same gradients, same statistics.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from jobs.lib import examples, interrupt, metrics, score, seeds
from jobs.lib.augment import random_crop
from jobs.lib.examples import Examples, Order
from jobs.lib.failure import BadTask, Diverged
from jobs.lib.images import normalise
from jobs.lib.interrupt import Interrupted
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.result import Metric, Outcome

RANKS = True  # it may run in several


@dataclass(frozen=True)
class Tried:
    """One point of the grid: a learning rate, the optimizer's weight decay, and by how much the head's rate is more."""

    chosen: Mapping[str, float]
    rate: float
    decay: float
    head: float = 1.0


def grid(settings: Mapping[str, Any]) -> dict[str, Tried]:
    """The runs that are chosen from, by name. Either `weight_decays`, each divided by the learning rate (Ericsson et
    al., 2021), or one `weight_decay` as it is, and `head_rates`, in multiples of the backbone's (Zhan et al.,
    OpenSelfSup, 2020). Learning rates are for `published_batch` images, and follow `batch` by the linear rule."""
    s, found = settings, {}
    times = s["batch"] / s.get("published_batch", s["batch"])
    if "weight_decays" in s:
        for rate, decay in itertools.product(s["learning_rates"], s["weight_decays"]):
            chosen = {"learning_rate": rate, "weight_decay": decay}
            found[f"lr {rate:g} wd {decay:g}"] = Tried(chosen, rate * times, decay / (rate * times))
        return found
    for rate, head in itertools.product(s["learning_rates"], s["head_rates"]):
        chosen = {"learning_rate": rate * times, "head_rate": head}
        found[f"lr {rate:g} head x{head:g}"] = Tried(chosen, rate * times, s["weight_decay"], head)
    return found


class Schedule:
    """What becomes of a learning rate: a cosine to 0 over `steps` or, where there are `epochs`, times `factor` at each
    epoch of `drops`. The last batch of an epoch is filled up with images of the next one."""

    def __init__(self, settings: Mapping[str, Any], images: int) -> None:
        self.s, self.a_epoch = settings, math.ceil(images / settings["batch"])
        self.steps: int = settings["epochs"] * self.a_epoch if "epochs" in settings else settings["steps"]

    def of(self, rate: float, step: int) -> float:
        if "epochs" in self.s:
            return float(rate * self.s["factor"] ** sum(step >= drop * self.a_epoch for drop in self.s["drops"]))
        return rate * (1 + math.cos(math.pi * step / self.steps)) / 2


class Trainer:
    """Trains copies of one backbone with a fresh head; between steps, all that matters is in `state`."""

    def __init__(self, cell: Cell, workspace: Workspace) -> None:
        self.cell, self.workspace, self.device = cell, workspace, workspace.device
        self.loader, self.ranks = workspace.loader, workspace.ranks
        self.settings: Mapping[str, Any] = cell.task.settings
        self.made_by = cell.model.input.seen(self.settings.get("view", {}))
        self.backbone = workspace.backbone(cell.model).network
        self.own = self.ranks.part(range(self.settings["batch"]))  # this rank's places in every batch
        if not self.own:
            raise BadTask(
                f"{cell.task.label}: a batch of {self.settings['batch']} is too small for {self.ranks.count} ranks"
            )
        self.checkpoint = workspace.checkpoint(cell)
        self.done: dict[str, float] = {}  # validation score of every finished run
        self.failed: dict[str, str] = {}  # and why those that diverged did
        # Rank 0 reads for all: another machine may still see an older file.
        self.pending = self.ranks.same(self.checkpoint.load() if self.ranks.first else None)
        if self.pending:
            self.done, self.failed = self.pending["done"], self.pending["failed"]

    def network(self) -> nn.Sequential:
        """A copy of the backbone, and a head: the same for every run."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.number(self.cell.seed, "head"))
            head = nn.Linear(self.cell.model.dimension, self.cell.dataset.classes)
            if "init_std" in self.settings:
                nn.init.normal_(head.weight, std=self.settings["init_std"])
                nn.init.zeros_(head.bias)
        network = nn.Sequential(deepcopy(self.backbone), head.to(self.device)).to(self.device)
        self.ranks.same_weights(network)
        return network.to(memory_format=torch.channels_last)

    def train(self, run: str, rows: Examples, tried: Tried) -> nn.Module:
        """A network after all steps of one run. Diverged where the loss is not finite; Interrupted, once what was done
        is saved, where this process is asked to go."""
        s, network, schedule = self.settings, self.network(), Schedule(self.settings, len(rows))
        groups = [{"params": part.parameters(), "peak": tried.rate} for part in network]
        groups[1]["peak"] *= tried.head
        optimizer = torch.optim.SGD(
            groups, tried.rate, s["momentum"], nesterov=s.get("nesterov", True), weight_decay=tried.decay
        )
        first = self._resume(run, network, optimizer)
        began = time.monotonic()
        other = () if self.ranks.first else (self.ranks.rank,)  # dropout is for the images of each rank
        network.train()
        for step, (x, y) in enumerate(self._batches(run, rows, range(first, schedule.steps)), first):
            torch.manual_seed(seeds.number(self.cell.seed, "dropout", run, step, *other))
            for group in optimizer.param_groups:
                group["lr"] = schedule.of(group["peak"], step)
            loss = self._step(network, optimizer, x, y)
            last, leaving = step + 1 == schedule.steps, self.ranks.any(interrupt.asked())
            if ((step + 1) % 10 == 0 or last) and not math.isfinite(loss.item()):
                told = f"lr {tried.rate:g}, weight decay {tried.decay:g}"
                raise Diverged(f"the loss is {loss.item()} at step {step + 1} of {run} with {told}")
            if self.ranks.first and (last or leaving or self.checkpoint.due()):
                speed = (step + 1 - first) * s["batch"] / (time.monotonic() - began)
                print(
                    f"{run}: step {step + 1}/{schedule.steps}, loss {loss.item():.4f}, {speed:.0f} images/s", flush=True
                )
                self._save(run, step + 1, network, optimizer)
            if leaving:
                raise Interrupted(f"checkpoint saved: {run}, step {step + 1}")
        return network

    def scores(self, network: nn.Module, rows: Examples) -> torch.Tensor:
        """N x classes logits, on the CPU, in evaluation mode."""
        network.eval()
        return examples.outputs(rows, self.made_by, self.workspace, network, self.cell.dataset.classes)

    def finish(self, run: str, value: float, failed: str = "") -> None:
        """Notes a run's validation score, or why it failed; its network is not needed again."""
        self.done[run] = self.ranks.same(value)
        if failed:
            self.failed[run] = failed
        if self.ranks.first:
            self._keep(run="")

    def _batches(self, run: str, rows: Examples, steps: range) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        batch, order = self.settings["batch"], Order(len(rows), self.cell.seed, "order", run)
        numbers = (step * batch + place for step in steps for place in self.own)
        drawn = ((number, order(number)) for number in numbers)
        make = partial(self._augmented, run, rows)
        for made in self.loader.batches(make, drawn, len(self.own)):
            pixels, chosen = zip(*made, strict=True)
            x = normalise(torch.stack(pixels).to(self.device), self.made_by)
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

    def _augmented(self, run: str, rows: Examples, drawn: tuple[int, int]) -> tuple[torch.Tensor, int]:
        number, row = drawn
        draw = seeds.generator(self.cell.seed, "crop", run, number)
        return random_crop(rows[row], self.made_by, draw, self.settings["crop_scale"], self.settings["flip"]), row

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
    parts = examples.split(cell, workspace)
    with interrupt.deferred():  # from here on it leaves between two steps
        return measure(cell, Trainer(cell, workspace), *parts)


def measure(cell: Cell, trainer: Trainer, train: Examples, val: Examples, test: Examples) -> Outcome:
    """Chooses on validation, retrains, and scores the test images."""
    points, metric = grid(cell.task.settings), cell.dataset.metric
    for name, tried in points.items() if len(points) > 1 else ():
        if name in trainer.done:
            continue
        try:
            network = trainer.train(name, train, tried)
            trainer.finish(name, score.value(trainer.scores(network, val), val.labels, metric))
        except Diverged as why:  # a learning rate that is too high for this network is an answer, not a failure
            trainer.finish(name, -math.inf, str(why))
    best = max(points, key=lambda name: trainer.done.get(name, 0.0))
    if trainer.done.get(best, 0.0) == -math.inf:
        raise Diverged(f"every learning rate diverges: {'; '.join(trainer.failed.values())}")
    scores = trainer.scores(trainer.train("refit", train + val, points[best]), test)
    found = score.evaluate(scores, test.labels, cell)
    if cell.task.settings.get("top5"):
        found += _top5(scores, test.labels, cell)
    tried_scores = {name: None if value == -math.inf else value for name, value in trainer.done.items()}
    counts = {"train": len(train), "val": len(val), "test": len(test)}
    details = {"validation": tried_scores, "diverged": trainer.failed, "images": counts}
    return Outcome(found, dict(points[best].chosen), details)


def _top5(scores: torch.Tensor, labels: torch.Tensor, cell: Cell) -> tuple[Metric, ...]:
    statistic = metrics.mean_statistic(metrics.correct(scores, labels, among=5))
    return score.pooled({"top5": statistic}, len(labels), cell.seed, "")
