"""Object detection: a detector on the backbone, trained, and its average precision on the test images.

Every draw (order, sizes, flips, sampled boxes) is a pure function of (seed, step), so a run that is killed goes on with
the numbers of an unbroken one. In several ranks each takes its part of every batch; where a GPU's memory does not hold
that, the part is taken in turns, and the step stays one step.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs.lib import detections, interrupt, seeds
from jobs.lib.detector import Detected, Detector
from jobs.lib.failure import BadData, BadTask
from jobs.lib.found import Found, to_coco
from jobs.lib.interrupt import Interrupted
from jobs.lib.loop import Loop
from jobs.lib.view import View, Views
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.result import Outcome
from suite.store import write_text

RANKS = True  # it may run in several
ENGINES = {"detectron2": ("jobs.lib.detectron", "Detectron"), "torchvision": ("jobs.lib.lite", "Lite")}
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
PREDICTIONS = "predictions.json"
ASKED_EVERY = 20  # images of the test, by how many a rank asks whether to leave
Settings = Mapping[str, Any]


def run(cell: Cell, workspace: Workspace) -> Outcome:
    index, root = workspace.index(cell.dataset), workspace.root(cell.dataset)
    masks = cell.task.settings["masks"]
    train = [Views(root, index.splits[name], masks) for name in ("train", "val") if name in index.splits]
    test = Views(root, index.splits["test"])
    with interrupt.deferred():  # from here on it leaves between two steps
        trainer = Trainer(cell, workspace, train)
        if not trainer.loop.first:
            trainer.check(*train, test)
        trainer.train()
        found = trainer.find(test)
    if not workspace.ranks.first:
        return Outcome(())
    write_text(workspace.folder(cell) / PREDICTIONS, json.dumps(to_coco(found, test.split, index)))
    seed = seeds.number(cell.seed, "bootstrap")
    metrics, details = detections.evaluate(found, test.split, index, cell.dataset.metric, seed, masks=masks)
    images = {"train": sum(map(len, train)), "used": len(trainer.rows), "test": len(test)}
    details = {**details, **trainer.details, "images": images, "dropped": dict(index.dropped)}
    return Outcome(metrics, trainer.chosen, details)


class Schedule:
    """Learning rate and length of a training: as published for `published_batch` images a step, and by the linear rule
    (Goyal et al., 2017) for as many as are taken here."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.times = settings, settings["batch"] / settings["published_batch"]
        self.rate = settings["learning_rate"] * self.times
        self.steps = max(1, round(settings["iterations"] / self.times))
        self.drops = [round(at / self.times) for at in settings["drops"]]
        self.warmup = round(settings["warmup"] / self.times)

    def at(self, step: int) -> float:
        """The learning rate of a step: linear warm-up from a thousandth, then a tenth from every drop on."""
        share = 0.001 + 0.999 * step / self.warmup if step < self.warmup else 1.0
        return float(self.rate * share * 0.1 ** sum(step >= drop for drop in self.drops))

    @property
    def told(self) -> dict[str, Any]:
        names = ("learning_rate", "iterations", "drops", "warmup")
        published = {"batch": self.settings["published_batch"], **{name: self.settings[name] for name in names}}
        ours = (self.rate, self.steps, self.drops, self.warmup)
        return {"published": published, "run": {"batch": self.settings["batch"], **dict(zip(names, ours, strict=True))}}


class Trainer:
    """Trains a detector, and finds things with it."""

    def __init__(self, cell: Cell, workspace: Workspace, splits: Sequence[Views]) -> None:
        self.cell, self.device, self.loader, self.ranks = cell, workspace.device, workspace.loader, workspace.ranks
        self.settings, self.schedule = cell.task.settings, Schedule(cell.task.settings)
        self.rows = [(views, row) for views in splits for row in range(len(views)) if views.things(row)]
        if not self.rows:
            raise BadData(f"{cell.dataset.name}: no training image has anything in it")
        self.own = self.ranks.part(range(self.settings["batch"]))  # this rank's places in every batch
        if not self.own:
            raise BadTask(f"{cell.task.label}: a batch of {self.settings['batch']} has less images than ranks")
        self.detector = build(cell, workspace).to(self.device)
        print(f"{self.detector.kind}; {self.detector.report}", flush=True)
        self.ranks.same_weights(self.detector)
        self.optimizer = torch.optim.SGD(
            grouped(self.detector, self.settings["weight_decay"]), lr=0.0, momentum=self.settings["momentum"]
        )
        parts = {"detector": self.detector, "optimizer": self.optimizer}
        self.loop = Loop(cell, workspace, self.schedule.steps, self.settings["batch"], parts)
        self.loop.more.setdefault("at_once", len(self.own))
        self.chosen = {"learning_rate": self.schedule.rate, "iterations": self.schedule.steps}

    @property
    def details(self) -> dict[str, Any]:
        more = {"detector": self.detector.kind, "weights": self.detector.report, "schedule": self.schedule.told}
        turns = {"images_at_once": self.loop.more["at_once"], "images_a_rank": len(self.own)}
        return {**more, **turns}

    def check(self, *splits: Views) -> None:
        """Looks at all images before any is trained on, and decodes those of the last split: BadData where one is not
        as its annotation says. Each rank looks at its part."""
        rows = [(views, row, views is splits[-1]) for views in splits for row in range(len(views))]
        for number, _ in enumerate(self.loader.batches(lambda at: at[0].check(*at[1:]), self.ranks.part(rows), 64)):
            if number < len(rows) // self.ranks.count // 64:
                self._leave()

    def train(self) -> None:
        """All steps. Diverged where the loss is not finite; Interrupted, once all is saved, where this process is asked
        to go."""
        self.detector.train()
        for step, views in enumerate(self._batches(self.loop.first, self.loop.steps), self.loop.first):
            for group in self.optimizer.param_groups:
                group["lr"] = self.schedule.at(step)
            self.optimizer.zero_grad()
            loss = self._gradients(step, views)
            if self.settings["clip"]:
                nn.utils.clip_grad_norm_(self.detector.parameters(), self.settings["clip"])
            self.optimizer.step()
            self.loop.after(step, loss)
        if self.settings["precise_bn"] and self.settings["norm"] == "batch":
            self._measure_norms()

    @torch.inference_mode()
    def find(self, views: Views) -> Found:
        """What is found in a split. Each rank looks at its part of the images, and has all in the end."""
        self.detector.eval()
        own, s = self.ranks.part(range(len(views))), self.settings
        make = partial(views.test, short=s["test_short_side"], longest=s["longest_side"])
        out: list[Detected] = []
        for number, made in enumerate(self.loader.batches(make, own, 1)):
            # Every rank has as many images, or one more: all ask at the same ones.
            if number % ASKED_EVERY == 0 and number < len(views) // self.ranks.count:
                self._leave()
            with self._precision():
                out += self.detector.detect(made)
        self._leave()
        return gathered([one for part in self.ranks.all(out) for one in part], s["masks"])

    def _gradients(self, step: int, views: Sequence[View]) -> Tensor:
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
                return self.ranks.summed(total, self.detector)
            self.optimizer.zero_grad()
            torch.cuda.empty_cache()
            self.loop.more["at_once"] = -(-self.loop.more["at_once"] // 2)
            print(f"out of GPU memory: from now on {self.loop.more['at_once']} images at once", flush=True)

    def _own_gradients(self, step: int, views: Sequence[View]) -> Tensor:
        """Those of this rank's views, in as many turns as it takes; batch norms that are trained see one turn each."""
        total = torch.zeros((), device=self.device)
        for first, turn in self._turns(views):
            # Which boxes are sampled: another draw in every turn and rank.
            torch.manual_seed(seeds.number(self.cell.seed, "boxes", step, self.own[0] + first))
            with self.ranks.normalising(), self._precision():
                losses = self.detector.losses(turn)
            loss = torch.stack(list(losses.values())).sum() * (len(turn) / self.settings["batch"])
            loss.backward()
            total += loss.detach()
        return total

    def _turns(self, views: Sequence[View]) -> Iterator[tuple[int, Sequence[View]]]:
        at_once = self.loop.more["at_once"]
        yield from ((first, views[first : first + at_once]) for first in range(0, len(views), at_once))

    def _leave(self) -> None:
        if self.ranks.any(interrupt.asked()):
            raise Interrupted("checkpoint saved")  # after the last step

    def _precision(self) -> AbstractContextManager[object]:
        if self.settings["precision"] == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.settings["precision"]))

    def _measure_norms(self) -> None:
        """Batch norms get the plain mean of the statistics of many batches in place of a decaying one, before the test,
        as fvcore's precise_bn did when the numbers of these protocols were published."""
        norms = [m for m in self.detector.modules() if isinstance(m, NORMS[0]) and m.track_running_stats]
        before = [norm.momentum for norm in norms]
        steps = range(self.loop.steps, self.loop.steps + self.settings["precise_bn"])
        with torch.no_grad():
            seen = 0
            for step, views in zip(steps, self._batches(steps.start, steps.stop), strict=True):
                for first, turn in self._turns(views):
                    seen += 1
                    for norm in norms:
                        norm.momentum = 1 / seen
                    torch.manual_seed(seeds.number(self.cell.seed, "boxes", step, self.own[0] + first))
                    with self.ranks.normalising(), self._precision():
                        self.detector.losses(turn)
                self._leave()
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum

    def _batches(self, first: int, last: int) -> Iterator[list[View]]:
        s = self.settings

        def made(at: tuple[int, int]) -> View:
            number, row = at
            views, place = self.rows[row]
            draw = seeds.generator(self.cell.seed, "view", number)
            return views.train(place, draw, s["short_sides"], s["longest_side"], s["flip"])

        wanted = ((batch[place]) for batch in self._order(first, last) for place in self.own)
        return self.loader.batches(made, wanted, len(self.own))

    def _order(self, first: int, last: int) -> Iterator[list[tuple[int, int]]]:
        """(number, row) of the images of each batch: a new permutation every epoch, and in a batch all are broad or all
        are tall, so that little is padded."""
        waiting: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        broad = [views.split.sizes[row][0] > views.split.sizes[row][1] for views, row in self.rows]
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


def build(cell: Cell, workspace: Workspace) -> Detector:
    """The detector of a task, its new layers drawn from the cell's seed."""
    module, name = ENGINES[cell.task.settings["engine"]]
    made = getattr(importlib.import_module(module), name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.number(cell.seed, "head"))
        backbone = workspace.backbone(cell.model).network
        detector: Detector = made(backbone, cell.model, cell.dataset.classes, cell.task.settings)
    return detector


def grouped(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for the optimizer: those of norms do not decay."""
    norms = {id(p) for m in network.modules() if isinstance(m, NORMS) for p in m.parameters(recurse=False)}
    trained = [p for p in network.parameters() if p.requires_grad]
    decaying, still = ([p for p in trained if (id(p) in norms) == one] for one in (False, True))
    return [{"params": decaying, "weight_decay": weight_decay}, {"params": still, "weight_decay": 0.0}]


def gathered(found: Sequence[Detected], masks: bool) -> Found:
    """What was found in all images, one after another."""
    counts = [len(one.labels) for one in found]
    return Found(
        image=np.repeat(np.arange(len(found)), counts),
        label=np.concatenate([one.labels.cpu().numpy() for one in found] or [np.zeros(0, np.int64)]),
        score=np.concatenate([one.scores.cpu().numpy() for one in found] or [np.zeros(0)]),
        box=np.concatenate([one.boxes.cpu().numpy().reshape(-1, 4) for one in found] or [np.zeros((0, 4))]),
        masks=[mask for one in found for mask in one.masks or ()] if masks else None,
    )
