"""Linear classifiers by SGD: rate and decay searched for on a hold-out, refitted on all, test touched once; of all
images, or of N a class.

What is done is kept in a checkpoint: the values of the trials, the metrics of each N, and the heads that are being
trained. Every draw is a function of (seed, purpose), so a cell that goes on ends with the numbers of an unbroken one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from jobs.lib import heads, interrupt, seeds
from jobs.lib.failure import BadData, Diverged
from jobs.lib.heads import Feed, Heads
from jobs.lib.interrupt import Interrupted
from jobs.lib.rows import Rows
from jobs.lib.workspace import Workspace
from jobs.linear_search import accuracies, searching
from suite import entry
from suite.cell import Cell
from suite.result import Metric, Outcome

GB = 2**30
SAID_SECONDS = 10.0
Part = tuple[Rows, np.ndarray]  # features and labels


class Trainer:
    """Trains heads of one cell; of what it is asked for again after an interruption, what was done is not done anew."""

    def __init__(self, cell: Cell, workspace: Workspace) -> None:
        self.cell, self.device, self.settings = cell, workspace.device, cell.task.settings
        self.checkpoint = workspace.checkpoint(cell)
        found = self.checkpoint.load() or {}
        self.tried: dict[str, list[float | None]] = found.get("tried", {})  # values of a batch of trials
        self.finished: dict[int, Any] = found.get("finished", {})  # shots -> what `measured` gave, as JSON
        self.pending: dict[str, Any] | None = found.get("heads")
        self.in_blocks: bool = found.get("in_blocks", False)
        self.said = 0.0

    def train(self, run: str, rows: Rows, labels: np.ndarray, pairs: Sequence[tuple[float, float]]) -> Heads:
        """Heads after their last epoch. Interrupted, once they are saved, where this process is asked to go."""
        s = self.settings
        how = {"seed": self.cell.seed, "device": self.device, "products": s["products"]}
        feed = Feed(rows, labels, batch=s["batch"], memory=int(s["memory_gb"] * GB), **how)
        made = Heads(rows.shape[1], self.cell.dataset.classes, pairs, momentum=s["momentum"], **how)
        if self.pending and self.pending["run"] == run:
            made.restore(self.pending)
            print(f"{run}: goes on from step {made.done}", flush=True)
        self.pending, self.in_blocks = None, self.in_blocks or feed.in_blocks
        first, steps, began = made.done, s["epochs"] * feed.steps, time.monotonic()

        def after(losses: torch.Tensor) -> None:
            leaving, now = interrupt.asked(), time.monotonic()
            if leaving or made.done == steps or now - self.said > SAID_SECONDS:
                self.said, speed = now, (made.done - first) * feed.batch / max(now - began, 1e-9)
                low, high = losses.min().item(), losses.max().item()
                told = f"epoch {made.done / feed.steps:.1f}/{s['epochs']}, loss {low:.4f} to {high:.4f}"
                print(f"{run}: {told}, {speed:.0f} images/s", flush=True)
            if leaving or self.checkpoint.due():
                self._save(heads={"run": run, **made.state()})
            if leaving:
                raise Interrupted(f"checkpoint saved: {run}, step {made.done}")

        heads.train(made, feed, epochs=s["epochs"], cosine=s["cosine"], after=after)
        return made

    def values(self, run: str, train: Part, val: Part, pairs: Sequence[tuple[float, float]]) -> list[float | None]:
        """Top-1 on validation of each pair of (rate, decay); None where it diverges."""
        if run not in self.tried:
            made = self.train(run, *train, pairs)
            values = zip(made.accuracies(*val), made.lost(), strict=True)
            self.tried[run] = [None if lost else value for value, lost in values]
            self._save()
        return self.tried[run]

    def finish(self, shots: int, found: Any) -> None:
        self.finished[shots] = found
        self._save()

    def _save(self, **more: Any) -> None:
        kept = {"tried": self.tried, "finished": self.finished, "in_blocks": self.in_blocks}
        self.checkpoint.save(kept | more)


def run(cell: Cell, workspace: Workspace) -> Outcome:
    (rows, labels), test = workspace.trainval(cell), workspace.features(cell, "test")
    kept, held = seeds.holdout(labels, cell.task.settings["holdout"], cell.seed)
    wanted, left_out = affordable(cell, labels[kept])
    with interrupt.deferred():  # from here on it leaves between two steps
        trainer = Trainer(cell, workspace)
        for shots in wanted:
            if shots not in trainer.finished:
                trainer.finish(shots, measured(shots, trainer, rows, labels, (kept, held), test))
    asked = cell.task.settings["headline_shots"]
    headline, found = asked if asked in wanted else max(wanted), trainer.finished
    metrics = tuple(
        Metric(**metric | {"headline": metric["headline"] and shots == headline})
        for shots in wanted
        for metric in found[shots]["metrics"]
    )
    told = {name: {shots: found[shots][name] for shots in wanted} for name in ("chosen", "trials")}
    if not cell.task.settings["shots"]:
        told = {name: of[0] for name, of in told.items()}
    details = {
        "trials": told["trials"],
        "left_out": left_out,
        "shuffled": "in blocks" if trainer.in_blocks else "whole",
        "images": {"train": len(kept), "val": len(held), "refit": len(labels), "test": len(test.y)},
        "images_drawn": {shots: shots * len(np.unique(labels)) for shots in wanted if shots},
        "extraction": test.manifest,
    }
    return Outcome(metrics, told["chosen"], details)


def affordable(cell: Cell, labels: np.ndarray) -> tuple[list[int], list[int]]:
    """How many images a class are to be drawn (0: all), and what of the setting `shots` the smallest class lacks."""
    asked, least = list(cell.task.settings["shots"]) or [0], int(np.unique(labels, return_counts=True)[1].min())
    left_out = [shots for shots in asked if shots > least]
    if left_out:
        told = f"{left_out} images a class are more than the {least} of the smallest, besides the validation images"
        if left_out == asked:
            raise BadData(f"{cell.dataset.name}: {told}")
        print(f"left out: {told}", flush=True)
    return [shots for shots in asked if shots <= least], left_out


def measured(
    shots: int, trainer: Trainer, rows: Rows, labels: np.ndarray, split: tuple[np.ndarray, np.ndarray], test: Any
) -> dict[str, Any]:
    """Trials, what was chosen and the metrics on test, for `shots` images a class (0: all of them), as JSON."""
    cell, s, (kept, held) = trainer.cell, trainer.settings, split
    name, how = f"{shots} a class: " if shots else "", s["features"]

    def part(chosen: np.ndarray, like: Rows | None = None) -> Part:
        return rows.subset(chosen).normalised(how, like), labels[chosen]

    tried = kept[draw(labels[kept], shots, cell.seed, "search")]
    space = {"rate": s["rate"], "decay": s["decay"]}
    search, values = searching(cell, space, shots), []
    train, val = part(tried), part(held, rows.subset(tried))
    while asked := search.ask():
        first = len(search.trials)
        run = f"{name}trials {first + 1} to {first + len(asked)} of {s['trials']}"
        now = trainer.values(run, train, val, [(trial["rate"], trial["decay"]) for trial in asked])
        search.tell([value or 0.0 for value in now])
        values += now
    best = search.best
    chosen = draw(labels, shots, cell.seed, "refit")
    final = trainer.train(f"{name}refit", *part(chosen), [(best.parameters["rate"], best.parameters["decay"])])
    if final.lost()[0]:
        raise Diverged(f"{name}the refit diverges with {best.parameters}, which had {best.value} on validation")
    x_test = Rows((test.x, None)).normalised(how, like=rows.subset(chosen))
    scores, truth = final.decision(0, x_test), torch.from_numpy(test.y)
    found = accuracies(scores, truth, cell.seed, f"_n{shots}" if shots else "")
    print(f"{name}top-1 {found[0].value:.4f} with {dict(best.parameters)}", flush=True)
    return {
        "metrics": entry.as_json(found),
        "chosen": dict(best.parameters),
        "trials": [{**trial.parameters, "top1": value} for trial, value in zip(search.trials, values, strict=True)],
    }


def draw(labels: np.ndarray, shots: int, seed: int, phase: str) -> np.ndarray:
    """`shots` rows of each class, ascending; all rows for 0. A function of (seed, phase, shots, class) and its rows."""
    if not shots:
        return np.arange(len(labels))
    order = np.argsort(labels, kind="stable")
    classes, starts = np.unique(labels[order], return_index=True)
    groups = zip(classes, np.split(order, starts[1:]), strict=True)
    chosen = [seeds.generator(seed, "shots", phase, shots, c).permutation(rows)[:shots] for c, rows in groups]
    return np.sort(np.concatenate(chosen))
