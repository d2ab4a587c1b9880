"""Protocols of the five systems from the command to the tables, on real photos with real weights."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Launch
from studies import STUDIES, Study

from suite.store import Store


def rows(store: Path) -> Iterator[dict[str, str]]:
    with (store / "tables/results.csv").open(newline="") as file:
        yield from csv.DictReader(file)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.tasks)
def test_a_study(study: Study, launch: Launch, shared: Path, tmp_path: Path) -> None:
    """Everything that was asked for is done, and features that know ImageNet or CIFAR-10 show it."""
    ran = launch("grid", *study.words(shared), "--wait")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert launch("gather").returncode == 0
    found = {row["task"]: row for row in rows(tmp_path / "store") if row["headline"] == "True"}
    assert found.keys() == set(study.tasks.split(","))
    for row in found.values():
        assert int(row["n"]) > 10 and float(row["low"]) <= float(row["value"]) <= float(row["high"])
        assert float(row["value"]) >= study.least, row
    assert len(list(Store(tmp_path / "store").features.rglob("test/manifest.json"))) == study.extracted
