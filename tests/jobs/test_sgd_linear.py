"""CoG's protocol: what each head really saw; draws are functions of the seed; an interrupted cell goes on."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT

from jobs import sgd_linear
from jobs.lib import interrupt, seeds
from jobs.lib.failure import BadData, Diverged
from jobs.lib.features import Features
from jobs.lib.heads import Heads
from jobs.lib.interrupt import Interrupted
from jobs.lib.rows import Rows
from jobs.lib.workspace import Workspace
from suite import result
from suite.catalog import Catalog
from suite.cell import Cell
from suite.result import Outcome

TEST = 10_000  # the number of the first test row
Seen = dict[str, list[set[int]]]


@pytest.fixture(autouse=True)
def slow_core(one_thread: None) -> Iterator[None]:
    yield


def cell_of(known: Catalog, task: str = "cog-linear-short", **settings: Any) -> Cell:
    cell = known.cell(f"{task}-v1/digits/pixels_8x8/22")
    return replace(cell, task=replace(cell.task, settings={**cell.task.settings, "epochs": 2, **settings}))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The rows that are trained on, in order of the trainings, and those that were validated and tested with; the first
    feature of a row is its number."""
    found: Seen = {"train": [], "val": [], "test": []}
    step, accuracies, decision = Heads.step, Heads.accuracies, Heads.decision

    def numbers(x: torch.Tensor | np.ndarray) -> set[int]:
        return set(np.asarray(x[:, 0]).astype(int).tolist())

    def spy_step(self: Heads, x: torch.Tensor, y: torch.Tensor, factor: float) -> torch.Tensor:
        if not self.done:
            found["train"].append(set())
        found["train"][-1] |= numbers(x)
        return step(self, x, y, factor)

    def spy_accuracies(self: Heads, rows: Rows, labels: np.ndarray) -> list[float]:
        found["val"].append(numbers(rows[0 : len(rows)]))
        return accuracies(self, rows, labels)

    def spy_decision(self: Heads, head: int, rows: Rows) -> torch.Tensor:
        found["test"].append(numbers(rows[0 : len(rows)]))
        return decision(self, head, rows)

    def numbered(self: Workspace, cell: Cell, split: str) -> Features:
        labels = self.index(cell.dataset).splits[split].labels
        labels = np.asarray(labels)
        x = np.eye(10, dtype=np.float32)[labels]
        first = TEST if split == "test" else 0
        return Features(np.c_[first + np.arange(len(x)), x].astype(np.float32), labels, {})

    monkeypatch.setattr(Heads, "step", spy_step)
    monkeypatch.setattr(Heads, "accuracies", spy_accuracies)
    monkeypatch.setattr(Heads, "decision", spy_decision)
    monkeypatch.setattr(Workspace, "features", numbered)
    return found


def test_no_head_sees_what_it_is_judged_by(known: Catalog, seen: Seen) -> None:
    cell = cell_of(known, features="plain")
    cell = replace(cell, model=replace(cell.model, dimension=11))
    sgd_linear.run(cell, Workspace(known.store))
    assert [len(rows) for rows in seen["train"]] == [1157, 1157, 1442]  # two batches of trials, and the refit
    assert [len(rows) for rows in seen["val"]] == [285, 285]
    for trained, judged in zip(seen["train"], seen["val"], strict=False):
        assert not trained & judged
        assert trained | judged == set(range(1442))
    assert seen["train"][2] == set(range(1442))
    assert seen["test"] == [set(range(TEST, TEST + 355))]  # once


def shots_seen(known: Catalog, seen: Seen, **settings: Any) -> tuple[Seen, np.ndarray]:
    for rows in seen.values():
        rows.clear()
    cell = cell_of(known, "cog-fewshot-short", features="plain", **settings)
    workspace = Workspace(known.store)
    sgd_linear.run(replace(cell, model=replace(cell.model, dimension=11)), workspace)
    (known.store.results / cell.key / "checkpoint.pt").unlink()
    return {name: list(rows) for name, rows in seen.items()}, np.asarray(
        workspace.index(cell.dataset).splits["train"].labels
    )


def test_few_shots_are_drawn_per_class_and_anew_for_the_end(known: Catalog, seen: Seen) -> None:
    found, labels = shots_seen(known, seen, shots=(1, 8), headline_shots=8)
    _, held = seeds.holdout(labels, 0.2, 22)
    for shots, (first, second, last) in zip((1, 8), (found["train"][:3], found["train"][3:]), strict=True):
        for rows in (first, second, last):
            assert np.bincount(labels[sorted(rows)], minlength=10).tolist() == [shots] * 10
        assert first == second  # all trials of a search
        assert first != last
        assert not first & set(held.tolist())
    assert found["val"] == [set(held.tolist())] * 4
    assert found["test"] == [set(range(TEST, TEST + 355))] * 2


def test_draws_do_not_hang_on_the_number_of_trials(known: Catalog, seen: Seen) -> None:
    few, _ = shots_seen(known, seen, shots=(2, 4), headline_shots=4, trials=4)
    many, _ = shots_seen(known, seen, shots=(4,), headline_shots=4, trials=8)
    assert few["train"][-1] == many["train"][-1]
    assert few["train"][-2] == many["train"][0]
    assert few["val"][0] == many["val"][0]


def test_a_draw_hangs_on_its_class_alone() -> None:
    labels = np.repeat([0, 1, 2], 20)
    whole = sgd_linear.draw(labels, 5, 7, "refit")
    without = sgd_linear.draw(labels[labels != 1], 5, 7, "refit")
    assert whole[:5].tolist() == without[:5].tolist()
    assert (whole[10:] - 20).tolist() == without[5:].tolist()
    assert sgd_linear.draw(labels, 5, 8, "refit").tolist() != whole.tolist()
    assert len(set(whole[:5]) & set(sgd_linear.draw(labels, 5, 7, "search")[:5])) < 5
    assert sgd_linear.draw(labels, 0, 7, "refit").tolist() == list(range(60))


def test_shots_that_a_class_does_not_have_are_left_out(known: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    found = sgd_linear.run(
        cell_of(known, "cog-fewshot-short", shots=(2, 200), headline_shots=200), Workspace(known.store)
    )
    assert [metric.name for metric in found.metrics if metric.headline] == ["top1_n2"]
    assert found.details["left_out"] == [200]
    assert "[200] images a class are more than the 112 of the smallest" in capsys.readouterr().out
    with pytest.raises(BadData, match=r"\[150, 200\] images a class are more than the 112"):
        sgd_linear.run(cell_of(known, "cog-fewshot-short", shots=(150, 200)), Workspace(known.store))


def numbers(found: Outcome) -> list[Any]:
    return [found.metrics, found.settings, found.details["trials"]]


@pytest.mark.parametrize("task", ["cog-linear-short", "cog-fewshot-short"])
def test_interrupted_and_resumed_equals_unbroken(
    known: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    cell = cell_of(known, task, epochs=4)
    unbroken = sgd_linear.run(cell, Workspace(known.store))
    (known.store.results / cell.key / "checkpoint.pt").unlink()
    calls = itertools.count(1)
    monkeypatch.setattr(interrupt, "asked", lambda: next(calls) % 11 == 0)
    capsys.readouterr()
    for _ in range(50):
        try:
            resumed = sgd_linear.run(cell, Workspace(known.store))
            break
        except Interrupted as left:
            assert "checkpoint saved: " in str(left)
    assert numbers(resumed) == numbers(unbroken)
    told = capsys.readouterr().out
    assert told.count("goes on from step") >= 3
    assert told.count("top-1 ") == (1 if task == "cog-linear-short" else 4)  # no N is done again


def test_a_rate_that_diverges_loses_and_does_not_fail(known: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = cell_of(known, decay=(1e-6, 1e14))
    found = sgd_linear.run(cell, Workspace(known.store))
    values = [trial["top1"] for trial in found.details["trials"]]
    assert None in values
    assert found.settings["rate"] in [trial["rate"] for trial in found.details["trials"] if trial["top1"] is not None]
    with pytest.raises(Diverged, match="the refit diverges"):
        sgd_linear.run(cell_of(known, rate=(1e30, 1e38), decay=(1e9, 1e10), trials=2), Workspace(known.store))


def test_cells_end_to_end(known: Catalog) -> None:
    keys = [f"{task}-short-v1/digits/pixels_8x8/22" for task in ("cog-linear", "cog-fewshot")]
    command = [sys.executable, "-m", "jobs", *keys, "--store", str(known.store.root), "--cores", "1"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert ran.returncode == 0, ran.stderr
    whole, few = (result.read(known.store.results, key) for key in keys)
    assert whole and few, ran.stdout
    assert [m["name"] for m in whole["metrics"]] == ["top1", "mean_per_class", "top5"]
    assert whole["metrics"][0]["value"] > 0.9
    assert whole["metrics"][0]["headline"]
    assert len(whole["details"]["trials"]) == 6
    assert whole["settings"]["rate"] == max(whole["details"]["trials"], key=lambda trial: trial["top1"])["rate"]
    values = {m["name"]: m["value"] for m in few["metrics"]}
    assert [m["name"] for m in few["metrics"] if m["headline"]] == ["top1_n4"]
    assert 0.5 < values["top1_n1"] < values["top1_n4"]
    assert not (known.store.results / keys[0] / "checkpoint.pt").exists()


def test_the_published_variants_differ_in_what_the_docstring_says(known: Catalog) -> None:
    ours, paper = (known.tasks[name].settings for name in ("cog-linear", "cog-linear-paper"))
    differ = {name: paper[name] for name in ours if paper[name] != ours[name]}
    assert differ == {"cosine": "cog", "at_once": 1, "precision": "float32", "products": "float32"}
    assert known.tasks["cog-linear"].seeds == (22, 37, 45, 77, 93)
    assert known.tasks["cog-fewshot"].settings["shots"] == (1, 2, 4, 8, 16, 32, 64, 128)
