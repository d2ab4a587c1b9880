"""Workspace: what a program is given beside its cell: the store, the device, images, features, checkpoints."""

from __future__ import annotations

import importlib.metadata
import platform
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from jobs.lib import backbone, features, images, inside, machine
from jobs.lib.backbone import Backbone
from jobs.lib.checkpoint import Checkpoint
from jobs.lib.features import Features
from jobs.lib.images import Images
from jobs.lib.loader import Loader
from jobs.lib.ranks import Ranks
from jobs.lib.rows import Rows
from suite import index, result
from suite.cell import Cell
from suite.dataset import Dataset
from suite.index import Index
from suite.model import Model
from suite.store import Store

BATCH = 64
PACKAGES = (
    *("torch", "torchvision", "timm", "numpy", "pillow", "optuna"),
    *("pycocotools", "faster-coco-eval", "detectron2"),
)


class Workspace:
    """One process's view of a store; what cells of a bundle share is loaded once. `image` is the digest of the image
    that it runs in, or ''."""

    def __init__(
        self, store: Store, *, device: str = "", cores: int = 0, ranks: Ranks | None = None, image: str = ""
    ) -> None:
        self.store, self.ranks, self.cores, self.image = store, ranks or Ranks(), machine.cores(cores), image
        self.device = torch.device(device or machine.device(self.ranks.local))
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        else:
            machine.keep_memory()
        self.loader = Loader(self.cores, self.device)
        self._indices: dict[str, Index] = {}
        self._digests: dict[str, str] = {}
        self._backbones: dict[str, Backbone] = {}

    def index(self, dataset: Dataset) -> Index:
        """The dataset's index, checked against its entry; only the last one is kept."""
        if dataset.name not in self._indices:
            self._indices.clear()
            self._indices[dataset.name] = images.read_index(dataset, self.root(dataset))
        return self._indices[dataset.name]

    def images(self, dataset: Dataset, split: str) -> Images:
        rows = self.index(dataset).splits[split]
        return Images(self.root(dataset), rows.items, rows.labels)

    def backbone(self, model: Model) -> Backbone:
        """The model's backbone on this device; only the last one is kept."""
        if model.name not in self._backbones:
            self._backbones.clear()
            loaded = backbone.load(model, self.store.weights)
            print(loaded.report, flush=True)
            self._backbones[model.name] = loaded
        return self._backbones[model.name]

    def features(self, cell: Cell, split: str, network: Backbone | None = None) -> Features:
        """Frozen features of one split of the cell's dataset, from the store or extracted into it; what another
        `network` than the model's backbone gives, likewise. A task's setting `view` says where images are made
        otherwise than the model's input (see Input.seen)."""
        network, view = network or self.backbone(cell.model), cell.task.settings.get("view", {})
        network = replace(network, model=replace(network.model, input=network.model.input.seen(view)))
        precision = cell.task.settings["precision"]
        files = self._files(cell.dataset)
        at = features.folder(self.store.features, network, cell.dataset.name, files, precision, self.recipe)
        return features.get(at / split, network, self.images(cell.dataset, split), precision, self.loader, BATCH)

    def trainval(self, cell: Cell) -> tuple[Rows, np.ndarray]:
        """(features, labels) of all that is not test: train, and official validation images where there are some."""
        names = [name for name in ("train", "val") if name in self.index(cell.dataset).splits]
        splits = [self.features(cell, name) for name in names]
        return Rows(*((split.x, None) for split in splits)), np.concatenate([split.y for split in splits])

    def checkpoint(self, cell: Cell) -> Checkpoint:
        """Where a cell's program saves; what was saved of other facts, or in another image, is ignored."""
        software = {"recipe": self.recipe} if self.recipe else {}
        return Checkpoint(self.folder(cell), result.facts(cell) | software, cell.task.checkpoint_seconds)

    @cached_property
    def recipe(self) -> str:
        """The recipe of the image that this runs in, '' outside. BadImage where something of the host is in it."""
        return inside.recipe() if self.image else ""

    def folder(self, cell: Cell) -> Path:
        """Where the cell's result and checkpoint lie."""
        return self.store.results / cell.key

    def root(self, dataset: Dataset) -> Path:
        return self.store.data / dataset.path

    def _files(self, dataset: Dataset) -> str:
        """The digest of the dataset's files, which takes a while for large ones."""
        if dataset.name not in self._digests:
            found = dataset.digest or index.digest(self.index(dataset), self.root(dataset))
            self._digests[dataset.name] = found
        return self._digests[dataset.name]

    @property
    def used(self) -> dict[str, object]:
        """What this process used of its machine since `machine.forget_peak`."""
        gpu = machine.gpu_peak_gb(self.device)
        return {"peak_gb": machine.peak_gb(), "gpu_peak_gb": gpu, "ranks": self.ranks.count}

    @property
    def environment(self) -> dict[str, object]:
        """With what the numbers were made: versions, device, cores."""
        on_gpu = self.device.type == "cuda"
        return {
            "versions": {"python": platform.python_version(), **_versions()},
            "device": torch.cuda.get_device_name(self.device) if on_gpu else "cpu",
            "cores": self.cores,
            "host": platform.node(),
        }


def _versions() -> dict[str, str]:
    """Of the packages that make numbers, those that are there."""
    found = {}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
