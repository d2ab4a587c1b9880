"""Linear heads on a frozen backbone, trained on views of the images that are drawn anew every epoch.

The backbone is in evaluation mode, its batch norms too. Each batch goes through it once, for all heads; the batch norms
of heads are over the batches of all ranks, as published. Nothing is chosen: train and validation images are both
trained on, and the test images are looked at once, after the last step. Every draw is a pure function of (seed, number
of the view), so a run that is killed ends with the numbers of an unbroken one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from jobs.lib import colour, examples, interrupt, metrics, score, seeds
from jobs.lib.augment import random_crop, random_place
from jobs.lib.examples import Examples, Order
from jobs.lib.failure import BadTask, Diverged
from jobs.lib.images import normalise
from jobs.lib.layers import NAMES, Layers
from jobs.lib.loop import Loop
from jobs.lib.rate import Rate, optimizer_of
from jobs.lib.workspace import Workspace
from suite.cell import Cell
from suite.result import Metric, Outcome

RANKS = True  # it may run in several
AT_ONCE = 256  # images that go through the backbone together; a batch may be far larger
View = tuple[Tensor, Tensor, int]  # 3 x S x S uint8, what is added to its three colours, and which example it is of


def run(cell: Cell, workspace: Workspace) -> Outcome:
    splits = {name: Examples.of(workspace.images(cell.dataset, name)) for name in workspace.index(cell.dataset).splits}
    train, test = splits["train"], splits["test"]
    if "val" in splits:
        train += splits["val"]
    with interrupt.deferred():  # from here on it leaves between two steps
        probe = Probe(cell, workspace, train)
        probe.train()
        guesses = probe.guesses(test)
    images = {"train": len(train), "test": len(test)}
    details = {"dimensions": list(probe.dimensions), "schedule": probe.rate.told, "images": images}
    found = evaluate(guesses, test.labels, probe.names, cell)
    return Outcome(found, {"learning_rate": probe.rate.peak}, details)


def evaluate(guesses: Tensor, labels: Tensor, names: Sequence[str], cell: Cell) -> tuple[Metric, ...]:
    """Metrics of N x heads class numbers against N labels. The last head's is the headline: it is on the layer that
    everybody else probes, and fixed before anything is seen."""
    found: list[Metric] = []
    for name, guess in zip(names, guesses.T, strict=True):
        suffix, right = f"_{name}" if name else "", (guess == labels).double()
        per_class = metrics.mean_per_class_statistic(right, labels)
        statistics = {f"top1{suffix}": metrics.mean_statistic(right), f"mean_per_class{suffix}": per_class}
        headline = f"{cell.dataset.metric}{suffix}" if name == names[-1] else ""
        found += score.pooled(statistics, len(labels), cell.seed, headline)
    return tuple(found)


class Probe:
    """The heads of a frozen backbone: one on its feature, or one on each of the five pooled `layers` of a ResNet.

    Settings beside those of Rate and optimizer_of (nesterov of SGD): `rate_every` "step" or "epoch", layers, `norm_eps`
    of a batch norm without affine before each head (0: none), init_std, view (see Input.seen), crop_scale (() is
    `random_place`), flip, jitter (see View of pre-training), lighting, precision of the backbone.
    """

    def __init__(self, cell: Cell, workspace: Workspace, train: Examples) -> None:
        self.cell, self.workspace, self.images = cell, workspace, train
        self.settings, self.ranks = cell.task.settings, workspace.ranks
        self.made_by = cell.model.input.seen(self.settings["view"])
        batch = self.settings["batch"]
        self.own = self.ranks.part(range(batch))  # this rank's places in every batch
        if not self.own:
            raise BadTask(f"{cell.task.label}: a batch of {batch} is too small for {self.ranks.count} ranks")
        if batch > len(train):
            raise BadTask(
                f"{cell.task.label}: a batch of {batch} is more than the {len(train)} images of {cell.dataset.name}, "
                "and its schedule counts epochs; take a task with smaller batches"
            )
        self.network = workspace.backbone(cell.model).network
        self.names, self.dimensions = ("",), (cell.model.dimension,)
        if self.settings["layers"] == "all":
            self.network = Layers(self.network, cell.model.architecture)
            self.names, self.dimensions = NAMES, self.network.dimensions
        self.network.to(workspace.device, memory_format=torch.channels_last).eval()
        self.heads = self._heads().to(workspace.device)
        self.ranks.same_weights(self.heads)
        self.a_epoch = -(-len(train) // batch)  # the last batch is filled up with images of the next epoch
        self.rate, self.optimizer = Rate(self.settings, self.a_epoch), optimizer_of(self.heads, self.settings)
        parts = {"heads": self.heads, "optimizer": self.optimizer}
        self.loop = Loop(cell, workspace, self.rate.steps, batch, parts)

    def train(self) -> None:
        """All steps. Diverged where the loss is not finite; Interrupted, once all is saved, where this process is asked
        to go."""
        self.heads.train()
        for step, (features, labels) in enumerate(self._batches(self.loop.first), self.loop.first):
            by_epoch = self.settings["rate_every"] == "epoch"
            rate = self.rate.apply(self.optimizer, step - step % self.a_epoch if by_epoch else step)
            with self.ranks.normalising():
                outputs = [head(x) for head, x in zip(self.heads, features, strict=True)]
            loss = torch.stack([cross_entropy(out, labels) for out in outputs]).sum()
            self.optimizer.zero_grad()
            loss = self.ranks.backward(loss, len(self.own) / self.settings["batch"], self.heads)
            self.optimizer.step()
            self.loop.after(step, loss.detach(), f"lr {rate:.3g}")

    def guesses(self, rows: Examples) -> Tensor:
        """N x heads class numbers, on the CPU."""
        self.heads.eval()
        found = examples.outputs(rows, self.made_by, self.workspace, self._guessed, len(self.heads))
        if found.isnan().any():
            raise Diverged(f"scores of {int(found.isnan().any(1).sum())} of {len(found)} images are not a number")
        return found.long()

    def _guessed(self, x: Tensor) -> Tensor:
        scores = [head(feature) for head, feature in zip(self.heads, self._features(x), strict=True)]
        return torch.stack([one.argmax(1).where(~one.isnan().any(1), torch.nan) for one in scores], 1)

    def _heads(self) -> nn.ModuleList:
        s, heads = self.settings, nn.ModuleList()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.number(self.cell.seed, "head"))
            for dimension in self.dimensions:
                linear = nn.Linear(dimension, self.cell.dataset.classes)
                nn.init.normal_(linear.weight, std=s["init_std"])
                nn.init.zeros_(linear.bias)
                norm = [nn.BatchNorm1d(dimension, eps=s["norm_eps"], affine=False)] if s["norm_eps"] else []
                heads.append(nn.Sequential(*norm, linear))
        return heads

    def _batches(self, first: int) -> Iterator[tuple[list[Tensor], Tensor]]:
        """This rank's part of every batch, from a step on: features, and labels."""
        batch, order = self.settings["batch"], Order(len(self.images), self.cell.seed, "order")
        numbers = (step * batch + place for step in range(first, self.loop.steps) for place in self.own)
        drawn = ((number, order(number)) for number in numbers)
        device = self.workspace.device
        for views in self.workspace.loader.batches(self._view, drawn, len(self.own)):
            turns = [views[at : at + AT_ONCE] for at in range(0, len(views), AT_ONCE)]
            parts = [self._features(self._input(turn)) for turn in turns]
            labels = self.images.labels[[row for *_, row in views]]
            yield [torch.cat(layer) for layer in zip(*parts, strict=True)], labels.to(device)

    def _view(self, drawn: tuple[int, int]) -> View:
        (number, row), s = drawn, self.settings
        draw = seeds.generator(self.cell.seed, "view", number)
        if s["crop_scale"]:
            pixels = random_crop(self.images[row], self.made_by, draw, s["crop_scale"], s["flip"])
        else:
            pixels = random_place(self.images[row], self.made_by, draw, s["flip"])
        if any(s["jitter"]):
            values = pixels.to(torch.float32, memory_format=torch.contiguous_format)
            colour.jitter(values, s["jitter"], draw)
            pixels = values.round().to(torch.uint8)
        return pixels, colour.lighting(draw, s["lighting"]), row

    def _input(self, views: Sequence[View]) -> Tensor:
        """Pixels that lighting takes below 0 or above 255 stay there, as published."""
        device = self.workspace.device
        pixels, light = (torch.stack(parts).to(device) for parts in list(zip(*views, strict=True))[:2])
        x = normalise(pixels.float().add_(light[:, :, None, None]), self.made_by)
        return x.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()  # no inference_mode: of its tensors nothing can be learnt
    def _features(self, x: Tensor) -> list[Tensor]:
        precision = self.settings["precision"]
        with torch.autocast(x.device.type, getattr(torch, precision), enabled=precision != "float32"):
            found = self.network(x)
        return [one.float() for one in (found if isinstance(found, list) else [found])]
