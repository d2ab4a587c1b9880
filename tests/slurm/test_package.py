"""Packages that only some tasks need: without them the rest runs, and it is said what is blocked, and why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, Launch

from slurm import package, status, work
from slurm.cluster import CHECKOUT, Cluster
from slurm.doctor import _wanting
from suite import attempt
from suite.catalog import Catalog
from suite.cell import Cell

ABSENT = "surely_absent_package"
WANTING, OTHER = "wanting-v1/digits/pixels_8x8/0", "knn-v1/digits/pixels_8x8/0"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that every Python finds from now on, which brings a task, and studies, into the checkout."""
    folder = tmp_path / "site"
    for noun in ("tasks", "grids"):
        (folder / noun).mkdir(parents=True)
    lines = [
        f"import suite.{noun}; suite.{noun}.__path__.append({str(folder / noun)!r})" for noun in ("tasks", "grids")
    ]
    (folder / "sitecustomize.py").write_text("\n".join(lines))
    (folder / "tasks/wanting.py").write_text(
        "from dataclasses import replace\nfrom suite.tasks.knn import KNN\n"
        f"MINE = replace(KNN, name='wanting', needs=({ABSENT!r},))\n"
    )
    (folder / "grids/wanting.py").write_text(
        "from suite.grid import Grid\n"
        "WITH = Grid('with', tasks=('knn', 'wanting'), models=('pixels_8x8',), datasets=('digits',))\n"
        "ONLY = Grid('only', tasks=('wanting',), models=('pixels_8x8',), datasets=('digits',))\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
    return folder


def install(site: Path) -> None:
    (site / ABSENT).mkdir()
    (site / ABSENT / "__init__.py").touch()


@pytest.fixture
def cell(known: Catalog) -> Cell:
    task = replace(known.tasks["knn"], needs=(ABSENT,))
    return Cell(task, known.datasets["digits"], known.model("pixels_8x8"), 0)


def test_a_study_runs_without_the_cells_that_want_a_package(launch: Launch, known: Catalog, site: Path) -> None:
    ran = launch("grid", "with", "--wait")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    why = f"{ABSENT} is not installed for {sys.executable}: make setup, or run in an image: --cluster apptainer"
    assert f"blocked: 1 cells: {why}" in ran.stdout
    assert "submitted 1 cells" in ran.stdout
    assert "│ pixels_8x8 │ 97.46  │ blocked    │" in ran.stdout
    assert f"blocked {WANTING}: {why}" in ran.stdout

    told = launch("status")
    assert (told.returncode, f"blocked {WANTING}: {why}" in told.stdout) == (0, True)
    for asked in (["with", "--tasks", "knn,wanting"], ["only"]):  # by name; a study of nothing else
        assert launch("grid", *asked).returncode == 1
    assert not attempt.history(known.store.results / WANTING)

    install(site)
    ran = launch("grid", "with", "--wait")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "submitted 1 cells" in ran.stdout and "blocked" not in ran.stdout
    assert (known.store.results / WANTING / "result.json").exists()


def test_on_a_cluster_the_python_of_its_jobs_counts(
    known: Catalog, cell: Cell, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (python := tmp_path / "python").symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    lab = Cluster("lab", scheduler="slurm", python=str(python))
    why = work.blocked(lab, known.store, [cell])
    assert why[cell.key]["message"] == (
        f"{ABSENT} is not installed for {python}: make setup and python={str(CHECKOUT / '.venv/bin/python')!r} in the "
        "cluster's entry, or run in an image: `runtime` in the cluster's entry"
    )
    work.block(known.store, why)
    assert status.states(known, [cell.key])[cell.key].name == "blocked"
    assert not attempt.ended(known.store, cell.key, since=0.0)
    install(site)
    package._there.cache_clear()
    assert status.states(known, [cell.key])[cell.key].name == "absent"
    assert not work.blocked(lab, known.store, [cell])

    def never(*_: object, **__: object) -> None:
        raise AssertionError("asked")

    package._there.cache_clear()
    monkeypatch.setattr(subprocess, "run", never)
    assert not work.blocked(replace(lab, python="python3"), known.store, [cell])  # the job's PATH says which
    assert not work.blocked(lab, known.store, [replace(cell, task=replace(cell.task, needs=()))])
    inside = replace(lab, runtime="apptainer")  # there the image is what counts
    assert "launch.py build core" in work.blocked(inside, known.store, [cell])[cell.key]["message"]


def test_a_python_that_cannot_be_asked_blocks_nothing(tmp_path: Path) -> None:
    assert package.missing(str(tmp_path / "gone"), [ABSENT]) == []


@pytest.mark.parametrize("python", [sys.executable, "/usr/bin/env"], ids=["this one", "another"])
def test_a_clone_beside_is_no_package(python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if python != sys.executable:
        (another := tmp_path / "python").symlink_to(sys.executable)
        python = str(another)
    (tmp_path / "clone" / "cloned_package").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "clone"))
    monkeypatch.syspath_prepend(tmp_path / "clone")
    assert package.missing(python, ["cloned_package", "json"]) == ["cloned_package"]


def test_doctor_tells_of_them_and_finds_nothing_bad(known: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = {"detection": replace(known.tasks["knn"], name="detection", needs=("detectron2", ABSENT))}
    monkeypatch.setattr(Catalog, "tasks", tasks)
    (one, other) = _wanting("n0: ", ["detectron2", ABSENT], known.store)
    assert one.well and other.well
    told = "n0: detectron2 is not installed: cells of detection are blocked; make setup DETECTRON2=/path/to/checkout"
    assert one.seen == told
    assert other.seen == f"n0: {ABSENT} is not installed: cells of detection are blocked; make setup"


def test_the_probe_looks_for_them(site: Path) -> None:
    words = [sys.executable, "-c", "import json; from slurm import probe; print(json.dumps(probe.wanting()))"]
    assert ABSENT in json.loads(subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
