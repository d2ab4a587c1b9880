"""Linear segmentation: one linear layer on the frozen last map of a backbone.

The layer is fitted to pixels drawn from the training images: each has the features that lie there once the map is
interpolated to the image, and a linear layer commutes with that. C is chosen on validation images, the layer refitted
on train + validation, test touched once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, linear

from jobs.lib import confusion, logistic, seeds, training
from jobs.lib.confusion import Confusion
from jobs.lib.failure import BadData
from jobs.lib.labelled import VOID, LabelledViews, View, pixels
from jobs.lib.maps import Maps, maps
from jobs.lib.problem import Fit
from jobs.lib.rows import Rows
from jobs.lib.workspace import Workspace
from jobs.segmentation import Tested, outcome, splits
from suite.cell import Cell
from suite.result import Outcome

NEVER = -1e6  # the score of a class that no training pixel has
Row = tuple[LabelledViews, int]
Made = TypeVar("Made")


def run(cell: Cell, workspace: Workspace) -> Outcome:
    s, classes = cell.task.settings, cell.dataset.classes
    views = splits(cell.dataset, workspace)
    train, val = selection(cell, views)
    training.check(partial(each, workspace), *(views[name] for name in ("train", "val", "test") if name in views))
    probe = Probe(cell, workspace, len(train) + len(val))
    x_train, y_train = probe.drawn(train)
    x_val, y_val = probe.drawn(val)
    values = np.logspace(np.log10(s["c_max"]), np.log10(s["c_min"]), s["c_values"]).tolist()
    like = Rows((x_train, None))
    fits = logistic.path(like.normalised("standard"), y_train, classes, values, device=workspace.device)
    x = Rows((x_val, None)).normalised("standard", like=like)
    scored = {fit.C: _mean_iou(fit.decision(x).argmax(1).cpu().numpy(), y_val, classes) for fit in fits}
    best, _ = logistic.select(fits, lambda fit: scored[fit.C])
    print(f"linear: C = {best.C:g} of {len(values)}", flush=True)
    x = Rows((x_train, None), (x_val, None)).normalised("standard")
    final = logistic.fit(
        x,
        np.concatenate([y_train, y_val]),
        classes,
        best.C,
        tolerance=1e-4,
        max_iterations=300,
        device=workspace.device,
    )
    probe.weigh(final, x)
    tested = Tested(cell, views["test"], probe.logits, workspace.device)
    with torch.inference_mode():
        counted = each(workspace, tested.make, range(len(views["test"])), tested.use)
    details = {
        "network": probe.kind,
        "validation": {f"{C:.6g}": value for C, value in scored.items()},
        "pixels": {"train": len(y_train), "val": len(y_val)},
        "images": {"train": len(train), "val": len(val), "test": len(views["test"])},
    }
    return outcome(cell, workspace, counted, {"C": best.C}, details)


def each(workspace: Workspace, make: Any, items: Iterable[Any], use: Callable[[Any], Made]) -> list[Made]:
    """use(make(item)) of every item, in order; `make` runs in threads."""
    return [use(made) for batch in workspace.loader.batches(make, items, workspace.cores) for made in batch]


class Probe:
    """A frozen network's last map, and a linear layer on it."""

    def __init__(self, cell: Cell, workspace: Workspace, images: int) -> None:
        self.cell, self.device, self.loader = cell, workspace.device, workspace.loader
        self.settings, self.made_by = cell.task.settings, cell.model.input
        architecture = cell.model.architecture
        network = deepcopy(workspace.backbone(cell.model).network)
        self.maps: Maps = maps(network, architecture, self.settings["output_stride"]).eval().to(self.device)
        self.last = self.maps.strides[-1]
        stride, channels = self.maps.at[self.last], self.maps.channels[self.last]
        self.kind = f"linear on {architecture}'s map of stride {stride}, of {channels} channels{self.maps.remark}"
        print(self.kind, flush=True)
        # As many from every image, and not more in all than memory is for.
        self.each = max(1, min(self.settings["pixels_an_image"], self.settings["pixels"] // images))

    @torch.inference_mode()
    def drawn(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        """N x D features and N labels of pixels drawn from images."""
        x, y = [np.empty((0, self.maps.channels[self.last]), np.float32)], [np.empty(0, np.int64)]
        for ((view, at),) in self.loader.batches(self._view, rows, 1):
            if len(at):
                x.append(self._features(view.image, at).float().cpu().numpy())
                y.append(view.labels.flatten()[at].long().numpy())
        if not sum(map(len, y)):
            raise BadData(f"{self.cell.dataset.name}: no pixel of {len(rows)} images has a class")
        return np.concatenate(x), np.concatenate(y)

    def weigh(self, fit: Fit, rows: Rows) -> None:
        """Takes the layer that was fitted to standardised rows, for features as they are."""
        weight = fit.weight.cpu() / torch.from_numpy(rows.scale)
        bias = fit.bias.cpu() - weight @ torch.from_numpy(rows.shift)
        self.weight = weight.to(self.device)
        self.bias = bias.clamp(min=NEVER).to(self.device)  # -inf times 0 is what an interpolation cannot have

    def logits(self, images: Tensor) -> Tensor:
        """N x 3 x H x W, normalised -> N x K x H x W."""
        cells = self._map(images).permute(0, 2, 3, 1)
        scores = linear(cells, self.weight, self.bias).permute(0, 3, 1, 2)
        return interpolate(scores, images.shape[-2:], mode="bilinear", align_corners=False)

    def _map(self, images: Tensor) -> Tensor:
        found: Tensor = self.maps(images)[self.last]
        return found.float()

    def _view(self, row: Row) -> tuple[View, Tensor]:
        """An image at its size for the test, and which of its pixels are drawn."""
        views, place = row
        view = views.still(place, self.settings)
        there = np.flatnonzero(view.labels.numpy().ravel() != VOID)
        draw = seeds.generator(self.cell.seed, "pixels", views.split.items[place])
        chosen = np.sort(draw.permutation(there)[: self.each])
        return view, torch.from_numpy(chosen)

    def _features(self, image: Tensor, at: Tensor) -> Tensor:
        """N x D: the map interpolated at pixels of an image."""
        x = pixels([image], self.made_by, self.settings["multiple"], self.device)
        width, size = image.shape[-1], torch.tensor(x.shape[-2:])
        places = torch.stack([at // width, at % width], 1)
        grid = ((places + 0.5) / size * 2 - 1).flip(1).to(self.device).float()
        found = grid_sample(self._map(x), grid[None, None], mode="bilinear", padding_mode="border", align_corners=False)
        return found[0, :, 0].T


def selection(cell: Cell, views: dict[str, LabelledViews]) -> tuple[list[Row], list[Row]]:
    """Images for training and for validation: official, or held out of train where there is none."""
    rows = {name: [(split, row) for row in range(len(split))] for name, split in views.items()}
    if "val" in rows:
        return rows["train"], rows["val"]
    kept, held = seeds.holdout(np.zeros(len(rows["train"]), int), cell.task.settings["holdout"], cell.seed)
    return [rows["train"][row] for row in kept], [rows["train"][row] for row in held]


def _mean_iou(found: np.ndarray, truth: np.ndarray, classes: int) -> float:
    areas = Confusion([confusion.count(truth.astype(np.uint8), found, classes)], classes).areas()
    return float(confusion.iou(*(area.sum(0) for area in areas)).nanmean())
