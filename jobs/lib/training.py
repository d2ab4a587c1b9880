"""Training: a network that learns from views of images, step by step, in one process or in several ranks.

Every draw (order, sizes, dropout, sampled boxes ...) is a pure function of (seed, step), so a run that is killed goes
on with the numbers of an unbroken one. In several ranks each takes its part of every batch; where a GPU's memory does
not hold that, the part is taken in turns, and the step stays one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from jobs.lib import interrupt, seeds
from jobs.lib.failure import BadData, BadTask
from jobs.lib.interrupt import Interrupted
from jobs.lib.learner import Learner
from jobs.lib.loop import Loop
from jobs.lib.workspace import Workspace
from suite.cell import Cell

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
ASKED_EVERY = 20  # images that are looked at, by how many a rank asks whether to leave
FAULTS_SHOWN = 3  # of images that are not as they should be
Settings = Mapping[str, Any]
Made = TypeVar("Made")


class Views(Protocol):
    """The images of one split, as they are trained on."""

    def __len__(self) -> int: ...
    def train(self, row: int, draw: np.random.Generator, settings: Settings) -> Any: ...
    def counts(self, row: int) -> bool:
        """Whether an image has anything to learn from."""

    def broad(self, row: int) -> bool:
        """Whether an image is broader than tall: those of a kind are put into the same batches."""

    def check(self, row: int, whole: bool) -> None:
        """BadData where an image is not as its labels say; `whole`: it is decoded, too."""


class Schedule:
    """Learning rate and length of a training: as published for `published_batch` images a step, and by the linear rule
    (Goyal et al., 2017) for as many as are taken here.

    After a linear warm-up from a thousandth the rate falls to a tenth at each of `drops` or, where there is a `power`,
    as (1 - step / steps) to that power, down to `least`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.times = settings, settings["batch"] / settings["published_batch"]
        self.rate = settings["learning_rate"] * self.times
        self.steps = max(1, round(settings["iterations"] / self.times))
        self.drops = [round(at / self.times) for at in settings.get("drops", ())]
        self.warmup = round(settings["warmup"] / self.times)

    def at(self, step: int) -> float:
        """The learning rate of a step."""
        share = 0.001 + 0.999 * step / self.warmup if step < self.warmup else 1.0
        if "power" not in self.settings:
            return float(self.rate * share * 0.1 ** sum(step >= drop for drop in self.drops))
        least = self.settings["least_rate"] * self.times
        return float(share * (least + (self.rate - least) * (1 - step / self.steps) ** self.settings["power"]))

    @property
    def told(self) -> dict[str, Any]:
        s = self.settings
        run = {"batch": s["batch"], "learning_rate": self.rate, "iterations": self.steps, "warmup": self.warmup}
        published = {"batch": s["published_batch"], **{name: s[name] for name in run if name != "batch"}}
        if "drops" in s:
            published, run = {**published, "drops": s["drops"]}, {**run, "drops": self.drops}
        return {"published": published, "run": run}


class Trainer:
    """Trains a learner on the images of some splits, and has all ranks look at others.

    Settings: batch, published_batch, learning_rate, iterations, warmup and the rest of Schedule's; momentum,
    weight_decay, `undecayed` (("norms",), or with "biases", or neither), clip, precision, norm ("batch" where batch
    norms are trained) and precise_bn.
    """

    def __init__(self, cell: Cell, workspace: Workspace, learner: Learner, splits: Sequence[Views]) -> None:
        self.cell, self.device, self.loader, self.ranks = cell, workspace.device, workspace.loader, workspace.ranks
        self.settings, self.schedule = cell.task.settings, Schedule(cell.task.settings)
        self.rows = [(views, row) for views in splits for row in range(len(views)) if views.counts(row)]
        if not self.rows:
            raise BadData(f"{cell.dataset.name}: no training image has anything in it")
        self.own = self.ranks.part(range(self.settings["batch"]))  # this rank's places in every batch
        if not self.own:
            raise BadTask(f"{cell.task.label}: a batch of {self.settings['batch']} has less images than ranks")
        self.learner = learner.to(self.device)
        print(f"{learner.kind}; {learner.report}", flush=True)
        self.ranks.same_weights(learner)
        self.optimizer = torch.optim.SGD(
            grouped(learner, self.settings["weight_decay"], self.settings["undecayed"]),
            lr=0.0,
            momentum=self.settings["momentum"],
        )
        parts = {"learner": learner, "optimizer": self.optimizer}
        self.loop = Loop(cell, workspace, self.schedule.steps, self.settings["batch"], parts)
        self.loop.more.setdefault("at_once", len(self.own))
        self.chosen = {"learning_rate": self.schedule.rate, "iterations": self.schedule.steps}

    @property
    def details(self) -> dict[str, Any]:
        turns = {"images_at_once": self.loop.more["at_once"], "images_a_rank": len(self.own)}
        return {
            "network": self.learner.kind,
            "weights": self.learner.report,
            "schedule": self.schedule.told,
            **turns,
        }

    def check(self, *splits: Views) -> None:
        """Looks at all images before any is trained on, each rank at its part, unless it goes on from a checkpoint: see
        `check`."""
        if not self.loop.first:
            check(partial(self.each, at_once=ASKED_EVERY), *splits)

    def train(self) -> None:
        """All steps. Diverged where the loss is not finite; Interrupted, once all is saved, where this process is asked
        to go."""
        self.learner.train()
        for step, views in enumerate(self._batches(self.loop.first, self.loop.steps), self.loop.first):
            for group in self.optimizer.param_groups:
                group["lr"] = self.schedule.at(step)
            self.optimizer.zero_grad()
            loss = self._gradients(step, views)
            if self.settings["clip"]:
                nn.utils.clip_grad_norm_(self.learner.parameters(), self.settings["clip"])
            self.optimizer.step()
            self.loop.after(step, loss)
        if self.settings["precise_bn"] and self.settings["norm"] == "batch":
            self._measure_norms()

    def each(
        self, make: Callable[[Any], Any], items: Sequence[Any], use: Callable[[Any], Made], at_once: int = 1
    ) -> list[Made]:
        """use(make(item)) of every item, in order; `make` runs in threads, for `at_once` items. Each rank takes its
        part, and has all in the end; asked to leave, it does so in between."""
        own = self.ranks.part(items)
        out: list[Made] = []
        for number, made in enumerate(self.loader.batches(make, own, at_once)):
            # Every rank has as many items, or one more: all ask at the same ones.
            if number * at_once % ASKED_EVERY == 0 and number < len(items) // self.ranks.count // at_once:
                self.leave()
            out += map(use, made)
        self.leave()
        return [one for part in self.ranks.all(out) for one in part]

    def leave(self) -> None:
        """Interrupted where any rank is asked to go."""
        if self.ranks.any(interrupt.asked()):
            raise Interrupted("checkpoint saved")  # after the last step

    def precision(self) -> AbstractContextManager[object]:
        """Within it, networks compute as the task's settings say."""
        if self.settings["precision"] == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.settings["precision"]))

    def _gradients(self, step: int, views: Sequence[Any]) -> Tensor:
        """Gradients of the loss over the batches of all ranks, and that loss."""
        while True:
            total, failed = torch.zeros(()), False
            try:
                total = self._own_gradients(step, views)
            except torch.OutOfMemoryError:
                # Ranks that wait for each other's batch norms cannot go back.
                if self.loop.more["at_once"] == 1 or (self.ranks.count > 1 and self.settings["norm"] == "batch"):
                    raise
                failed = True
            if not self.ranks.any(failed):
                return self.ranks.summed(total, self.learner)
            self.optimizer.zero_grad()
            torch.cuda.empty_cache()
            self.loop.more["at_once"] = -(-self.loop.more["at_once"] // 2)
            print(f"out of GPU memory: from now on {self.loop.more['at_once']} images at once", flush=True)

    def _own_gradients(self, step: int, views: Sequence[Any]) -> Tensor:
        """Those of this rank's views, in as many turns as it takes; batch norms that are trained see one turn each."""
        total = torch.zeros((), device=self.device)
        for first, turn in self._turns(views):
            with self._drawing(step, first):
                losses = self.learner.losses(turn)
            loss = torch.stack(list(losses.values())).sum() * (len(turn) / self.settings["batch"])
            loss.backward()
            total += loss.detach()
        return total

    def _drawing(self, step: int, first: int) -> AbstractContextManager[object]:
        """Within it one turn goes through the network, with draws of its own (dropout, sampled boxes)."""
        torch.manual_seed(seeds.number(self.cell.seed, "step", step, self.own[0] + first))
        both = ExitStack()
        both.enter_context(self.ranks.normalising())
        both.enter_context(self.precision())
        return both

    def _turns(self, views: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
        at_once = self.loop.more["at_once"]
        yield from ((first, views[first : first + at_once]) for first in range(0, len(views), at_once))

    def _measure_norms(self) -> None:
        """Batch norms get the plain mean of the statistics of many batches in place of a decaying one, before the test,
        as fvcore's precise_bn did when the numbers of these protocols were published."""
        norms = [m for m in self.learner.modules() if isinstance(m, NORMS[0]) and m.track_running_stats]
        before = [norm.momentum for norm in norms]
        steps = range(self.loop.steps, self.loop.steps + self.settings["precise_bn"])
        with torch.no_grad():
            seen = 0
            for step, views in zip(steps, self._batches(steps.start, steps.stop), strict=True):
                for first, turn in self._turns(views):
                    seen += 1
                    for norm in norms:
                        norm.momentum = 1 / seen
                    with self._drawing(step, first):
                        self.learner.losses(turn)
                self.leave()
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum

    def _batches(self, first: int, last: int) -> Iterator[list[Any]]:
        def made(at: tuple[int, int]) -> Any:
            number, row = at
            views, place = self.rows[row]
            return views.train(place, seeds.generator(self.cell.seed, "view", number), self.settings)

        wanted = ((batch[place]) for batch in self._order(first, last) for place in self.own)
        return self.loader.batches(made, wanted, len(self.own))

    def _order(self, first: int, last: int) -> Iterator[list[tuple[int, int]]]:
        """(number, row) of the images of each batch: a new permutation every epoch, and in a batch all are broad or all
        are tall, so that little is padded."""
        waiting: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        broad = [views.broad(row) for views, row in self.rows]
        step, number = 0, 0
        while step < last:
            order = seeds.generator(self.cell.seed, "order", number // len(broad)).permutation(len(broad))
            for row in map(int, order):
                group = waiting[broad[row]]
                group.append((number, row))
                number += 1
                if len(group) == self.settings["batch"]:
                    if first <= step < last:
                        yield list(group)
                    group.clear()
                    step += 1


def check(each: Callable[[Any, Any, Any], list[str]], *splits: Views) -> None:
    """Looks at all images by `each(make, items, use)`, and decodes those of the last split: BadData, which says of how
    many and of which, where they are not as their labels say."""
    rows = [(views, row, views is splits[-1]) for views in splits for row in range(len(views))]
    faults = [fault for fault in each(_fault, rows, str) if fault]
    if len(faults) > 1:
        raise BadData(f"{len(faults)} of {len(rows)} images: {'; '.join(faults[:FAULTS_SHOWN])}")
    if faults:
        raise BadData(faults[0])


def _fault(at: tuple[Views, int, bool]) -> str:
    views, row, whole = at
    try:
        views.check(row, whole)
    except BadData as fault:
        return str(fault)
    return ""


def grouped(network: nn.Module, weight_decay: float, undecayed: Sequence[str]) -> list[dict[str, Any]]:
    """Parameters for the optimizer: "norms" and "biases" do not decay where they are among `undecayed`."""
    still = set()
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            kind = "norms" if isinstance(module, NORMS) else "biases" if name == "bias" else ""
            if kind in undecayed:
                still.add(id(parameter))
    trained = [p for p in network.parameters() if p.requires_grad]
    decaying, kept = ([p for p in trained if (id(p) in still) == one] for one in (False, True))
    return [{"params": decaying, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
