"""Estimates: from which past results minutes and memory come, and what is known without any."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from suite import result
from suite.cell import Cell
from suite.dataset import Dataset
from suite.estimate import FEW, OTHERS, TRIES, Estimate
from suite.model import Model
from suite.store import write_json, write_text
from suite.task import Resources, Task

GUESS = 7.0


def cell(model: str = "a", dataset: str = "pets", seed: int = 9, task: str = "linear") -> Cell:
    return Cell(Task(name=task, resources=Resources(minutes=GUESS)), Dataset(name=dataset), Model(name=model), seed)


def note(results: Path, key: str, minutes: float, **more: Any) -> None:
    write_json(results / key / "result.json", {"seconds": 60 * minutes, **more})


def minutes(results: Path, *cells: Cell) -> list[float]:
    estimate = Estimate(results, cells)
    return [estimate.minutes(one) for one in cells]


def test_nothing_is_known(tmp_path: Path) -> None:
    note(tmp_path, "linear-v2/pets/a/0", 3.0, peak_gb=3.0)  # another version
    estimate = Estimate(tmp_path, [cell(), cell(task="knn")])
    assert (estimate.minutes(cell()), estimate.memory_gb(cell(), 32.0)) == (GUESS, 32.0)
    assert estimate.sources == {"linear-v1": 0, "knn-v1": 0}
    assert Estimate(tmp_path / "none", [cell()]).minutes(cell()) == GUESS
    assert Estimate(tmp_path, []).sources == {}


def test_the_same_dataset_then_the_same_model_then_the_same_task(tmp_path: Path) -> None:
    for seed, spent in enumerate((1.0, 2.0, 9.0)):
        note(tmp_path, f"linear-v1/pets/a/{seed}", spent)
    note(tmp_path, "linear-v1/dtd/a/0", 40.0)
    for seed in range(3):
        note(tmp_path, f"linear-v1/pets/b/{seed}", 100.0 + seed)
    found = minutes(tmp_path, cell("a"), cell("a", "dtd"), cell("a", "cars"), cell("b", "cars"), cell("c"))
    assert found == pytest.approx([2.0, 40.0, 5.5, 101.0, 40.0])


def test_other_models_are_asked_only_where_one_has_no_result(tmp_path: Path) -> None:
    note(tmp_path, "linear-v1/pets/a/0", 1.0)
    note(tmp_path, "linear-v1/pets/b/0", 3.0)
    assert Estimate(tmp_path, [cell("a")]).sources == {"linear-v1": 1}
    assert Estimate(tmp_path, [cell("a"), cell("new")]).sources == {"linear-v1": 2}
    assert minutes(tmp_path, cell("new"), cell("new", "dtd")) == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize(
    ("peak", "asked"), [(0.1, 2.0), (1.33, 2.0), (1.34, 4.0), (5.3, 8.0), (5.4, 16.0), (21.34, 64.0), (32, 64.0)]
)
def test_memory_is_a_power_of_two_above_the_peak(tmp_path: Path, peak: float, asked: float) -> None:
    note(tmp_path, "linear-v1/pets/a/0", 1.0, peak_gb=peak)
    assert Estimate(tmp_path, [cell()]).memory_gb(cell(), 32.0) == asked


def test_memory_is_the_largest_of_the_same_task_and_model(tmp_path: Path) -> None:
    note(tmp_path, "linear-v1/pets/a/0", 1.0)  # an old result: it does not say
    note(tmp_path, "linear-v1/pets/a/1", 1.0, peak_gb=None)
    assert Estimate(tmp_path, [cell()]).memory_gb(cell(), 1.0) == 1.0
    note(tmp_path, "linear-v1/pets/a/2", 1.0, peak_gb=2.0)
    note(tmp_path, "linear-v1/dtd/a/0", 1.0, peak_gb=5.0)
    note(tmp_path, "linear-v1/pets/b/0", 1.0, peak_gb=50.0)
    note(tmp_path, "knn-v1/pets/a/0", 1.0, peak_gb=50.0)
    estimate = Estimate(tmp_path, [cell("a"), cell("c")])
    assert [estimate.memory_gb(cell("a", data), 1.0) for data in ("pets", "dtd", "cars")] == [4.0, 8.0, 8.0]
    assert estimate.memory_gb(cell("a", "cars"), 32.0) == 32.0  # what suffices for a small dataset is not enough
    assert estimate.memory_gb(cell("c"), 1.0) == 1.0


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"seconds": null}', '{"seconds": "1"}', "{}", '{"seconds": NaN}'])
def test_what_cannot_be_read_is_skipped(tmp_path: Path, text: str) -> None:
    write_text(tmp_path / "linear-v1/pets/a/0/result.json", text)
    assert minutes(tmp_path, cell()) == [GUESS]
    note(tmp_path, "linear-v1/pets/a/1", 3.0)
    (tmp_path / "linear-v1/pets/a/2/result.json").mkdir(parents=True)
    write_text(tmp_path / "linear-v1/pets/a/notes.txt", "mine")
    write_text(tmp_path / "linear-v1/notes.txt", "mine")
    estimate = Estimate(tmp_path, [cell()])
    assert (estimate.minutes(cell()), estimate.sources) == (3.0, {"linear-v1": 1})


def test_failed_cells_do_not_hide_a_result(tmp_path: Path) -> None:
    failed = [cell(dataset=f"set{number}") for number in range(FEW + 1)]
    for one in failed:
        write_json(tmp_path / one.key / "error.json", {"kind": "code"})
    note(tmp_path, "linear-v1/other/a/0", 3.0)
    assert minutes(tmp_path, *failed) == [3.0] * len(failed)


def test_every_dataset_of_a_small_grid_is_read(tmp_path: Path) -> None:
    cells = [cell(dataset=f"set{number}") for number in range(3 * FEW)]
    for number, one in enumerate(cells):
        for seed in (0, 1):
            note(tmp_path, f"linear-v1/{one.dataset.name}/a/{seed}", number + 1)
    assert minutes(tmp_path, *cells) == [number + 1 for number in range(len(cells))]
    assert Estimate(tmp_path, cells[:1]).sources == {"linear-v1": FEW}


def test_reading_is_bounded_and_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, models, datasets = [f"task{i}" for i in range(4)], range(100), range(25)
    cells = [cell(f"model{m}", f"set{d}", task=task) for m in models for d in datasets for task in tasks]
    read: list[str] = []
    monkeypatch.setattr(result, "read", lambda results, key: read.append(key) or {"seconds": 60.0})
    names = {"": [task + "-v1" for task in tasks], "-v1": [f"set{d}" for d in datasets]}

    def listdir(folder: str) -> list[str]:
        depth = len(Path(folder).relative_to(tmp_path).parts)
        return [names["-v1"], [f"{who}{m}" for m in models for who in ("model", "other")], ["0", "1"]][depth - 1]

    monkeypatch.setattr("os.listdir", listdir)
    began = time.process_time()
    full = Estimate(tmp_path, cells)
    assert {full.minutes(one) for one in cells} == {1.0}
    assert time.process_time() - began < 1.0
    assert len(read) == len(set(read)) == FEW * 4 * len(models)
    read.clear()
    new = [cell(f"new{m}", f"set{d}", task=task) for m in models for d in datasets for task in tasks]
    assert Estimate(tmp_path, new).sources == {f"{task}-v1": OTHERS for task in tasks}
    assert len(read) <= TRIES * OTHERS * 4
