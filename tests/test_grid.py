"""A grid from the command to the CSVs, through submitit, on real scans."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from pathlib import Path

import pytest
from conftest import Launch

from slurm import status
from suite import attempt
from suite.catalog import Catalog
from suite.store import read_json, write_json

GRID = ("grid", "--tasks", "linear,knn,fewshot", "--models", "pixels_8x8", "--datasets", "digits", "--seeds", "0,1")


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_from_the_command_to_the_tables(launch: Launch, known: Catalog) -> None:
    first = launch(*GRID, "--wait")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "submitted 5 cells" in first.stdout  # k-NN has no seed to vary
    assert "pixels_8x8" in first.stdout
    sent = list(known.store.logs.iterdir())

    second = launch(*GRID, "--wait")
    assert second.returncode == 0
    assert "5 cells: 5 done" in second.stdout
    assert "submitted" not in second.stdout
    assert list(known.store.logs.iterdir()) == sent

    told = launch("status")
    assert told.returncode == 0
    assert "│ all        │ 5    │" in told.stdout
    assert "image" in launch("logs", "linear-v1/digits/pixels_8x8/0").stdout

    assert launch("gather").returncode == 0
    rows = table(known.store.tables / "results.csv")
    assert list(rows[0]) == (
        [
            "task",
            "version",
            "dataset",
            "model",
            "seed",
            "metric",
            "headline",
            "value",
            "low",
            "high",
            "n",
            "seconds",
            "commit",
            "image",
            "device",
            "published",
            "difference",
            "published_source",
        ]
    )
    heads = [row for row in rows if row["headline"] == "True"]
    assert [row["seed"] for row in heads if row["task"] == "linear"] == ["0", "1", "all"]
    single = [float(row["value"]) for row in heads if row["task"] == "linear" and row["seed"] != "all"]
    pooled = next(row for row in heads if row["task"] == "linear" and row["seed"] == "all")
    assert float(pooled["value"]) == pytest.approx(sum(single) / 2)
    assert float(pooled["low"]) <= min(single) <= max(single) <= float(pooled["high"])
    assert pooled["n"] == "2"
    assert list(table(known.store.tables / "knn-v1.csv")[0]) == ["model", "digits [top1_k20]"]
    assert {row["task"] for row in table(known.store.tables / "summary.csv")} == {"linear-v1", "knn-v1", "fewshot-v1"}
    assert table(known.store.tables / "missing.csv") == []
    assert "<svg" in (known.store.tables / "report.html").read_text()


def test_past_results_give_the_estimate(launch: Launch, known: Catalog) -> None:
    assert launch(*GRID, "--wait").returncode == 0
    told = launch("grid", *GRID[1:-1], "0-4", "--dry-run").stdout
    assert "linear-v1: 2 past results" in told
    assert "11 cells: 5 done, 6 absent" in told


def test_a_stale_result_is_shown_and_run_again_only_when_asked(launch: Launch, known: Catalog) -> None:
    grid = ("grid", "--tasks", "knn", "--models", "pixels_8x8", "--datasets", "digits")
    assert launch(*grid, "--wait").returncode == 0
    path = known.store.results / "knn-v1/digits/pixels_8x8/0/result.json"
    old = read_json(path)
    write_json(path, old | {"facts": old["facts"] | {"model": "another"}, "seconds": 12345.0})
    told = launch(*grid)
    assert "1 cells: 1 stale" in told.stdout
    assert "submitted" not in told.stdout
    told = launch("status")
    assert "stale knn-v1/digits/pixels_8x8/0: the model changed" in told.stdout
    assert launch("gather").returncode == 0
    assert table(known.store.tables / "missing.csv")[0]["state"] == "stale"
    assert launch(*grid, "--stale", "--wait").returncode == 0
    again = read_json(path)
    assert again["facts"] == old["facts"]
    assert again["metrics"] == old["metrics"]
    assert again["seconds"] < 12345


def running(known: Catalog, key: str) -> int:
    """Waits until a cell is being run, and gives the process that does it."""
    path = known.store.results / key / "heartbeat.json"
    deadline = time.monotonic() + 120
    while True:
        try:
            return int(json.loads(path.read_text())["pid"])
        except (FileNotFoundError, ValueError):
            assert time.monotonic() < deadline, f"{key} never ran"
            time.sleep(0.005)


def ended(known: Catalog) -> dict[str, status.State]:
    """The states once nothing runs or is queued."""
    deadline = time.monotonic() + 120
    while True:
        now = status.states(known)
        if not {"running", "queued"} & {state.name for state in now.values()}:
            return now
        assert time.monotonic() < deadline, now
        time.sleep(0.1)


def test_sigkill_of_a_running_bundle_loses_nothing_and_doubles_nothing(launch: Launch, known: Catalog) -> None:
    slow, other = "finetune-short-v1/digits/random-32px_squeezenet1_1/0", "knn-v1/digits/pixels_8x8/0"
    tasks = (
        "--tasks",
        "finetune-short,knn",
        "--models",
        "random-32px_squeezenet1_1,pixels_8x8",
        "--datasets",
        "digits",
    )
    assert launch("grid", *tasks).returncode == 0
    assert "submitted" not in launch("grid", *tasks).stdout  # all of it is queued or running
    os.kill(running(known, slow), signal.SIGKILL)
    now = ended(known)
    assert (now[slow].name, now[other].name) == ("failed", "done")
    assert "killed: the process was killed by SIGKILL" in now[slow].reason
    assert launch("status").returncode == 1
    assert launch("gather").returncode == 1
    missing = table(known.store.tables / "missing.csv")
    assert [(row["key"], row["state"]) for row in missing] == [(slow, "failed")]
    finished = (known.store.results / other / "result.json").stat().st_mtime_ns

    again = launch("grid", *tasks, "--wait")
    assert "submitted 1 cells" in again.stdout
    assert again.returncode == 0, again.stdout
    assert (known.store.results / other / "result.json").stat().st_mtime_ns == finished
    assert attempt.error(known.store.results / slow) is None
    assert {state.name for state in status.states(known).values()} == {"done"}


def test_cancel_stops_what_runs_and_the_next_grid_goes_on(launch: Launch, known: Catalog) -> None:
    key = "finetune-v1/digits/pixels_8x8/0"
    assert launch("grid", "--tasks", "finetune", "--models", "pixels_8x8", "--datasets", "digits").returncode == 0
    pid = running(known, key)
    assert "cancelled 1 cells" in launch("cancel", "finetune").stdout
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    now = status.states(known)[key]
    assert (now.name, now.reason) == ("absent", "cancelled")
