"""Trainer: takes a method through all steps of a recipe, in one process or in several ranks.

Every draw (order, views, masks, dropout) is a pure function of (seed, step) or (seed, epoch, image), so a run that is
killed goes on with the numbers of an unbroken one, on the CPU to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from jobs.lib import seeds
from jobs.lib.failure import BadTask, Diverged
from jobs.lib.images import Images, normalise
from jobs.lib.loader import Clock
from jobs.lib.loop import Loop
from jobs.lib.rate import Rate, optimizer_of
from jobs.lib.workspace import Workspace
from jobs.pretrain.lib.curve import Curve
from jobs.pretrain.lib.look import Look, features
from jobs.pretrain.lib.method import Batch, Method, Setting
from jobs.pretrain.lib.views import Views
from suite.cell import Cell

POINTS = 1000  # of a curve
COLLAPSED = 0.02  # of `spread`: nothing that learns comes near it
PATIENCE = 5  # points in a row that say so


class Trainer:
    """Trains a method on the images of one split. `look` says what k-NN makes of the network."""

    def __init__(
        self,
        cell: Cell,
        workspace: Workspace,
        images: Images,
        make: Callable[[nn.Module, Setting], Method],
        network: nn.Module,
        look: Look | None = None,
    ) -> None:
        recipe: Any = cell.model.recipe
        self.cell, self.workspace, self.images, self.look = cell, workspace, images, look
        self.settings, self.ranks = recipe.settings, workspace.ranks
        self.a_epoch = self._steps_an_epoch()
        self.rate = Rate(self.settings, self.a_epoch)
        self.method = self._method(make, network)
        self.optimizer = optimizer_of(self.method, self.settings)
        self.views = Views(self.settings["views"])
        parts = {"method": self.method, "optimizer": self.optimizer}
        self.loop = Loop(cell, workspace, self.rate.steps, self.settings["batch"], parts)
        self.curve = Curve(self.loop.more.setdefault("curve", []))
        self.every = max(1, self.rate.steps // POINTS)
        self.doubts, self.clock = 0, Clock(workspace.loader)

    def train(self) -> None:
        """All steps. Diverged where the loss is not finite or the outputs collapse; Interrupted, once all is saved,
        where this process is asked to go."""
        self.method.train()
        for epoch in range(self.loop.first // self.a_epoch, self.settings["epochs"]):
            first = max(self.loop.first, epoch * self.a_epoch)
            if first == epoch * self.a_epoch:
                self.method.begin(epoch, self.features)
            for step, turns in enumerate(self._batches(epoch, first), first):
                rate = self.rate.apply(self.optimizer, step)
                self.optimizer.zero_grad()
                loss = self._gradients(turns)
                self.method.mend(epoch)
                self.optimizer.step()
                self.method.after((step + 1) / self.loop.steps)
                self._note(step, rate, loss)
                self.loop.after(step, loss, f"lr {rate:.3g}{self.curve.told}")

    def features(self, network: nn.Module, everywhere: bool = True) -> Tensor:
        """N x D, on the CPU: what a network gives for all images, in evaluation mode and without augmentation; for the
        first rank alone where not `everywhere`."""
        network.eval()
        found = features(
            network, self.images, range(len(self.images)), self.cell, self.workspace, everywhere=everywhere
        )
        network.train()
        return found

    def _steps_an_epoch(self) -> int:
        batch, name = self.settings["batch"], self.cell.model.name
        turns = self.ranks.count * self.settings["accumulate"]
        if batch % turns:
            raise BadTask(f"{name}: a batch of {batch} cannot be split over {turns} (ranks x turns)")
        if len(self.images) < batch:
            raise BadTask(f"{name}: {len(self.images)} images are less than one batch of {batch}: take a -short recipe")
        return len(self.images) // batch

    def _method(self, make: Callable[[nn.Module, Setting], Method], network: nn.Module) -> Method:
        s, model = self.settings, self.cell.model
        setting = Setting(
            settings=s,
            architecture=model.architecture,
            dimension=model.dimension,
            images=len(self.images),
            batch=s["batch"],
            steps=self.a_epoch,
            ranks=self.ranks,
            seed=self.cell.seed,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.number(self.cell.seed, "pretrain", "initialisation"))
            method = make(network, setting)
        if s["accumulate"] > 1 and not method.accumulates:
            raise BadTask(
                f"{model.name}: its loss is over the whole batch, which cannot be taken in turns: accumulate 1"
            )
        method.to(self.workspace.device, memory_format=torch.channels_last)
        self.ranks.same_weights(method)
        if s["compile"]:
            method.backbone.compile()
        return method

    def _gradients(self, turns: list[Batch]) -> Tensor:
        """Gradients of the loss over the batches of all ranks, and that loss."""
        total = torch.zeros((), device=self.workspace.device)
        for number, turn in enumerate(turns):
            torch.manual_seed(seeds.number(self.cell.seed, "step", turn.step, self.ranks.rank, number))
            with self._computing():
                loss = self.method.loss(turn) / (len(turns) * self.ranks.count)
            loss.backward()
            total += loss.detach()
        return self.ranks.summed(total, self.method)

    def _computing(self) -> AbstractContextManager[object]:
        both = ExitStack()
        if self.settings["synced"]:
            both.enter_context(self.ranks.normalising())
        if self.settings["precision"] != "float32":
            kind = getattr(torch, self.settings["precision"])
            both.enter_context(torch.autocast(self.workspace.device.type, kind))
        return both

    def _batches(self, epoch: int, first: int) -> Iterator[list[Batch]]:
        """This rank's part of every batch of an epoch from a step on, in turns."""
        each = self.settings["batch"] // self.ranks.count
        size = each // self.settings["accumulate"]
        order, batch = self.method.order(epoch, seeds.generator(self.cell.seed, "order", epoch)), self.settings["batch"]
        begin, end = epoch * self.a_epoch, (epoch + 1) * self.a_epoch
        places = ((step - begin) * batch for step in range(first, end))
        own = (place for at in places for place in self.ranks.part(range(at, at + batch)))
        rows = ((epoch, place, int(order[place])) for place in own)
        for step, made in enumerate(self.workspace.loader.batches(self._made, rows, each), first):
            yield [self._batch(made[at : at + size], step) for at in range(0, each, size)]

    def _made(self, at: tuple[int, int, int]) -> tuple[int, list[Tensor]]:
        epoch, place, row = at  # an image may have several places in an epoch, and then other views in each
        draw = seeds.generator(self.cell.seed, "views", epoch, place)
        return row, self.views(self.images[row], draw)

    def _batch(self, made: list[tuple[int, list[Tensor]]], step: int) -> Batch:
        rows, views = zip(*made, strict=True)
        device, made_by = self.workspace.device, self.cell.model.input
        stacked = []
        for of_one in zip(*views, strict=True):
            pixels = torch.stack(of_one).to(device, non_blocking=True)
            flat = normalise(pixels.flatten(0, -4), made_by).contiguous(memory_format=torch.channels_last)
            stacked.append(flat if pixels.ndim == 4 else flat.unflatten(0, pixels.shape[:2]))
        return Batch(stacked, torch.tensor(rows, device=device), step, step // self.a_epoch, step / self.loop.steps)

    def _note(self, step: int, rate: float, loss: Tensor) -> None:
        """A point of the curve, where one is due; Diverged where it says that nothing is learnt any more."""
        last = step + 1 == self.loop.steps
        ended = (step + 1) % self.a_epoch == 0
        epochs, wanted = (step + 1) // self.a_epoch, self.settings["knn_every"]
        looks = self.look and wanted and ended and (epochs % wanted == 0 or last)
        if not (looks or last or (step + 1) % self.every == 0):
            return
        if not math.isfinite(loss.item()):
            raise Diverged(f"the loss is {loss.item()} at step {step + 1} of {self.loop.steps}")
        watched = {name: value.item() for name, value in self.method.watching.items()}
        images = (step + 1 - self.loop.first) * self.settings["batch"]
        speed = {"images/s": round(images / self.clock.read()["seconds"], 1), "waiting": self.clock.share}
        at = {"step": step + 1, "epoch": round((step + 1) / self.a_epoch, 4)}
        point: dict[str, Any] = {**at, "loss": loss.item(), "lr": rate, **speed}
        if looks and self.look:
            watched["knn"] = self.look(self.method.backbone)
        self.curve.add({**point, **watched})
        self.doubts = self.doubts + 1 if watched.get("spread", 1.0) < COLLAPSED else 0
        if self.ranks.any(self.doubts >= PATIENCE):
            raise Diverged(f"collapsed: all outputs are the same at step {step + 1} (spread {watched['spread']:.4f})")
