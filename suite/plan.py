"""Plan: from what a user typed to the cells of a grid, everything checked before anything is submitted."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from suite import adhoc, architecture, grid, missing, product, result
from suite.catalog import Catalog
from suite.cell import Cell
from suite.dataset import Dataset
from suite.entry import Refusal
from suite.grid import Grid
from suite.index import LayoutError, some
from suite.model import Model
from suite.task import Task

Noun = TypeVar("Noun")
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Plan:
    """The cells of a grid, and what was left out of it, with the reason; `bad` are folders that cannot be read."""

    cells: list[Cell]
    left_out: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


def plan(asked: Grid, known: Catalog, *, every_model: bool = False) -> Plan:
    """The cells that `asked` names; `every_model` takes all whose weights are in the store. Refusal on bad input.

    What is named must be there; of a family, a pattern or a study, what is there is taken, and the rest told.
    """
    left_out: list[str] = []
    study = known.grids.get(asked.name, Grid())
    named = _several(asked.tasks, known.tasks, lambda name: [known.task(name)])
    if not named:
        raise Refusal(f"name tasks to run, --tasks A,B, or a study; tasks: {', '.join(known.tasks)}")
    tasks = [
        replace(task, datasets=asked.own.get(task.name, task.datasets)) for task in named if task.makes != "weights"
    ]
    models = (
        _all_here(known, left_out)
        if every_model
        else _several(asked.models, known.models, lambda text: _family(text, known) or [adhoc.model(text, known)])
    )
    if not models:
        raise Refusal("no model to measure: name some with --models, or bring weights with: launch.py fetch MODEL")
    made = _pretraining(models, known, asked=len(tasks) < len(named))
    wanted = set() if every_model or asked.models == study.models else set(asked.models)
    must = set() if every_model else {one.name for one in models if one.name in wanted or one.name not in known.models}
    models = _with_weights(models, made, must, known, left_out)
    if not tasks:
        return Plan(made, left_out)
    bad: list[str] = []
    datasets = _datasets(asked, tasks, known, left_out, bad, study)
    if asked.tasks == study.tasks:
        tasks = _with_datasets(asked, tasks, datasets, left_out)
    try:
        _refuse_odd_ones(tasks, datasets)
    except Refusal:
        if bad:
            raise Refusal("\n".join(bad)) from None
        raise
    for data in datasets if asked.datasets else []:  # named ones: where there are none, each task is for its own
        if others := [task.name for task in tasks if not grid.takes(task, data)]:
            left_out.append(f"{data.name} is {_described(data)}: nothing for {', '.join(others)}")
    for model in models:
        if unfit := [task for task in tasks if not grid.fits(task, model)]:
            left_out.append(no_maps(unfit, model))
    _refuse_mapless(tasks, models, must)
    cells = grid.cells(tasks, datasets, models, asked.seeds)
    if not asked.datasets:  # then each task is for its own
        cells = [cell for cell in cells if cell.dataset.name in cell.task.datasets]
    unmeasurable = [
        why
        for task in tasks
        for data in datasets
        for model in models
        if (asked.datasets or data.name in task.datasets)
        and grid.takes(task, data)
        and (why := grid.unmeasurable(task, data, model))
    ]
    if unmeasurable and not cells:
        raise Refusal(unmeasurable[0])
    return Plan([*made, *cells], [*left_out, *dict.fromkeys(unmeasurable)], bad)


def _with_weights(
    models: Sequence[Model], made: Sequence[Cell], must: Collection[str], known: Catalog, left_out: list[str]
) -> list[Model]:
    """The models that can be run, now or once those cells have `made` them. Refusal where one that `must` cannot, or
    none can."""
    waiting = {cell.model.name for cell in made}
    absent = {one.name: why for one in models if one.name not in waiting and (why := missing.weights(one, known))}
    if refused := [why for name, why in absent.items() if name in must]:
        raise Refusal(refused[0])
    if absent:
        left_out.append(f"{len(absent)} models are not in the store: launch.py fetch {' '.join(absent)}")
    if len(absent) == len(models):
        raise Refusal(left_out[-1])
    return [one for one in models if one.name not in absent]


def _with_datasets(asked: Grid, tasks: Sequence[Task], datasets: Sequence[Dataset], left_out: list[str]) -> list[Task]:
    """Those of a study's tasks that some data set that is there is for; all, where none is for any."""
    there = [
        task
        for task in tasks
        if any(grid.takes(task, data) and (asked.datasets or data.name in task.datasets) for data in datasets)
    ]
    if there and (rest := [task.name for task in tasks if task not in there]):
        left_out.append(f"{', '.join(rest)}: none of the data sets that they are for is in the store")
    return there or list(tasks)


def _family(text: str, known: Catalog) -> list[Model]:
    return [one for one in known.models.values() if text in one.families]


def _pretraining(models: Sequence[Model], known: Catalog, *, asked: bool) -> list[Cell]:
    """The cells that make those of the models that a recipe makes: where it was asked for, all; else those that are
    not in the store. Refusal where a recipe and its architecture or data set do not go together."""
    if asked and not any(model.recipe for model in models):
        recipes = ", ".join(name for name in known.recipes if "@" not in name)
        raise Refusal(f"pretrain takes models that a recipe makes, such as {_example(known)}; recipes: {recipes}")
    wanted = [model for model in models if model.recipe and (asked or missing.weights(model, known))]
    for model in wanted:
        dataset = known.dataset(model.trained_on)
        if absent := missing.data(dataset, known):
            raise Refusal(f"{model.name} is to be trained on {absent}")
        if odd := product.unfit(model, dataset):
            raise Refusal(odd)
    made = [product.maker(model, known) for model in wanted]
    for cell in [] if asked else [product.maker(model, known) for model in models if model.recipe]:
        _refuse_odd_product(cell, known)
    return made


def _refuse_odd_product(cell: Cell, known: Catalog) -> None:
    """Refuses weights that another recipe made than today's of that name; and those that are gone, though made."""
    found = result.read(known.store.results, cell.key)
    gone = missing.weights(cell.model, known)
    if found and gone:
        raise Refusal(gone)
    if found and found["facts"] != result.facts(cell):
        raise Refusal(
            f"{cell.model.name}: its recipe, task or data set changed since {cell.key} made it; to make it anew: "
            f"launch.py grid --tasks pretrain --models {cell.model.name} --stale"
        )


def _example(known: Catalog) -> str:
    recipe = next(iter(known.recipes.values()))
    return f"{recipe.name}_{recipe.architecture.replace(':', '-')}@imagenet1k"


def no_maps(tasks: Sequence[Task], model: Model) -> str:
    """Why a model is not paired with tasks that work on feature maps."""
    names = ", ".join(task.name for task in tasks)
    of = f"{names} on {model.name}: its architecture ({model.architecture}) gives"
    if strides := architecture.strides(model.architecture):
        layers = any(task.maps == "layers" for task in tasks)
        pyramid = "a pyramid takes powers of 2; patches of 16 give that"
        wanted = "the five layers of a ResNet have 2, 4, 8, 16 and 32" if layers else pyramid
        return f"{of} maps of stride {', '.join(map(str, strides))}, and {wanted}"
    return f"{of} no feature maps; those of torchvision's CNNs and most of timm's do"


def data_sets(names: Sequence[str], known: Catalog) -> list[str]:
    """The data sets that are named, a pattern being those in the store that it fits. Refusal of a model."""
    here = [one.name for one in known.datasets.values() if not missing.data(one, known)]
    if models := [name for name in names if name in known.models]:
        raise Refusal(f"{models[0]} is a model, which is verified on labelled images: name them with --datasets")
    return list(dict.fromkeys(one for name in names for one in (fnmatch.filter(here, name) or [name])))


def merged(study: Grid | None, given: Grid) -> Grid:
    """A study, with what was given on the command line in place of its own."""
    own = study or Grid()
    return replace(
        own,
        tasks=given.tasks or own.tasks,
        models=given.models or own.models,
        datasets=given.datasets or own.datasets,
        seeds=given.seeds or own.seeds,
    )


def words(text: str | None) -> tuple[str, ...]:
    """The parts of a comma-separated list."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def numbers(text: str | None) -> tuple[int, ...]:
    """Seeds: numbers and ranges such as 0-4, separated by commas."""
    found: list[int] = []
    for word in words(text):
        first, _, last = word.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise Refusal(f"--seeds {text}: {word!r} is neither a number nor a range such as 0-4")
        if not 0 <= int(last or first) - int(first) < MOST_SEEDS:
            raise Refusal(f"--seeds {text}: {word!r} is not a range of 1 to {MOST_SEEDS} seeds, such as 0-4")
        found += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(found))


def _several(texts: Iterable[str], known: Mapping[str, Noun], find: Callable[[str], list[Noun]]) -> list[Noun]:
    names: dict[str, Noun] = {}
    for text in texts:
        wild = [known[n] for n in fnmatch.filter(known, text)] if any(c in text for c in "*[") else []
        for value in wild or find(text):
            names[value.name] = value  # type: ignore[attr-defined]
    return list(names.values())


def _all_here(known: Catalog, left_out: list[str]) -> list[Model]:
    named = {**known.models, **known.recorded_models(), **known.products()}.values()
    made = [one for one in named if one.weights]
    here = [one for one in made if not missing.weights(one, known)]
    told = {
        "models are not in the store: launch.py fetch MODEL brings one": [one.name for one in made if one not in here],
        "are random: name them to have them": [one.name for one in named if one.weights is None],
    }
    left_out += [f"{len(names)} {why} ({some(names)})" for why, names in told.items() if names]
    return here


def _datasets(
    asked: Grid, tasks: Sequence[Task], known: Catalog, left_out: list[str], bad: list[str], study: Grid
) -> list[Dataset]:
    if asked.datasets:
        kinds = {kind for task in tasks for kind in task.kinds}

        def find(text: str) -> list[Dataset]:
            try:
                return adhoc.datasets(text, known, kinds)
            except LayoutError as fault:  # the other data sets go on
                bad.append(str(fault))
                return []

        named = _several(asked.datasets, known.datasets, find)
        gone = {one.name: why for one in named if (why := missing.data(one, known))}
        if gone and (asked.datasets != study.datasets or len(gone) == len(named)):
            raise Refusal(next(iter(gone.values())))
        left_out += gone.values()
        return [one for one in named if one.name not in gone]
    own = {name: known.dataset(name) for task in tasks for name in task.datasets}
    absent = {name: missing.data(one, known) for name, one in own.items()}
    left_out += [why for why in absent.values() if why]
    here = [one for name, one in own.items() if not absent[name]]
    if not here:
        wanted = " ".join(own) if asked.tasks == study.tasks else next(iter(own))
        raise Refusal(f"no dataset is in the store; name one with --datasets, or: launch.py fetch {wanted}")
    for task in tasks if asked.tasks != study.tasks else []:
        if task.datasets and all(absent[name] for name in task.datasets):
            raise Refusal(f"{task.name}: none of its own datasets is there; {absent[task.datasets[0]]}")
    return here


def _refuse_odd_ones(tasks: Sequence[Task], datasets: Sequence[Dataset]) -> None:
    for task in tasks:
        if not any(grid.takes(task, dataset) for dataset in datasets):
            names = ", ".join(dataset.name for dataset in datasets)
            kinds = " and ".join(sorted({dataset.kind for dataset in datasets}))
            only = "boxes" if all("train" in dataset.counts for dataset in datasets) else "test images"
            told = f"{names} {f'has {only} only' if kinds in task.kinds else f'is {kinds}'}"
            wanted = f"{' or '.join(task.kinds)} datasets{' with masks' if task.settings.get('masks') else ''}"
            raise Refusal(f"{task.name} takes {wanted}, but {told}")
    for dataset in datasets:
        if not any(grid.takes(task, dataset) for task in tasks):
            raise Refusal(f"none of {', '.join(t.name for t in tasks)} takes {dataset.name}, {_described(dataset)}")


def _described(dataset: Dataset) -> str:
    alone = " of boxes only" if dataset.kind == "detection" and not dataset.masks else ""
    return f"a {dataset.kind} dataset{alone or ('' if 'train' in dataset.counts else ' of test images only')}"


def _refuse_mapless(tasks: Sequence[Task], models: Sequence[Model], must: Collection[str]) -> None:
    """Refuses a model that `must` be measured and that no task takes; and all models where no task takes any."""
    odd = [model for model in models if not any(grid.fits(task, model) for task in tasks)]
    if odd and (len(odd) == len(models) or any(model.name in must for model in odd)):
        raise Refusal(no_maps(tasks, next((model for model in odd if model.name in must), odd[0])))
