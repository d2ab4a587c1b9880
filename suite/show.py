"""Show: tables for the terminal (rich); values in, a table out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from suite import adhoc, image, missing, packed
from suite.catalog import Catalog
from suite.check import Found
from suite.index import some

COLOURS = {
    **{"done": "green", "failed": "red", "blocked": "magenta", "stale": "yellow", "running": "cyan", "queued": "blue"},
    **{"unknown": "yellow", "absent": "dim"},
}
Place = tuple[str, str, str]  # task's label, dataset, model
SELDOM = {"blocked", "unknown"}  # have a column only where there are some


def states(named: Mapping[str, str]) -> Table:
    """Tasks down, states across, from key -> name of its state."""
    shown = [name for name in COLOURS if name not in SELDOM or name in named.values()]
    table = Table("task", *shown, "cells")
    tasks = sorted({key.split("/", 1)[0] for key in named})
    for label in [*tasks, *(["all"] if len(tasks) != 1 else [])]:
        count = Counter(name for key, name in named.items() if label in ("all", key.split("/", 1)[0]))
        told = [f"[{COLOURS[name]}]{count[name]}[/]" if count[name] else "" for name in shown]
        table.add_row(label, *told, str(count.total()))
    return table


def reasons(now: Mapping[str, Any], most: int = 20) -> list[str]:
    """A line for every cell that is neither done nor on its way, the first `most` of them."""
    told = [(key, state) for key, state in now.items() if state.past or (state.reason and state.name != "queued")]
    lines = [f"[{COLOURS[state.name]}]{state.name}[/] {key}: {escape(state.told)}" for key, state in told[:most]]
    more = f"... and {len(told) - most} more: launch.py gather lists them in missing.csv"
    return [*lines, *([more] if len(told) > most else [])]


def headlines(
    values: Mapping[Place, float], models: Sequence[str], rest: Mapping[Place, str] | None = None
) -> Iterator[Table]:
    """A table a task: models down, datasets across, in percent, the best of a column in bold; where there is no value,
    `rest` has the state.

    Tasks that were run on the same single dataset stand side by side in one.
    """
    shown: dict[Place, float | str] = {**(rest or {}), **values}
    shown = {place: shown[place] for place in [*values, *shown]}
    if len({dataset for _, dataset, _ in shown}) <= 1:
        yield _headlines(shown, models, "")
    else:
        for task in dict.fromkeys(task for task, _, _ in shown):
            yield _headlines({place: value for place, value in shown.items() if place[0] == task}, models, task)


def _headlines(values: Mapping[Place, float | str], models: Sequence[str], title: str) -> Table:
    columns = list(dict.fromkeys((task, dataset) for task, dataset, _ in values))
    numbers = {place: value for place, value in values.items() if isinstance(value, float)}
    best = {c: max((v for (*at, _), v in numbers.items() if tuple(at) == c), default=0.0) for c in columns}
    heads = (dataset if title else f"{task}\n{dataset}" for task, dataset in columns)
    shown = (Column(head, overflow="fold") for head in ("model", *heads))
    table = Table(*shown, title=title or None, title_justify="left")
    for model in models:
        table.add_row(model, *(_shown(values.get((*column, model), ""), best[column]) for column in columns))
    return table


def _shown(value: float | str, best: float) -> str:
    if isinstance(value, str):
        return f"[{COLOURS[value]}]{value}[/]" if value else ""
    return f"[bold]{100 * value:.2f}[/]" if value == best else f"{100 * value:.2f}"


def listing(what: str, known: Catalog, clusters: Iterable[str]) -> Iterator[Table]:
    """The entries of one kind: models (and recipes), datasets, tasks, grids, layouts, clusters, images."""
    heads, rows = {
        "models": (
            ("model", "architecture", "D", "pre-training", "top-1", "studies", "licence", "here"),
            _models,
        ),
        "datasets": (("dataset", "kind", "classes", "images", "metric", "in the store"), _datasets),
        "tasks": (("task", "takes", "headline", "source"), _tasks),
        "grids": (("study", "tasks", "models", "datasets", "what it is"), _grids),
        "layouts": (("layout",), lambda _: ((name,) for name in adhoc.layout_names())),
        "clusters": (("cluster",), lambda _: ((name,) for name in clusters)),
        "images": (("image", "file in the store", "digest", "GB", "recipe", "came from"), _images),
    }[what]
    yield _table(heads, rows(known))
    if what == "models":
        shown = ("to be pre-trained", "batch", "epochs", "published linear top-1 on ImageNet", "source")
        yield _table(shown, _recipes(known))


def verified(one: Mapping[str, Any]) -> str:
    """The result of the task `verify`, beside what was published: two lines, which nothing cuts."""
    top1, told, published = one["metrics"][0], one["details"], one["details"]["published"]
    value, low, high = (f"{100 * top1[name]:.2f}" for name in ("value", "low", "high"))
    known = f"published {published['top1']:g} ({published['source']})" if published else "nothing published"
    known += "" if told["comparable"] or not published else ", on ImageNet-1K's 50,000"
    verdict = {True: ": agrees", False: ": DISAGREES", None: ""}[told["agrees"]]
    return (
        f"{one['model']['name']} on {one['dataset']['name']}: {round(top1['value'] * top1['n'])} of {top1['n']} right "
        f"by {told['by']}\n    top-1 {value} [{low}, {high}], {known}; fingerprint {told['fingerprint']}{verdict}"
    )


def looked(name: str, root: Path, found: Found) -> list[str]:
    """What was found of a data set without opening its images, what is amiss at the end."""
    return [
        f"{name}: {root}",
        *(f"    {line}" for line in found.told),
        *(f"    AMISS: {line}" for line in found.faults),
    ]


def opened(images: Mapping[str, Any], decode: bool) -> str:
    """What opening a data set's images gave: a line, which names the first few that cannot be read."""
    how = "decoded" if decode else "opened by their headers"
    faults = [f"{file} ({why})" for file, why in images["faults"]]
    if not images["images"]:
        return "    no file of an image to be opened: images in batches were counted by their bytes"
    if not faults:
        return f"    {images['images']} images and masks {how}: all can be read"
    return f"    AMISS: {len(faults)} of {images['images']} images and masks cannot be read, {how}: {some(faults)}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    name, *others = heads
    table = Table(Column(name, no_wrap=True), *others)  # names are to be copied
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row))
    return table


def _models(known: Catalog) -> Iterable[tuple[object, ...]]:
    """`top-1` is what was published for ImageNet-1K, first of all."""
    named = {**known.models, **known.recorded_models(), **known.products()}
    for _, one in sorted(named.items()):
        here = "random" if one.weights is None else "no" if missing.weights(one, known) else "yes"
        top1 = f"{one.accuracy[0].top1:g} {one.accuracy[0].by}" if one.accuracy else ""
        studies = "\n".join(one.families)
        yield one.name, one.architecture, one.dimension, one.pretraining, top1, studies, one.licence, here


def _recipes(known: Catalog) -> Iterable[tuple[object, ...]]:
    """What can be pre-trained; those that are for one data set alone are not in a list."""
    for one in known.recipes.values():
        if "@" not in one.name:
            spelled = f"{one.name}_{one.architecture.replace(':', '-')}@DATASET"
            told = "\n".join(f"{seen.top1:g} ({seen.epochs} epochs, {seen.source})" for seen in one.expected)
            yield spelled, one.settings["batch"], one.settings["epochs"], told, one.source


def _datasets(known: Catalog) -> Iterable[tuple[object, ...]]:
    for one in known.datasets.values():
        images = ", ".join(f"{split} {n}" for split, n in one.counts.items())
        root = known.store.data / one.path
        here = "no" if missing.data(one, known) else "packed" if packed.holds(root, one.layout) else "yes"
        yield one.name, one.kind, one.classes, images, one.metric, here


def _tasks(known: Catalog) -> Iterable[tuple[object, ...]]:
    for one in known.tasks.values():
        yield one.label, ", ".join(one.kinds), one.metric or "the dataset's", one.source


def _images(known: Catalog) -> Iterable[tuple[object, ...]]:
    there = list(image.images(known.store))
    for one in there:
        recipe = f"{one.recipe[:8]} {'(stale)' if one.stale else '(current)'}"
        yield one.name, one.file, one.digest[:19], f"{one.bytes / 1e9:.2f}", recipe, one.source or f"base {one.base}"
    for name in set(image.names()) - {one.name for one in there}:
        yield name, f"none: launch.py build {name}", "", "", "", ""


def _grids(known: Catalog) -> Iterable[tuple[object, ...]]:
    for one in known.grids.values():
        yield one.name, ", ".join(one.tasks), ", ".join(one.models), ", ".join(one.datasets), one.title
