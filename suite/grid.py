"""Grid: the cells of a study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from suite import architecture, enough, published
from suite.cell import Cell
from suite.dataset import Dataset
from suite.entry import remark
from suite.model import Model
from suite.task import Task


@dataclass(frozen=True)
class Mean:
    """A mean that a study's paper reports: of `metric` over `datasets`, each as the study's task for it measured it."""

    name: str
    datasets: tuple[str, ...]
    metric: str = "top1"


@dataclass(frozen=True)
class Grid:
    """A study: names of entries (wildcards allowed, and families of models); empty `datasets` or `seeds` mean each
    task's own, where the study has none of its `own` for that task. `gather` adds its `means` to the summary."""

    name: str = remark()
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    means: tuple[Mean, ...] = remark(())
    title: str = remark()


def cells(
    tasks: Sequence[Task], datasets: Sequence[Dataset], models: Sequence[Model], seeds: Sequence[int]
) -> list[Cell]:
    """All cells whose task takes the dataset's kind and the model; those which share features are neighbours."""
    return [
        Cell(task, dataset, model, seed)
        for dataset in datasets
        for model in models
        for task in tasks
        if takes(task, dataset) and fits(task, model) and not unmeasurable(task, dataset, model)
        for seed in ((seeds or task.seeds) if task.seeded else task.seeds[:1])
    ]


def takes(task: Task, dataset: Dataset) -> bool:
    """Whether the dataset has what the task measures."""
    labelled = dataset.kind in task.kinds and (dataset.masks or not task.settings.get("masks"))
    return labelled and (task.untrained or "train" in dataset.counts)


def fits(task: Task, model: Model) -> bool:
    """Whether the model gives what the task works on: feature maps, where it works on them."""
    strides = architecture.strides(model.architecture) if task.maps else ()
    wanted = {
        "any": bool(strides),
        "pyramid": bool(strides) and all(stride & (stride - 1) == 0 for stride in strides),
        "layers": architecture.layered(model.architecture),
    }
    return not task.maps or wanted[task.maps]


def unmeasurable(task: Task, dataset: Dataset, model: Model) -> str:
    """Why there is no cell of a task that takes the data set's kind and the model; '' where there is one."""
    return enough.lack(task, dataset) or unpublished(task, dataset, model)


def unpublished(task: Task, dataset: Dataset, model: Model) -> str:
    """Why there is no cell where the task takes C as it was published; '' where there is one."""
    if task.settings.get("C") != "published":
        return ""
    known = published.best_c()
    if dataset.name in known.get(model.name, {}):
        return ""
    what = dataset.name if model.name in known else model.name
    told = f"{task.name}: no C was published for {what}, but for {', '.join(known.get(model.name, known))}"
    return (
        f"{told}; a folder of yours becomes one of these by: launch.py fetch NAME --from PATH"
        if dataset.digest
        else told
    )


def measuring(study: Grid, tasks: Mapping[str, Task]) -> dict[str, str]:
    """data set -> label of the first task of a study that is for it."""
    found: dict[str, str] = {}
    for task in (tasks[name] for name in study.tasks if name in tasks):
        for data in study.own.get(task.name, task.datasets):
            found.setdefault(data, task.label)
    return found


def means(studies: Iterable[Grid], tasks: Mapping[str, Task]) -> list[tuple[Mean, dict[str, str]]]:
    """Every mean of the studies, with the label of the task that measures each of its data sets."""
    found = []
    for study in studies:
        labels = measuring(study, tasks)
        found += [(mean, {data: labels[data] for data in mean.datasets if data in labels}) for mean in study.means]
    return found
