"""Cluster: the command of a job, and how bundles become arrays; compared with what they should be."""

from __future__ import annotations

from pathlib import Path

from slurm.cluster import Cluster, arrays, command
from suite.bundle import Bundle, bundles
from suite.catalog import Catalog
from suite.cell import Cell
from suite.task import Resources


def test_the_command_is_words_only() -> None:
    made = command(Cluster("here", python="/opt/bin/python"), ["a/b/c/0"], Path("/a store/with 'quotes'"), "abc")
    assert made == ["/opt/bin/python", "-m", "jobs", "a/b/c/0", "--store", "/a store/with 'quotes'", "--commit", "abc"]


def cells(known: Catalog) -> list[Cell]:
    tasks = [known.tasks[name] for name in ("linear", "knn", "finetune")]
    models = [known.model(name) for name in ("pixels_8x8", "random_resnet18")]
    return [Cell(task, known.datasets["digits"], model, seed) for model in models for task in tasks for seed in (0, 1)]


def test_frozen_cells_of_one_model_and_dataset_are_one_bundle(known: Catalog) -> None:
    made = bundles(cells(known), lambda cell: 2.0)
    assert [len(bundle.cells) for bundle in made] == [4, 1, 1, 4, 1, 1]
    assert made[0].keys[0] == "linear-v1/digits/pixels_8x8/0"
    assert made[0].minutes == 8.0
    assert sum((bundle.cells for bundle in made), ()) == tuple(
        sorted(cells(known), key=lambda c: c.model.name != "pixels_8x8")
    )


def test_one_machine_gets_as_many_tasks_as_slots() -> None:
    made = [Bundle("core", Resources(), (), minutes) for minutes in (5, 1, 4, 2, 3)]
    (tasks,) = arrays(Cluster("local", slots=2), made)
    assert sorted(sum(bundle.minutes for bundle in task) for task in tasks) == [7, 8]
    assert sorted(bundle.minutes for task in tasks for bundle in task) == [1, 2, 3, 4, 5]
    assert arrays(Cluster("local"), []) == []
