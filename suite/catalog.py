"""Catalog: every entry by its name, found by walking its folder or, where a user named it, in the store."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from suite import architecture, cell, checkpoint, dataset, entry, model
from suite.cell import Cell
from suite.dataset import Dataset
from suite.grid import Grid
from suite.model import Input, Model, Weights
from suite.recipe import Recipe
from suite.store import Store, read_json, write_json
from suite.task import Task

Noun = TypeVar("Noun")


SEED = re.compile(r"([^~@]+)(?:~(\d+))?")  # what stands behind the @: DATASET, DATASET~SEED


def entries(package: str, noun: type[Noun]) -> dict[str, Noun]:
    """name -> entry for every value of type `noun` in the modules of `package`."""
    found: dict[str, Noun] = {}
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, noun):
                found[value.name] = value  # type: ignore[attr-defined]
    return found


class Catalog:
    """The entries of this checkout, and those that users named, as recorded in a store. `runtime` is what cells are run
    with, '' outside containers."""

    def __init__(self, store: Store, runtime: str = "") -> None:
        self.store, self.runtime = store, runtime
        self.named: dict[str, Dataset] = {}  # data sets that a user named just now: on record once something is sent

    @cached_property
    def tasks(self) -> dict[str, Task]:
        return entries("suite.tasks", Task)

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        return entries("suite.datasets", Dataset)

    @cached_property
    def models(self) -> dict[str, Model]:
        return entries("suite.models", Model)

    @cached_property
    def grids(self) -> dict[str, Grid]:
        return entries("suite.grids", Grid)

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        return entries("suite.recipes", Recipe)

    def task(self, name: str) -> Task:
        return _pick(name, self.tasks, "task")

    def dataset(self, name: str) -> Dataset:
        """The dataset of a name: of this checkout, or recorded in the store; Refusal with near names."""
        if name in self.named:
            return self.named[name]
        recorded = None if name in self.datasets else _recorded(self.store.data, name)
        return dataset.from_json(recorded) if recorded else _pick(name, self.datasets, "dataset")

    def model(self, name: str) -> Model:
        """The model of a name: of this checkout, recorded in the store, `random_ARCHITECTURE`, or what pre-training
        makes, RECIPE_ARCHITECTURE@DATASET[~SEED]."""
        if name not in self.models and name.startswith("random_"):
            return random_init(name.removeprefix("random_"))
        if name not in self.models and "@" in name:
            return self._pinned(self.product(name))
        recorded = None if name in self.models else _recorded(self.store.weights, name)
        return model.from_json(recorded) if recorded else self._pinned(_pick(name, self.models, "model"))

    def product(self, name: str) -> Model:
        """What a recipe makes of an architecture and a data set; Refusal with near names. What a recipe means on one
        data set, an entry NAME@DATASET says."""
        made_of, _, rest = name.partition("@")
        title, _, spelled = made_of.partition("_")
        found = SEED.fullmatch(rest)
        if not spelled or not found:
            raise entry.Refusal(f"{name}: what pre-training makes is called RECIPE_ARCHITECTURE@DATASET[~SEED]")
        data, seed = found.group(1), int(found.group(2) or 0)
        recipe = self.recipes.get(f"{title}@{data}") or _pick(title, self.recipes, "recipe")
        wanted = spelled.replace("timm-", "timm:", 1) if spelled.startswith("timm-") else spelled
        usual = of_architecture(title, wanted)
        size, made_by = recipe.settings["size"], usual.input
        made_by = made_by if size == made_by.size else replace(made_by, size=size, resize=size)
        plain = f"{usual.name}@{data}" + (f"~{seed}" if seed else "")
        return replace(
            usual,
            name=plain,
            input=replace(made_by, channels=recipe.settings["channels"]),
            weights=Weights(f"{plain}.safetensors"),
            init=seed,
            recipe=recipe,
            trained_on=data,
            pretraining=f"{recipe.name} on {data}, here",
        )

    def _pinned(self, one: Model) -> Model:
        """The model with the whole digest of its file in the store, so that another file makes its results stale."""
        file = self.store.weights / one.weights.file if one.weights else None
        if one.weights is None or file is None or not file.is_file():
            return one
        sha256 = checkpoint.sha256(file, self.store.weights / ".sha256.json")
        fits = sha256.startswith(one.weights.sha256)  # where not, the job says so
        return replace(one, weights=replace(one.weights, sha256=sha256)) if fits else one

    def cell(self, key: str) -> Cell:
        """The cell of a key; Refusal where this checkout has another version of its task."""
        parts = cell.parse(key)
        task = self.task(parts.task)
        if task.version != parts.version:
            raise entry.Refusal(f"{key}: this checkout has {task.label}, not version {parts.version}")
        return Cell(task, self.dataset(parts.dataset), self.model(parts.model), parts.seed)

    def recorded_models(self) -> dict[str, Model]:
        """The models that users named; what else lies in the folder is not looked at."""
        found = {path.stem: read_json(path) for path in sorted(self.store.weights.glob("[!.]*.json"))}
        ours = [name for name, value in found.items() if isinstance(value, dict) and "architecture" in value]
        return {name: self.model(name) for name in ours}

    def products(self) -> dict[str, Model]:
        """The models that were made here by pre-training, and are in the store."""
        names = sorted(path.stem for path in self.store.weights.glob("[!.]*@*.safetensors"))
        return {name: self.model(name) for name in names}

    def record(self, cells: list[Cell]) -> None:
        """Writes what users named into the store, so that a job finds a cell by its key alone."""
        for one in {c.model.name: c.model for c in cells}.values():
            if one.name not in self.models and not one.recipe and not one.name.startswith("random_"):
                _write(self.store.weights / f"{one.name}.json", one)
        for data in {c.dataset.name: c.dataset for c in cells}.values():
            if data.name not in self.datasets:
                _write(self.store.data / f"{data.name}.json", data)


def random_init(spelled: str) -> Model:
    """A random initialisation of an architecture, spelled `resnet50`, `timm:NAME` or, as in names, `timm-NAME`."""
    wanted = spelled.replace("timm-", "timm:", 1) if spelled.startswith("timm-") else spelled
    return of_architecture("random", wanted, pretraining="none: random initialisation")


def of_architecture(title: str, name: str, **more: Any) -> Model:
    """A model of a known architecture, with that architecture's own input; Refusal with near names."""
    try:
        found = architecture.find(name)
    except LookupError as error:
        raise entry.Refusal(error.args[0]) from None
    made_by = Input(found.size, found.resize, found.interpolation, found.mean, found.std)
    spelled = name.replace(":", "-")
    return Model(f"{title}_{spelled}", name, found.dimension, made_by, **more)


def _pick(name: str, known: dict[str, Noun], what: str) -> Noun:
    if name not in known:
        raise entry.near(name, known, what)
    return known[name]


def _recorded(folder: Path, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = read_json(folder / f"{name}.json")
    return found


def _write(path: Path, named: Model | Dataset) -> None:
    value = entry.as_json(named)
    if read_json(path) != value:
        write_json(path, value)
