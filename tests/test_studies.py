"""Protocols of the five systems from the command to the tables, on real photos with real weights."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Launch

from suite.store import Store

MOBILENET = "{0}/weights/mobilenet_v2_imagenet_fp16.pth:mobilenet_v2"
RESNET20 = "{0}/weights/cifar10_resnet20-12fca82f.th:cifar_resnet20"
PROBES = "linear,knn,fewshot,cog-linear-short,cog-fewshot-short,trex-linear-short"


def rows(store: Path) -> Iterator[dict[str, str]]:
    with (store / "tables/results.csv").open(newline="") as file:
        yield from csv.DictReader(file)


@pytest.mark.parametrize(
    ("tasks", "model", "data", "least", "extracted"),
    [
        (PROBES, MOBILENET, "pets:{0}/oxford_pets_mini", 0.7, 1),  # one view, which all six share
        ("svm-short,linear", MOBILENET, "voc:{0}/voc2012_mini", 0.2, 2),
        ("semi-short,linear-moco-short", RESNET20, "cifar:{0}/cifar10_mini", 0.5, 0),
    ],
)
def test_a_study(
    launch: Launch, shared: Path, tmp_path: Path, tasks: str, model: str, data: str, least: float, extracted: int
) -> None:
    """Everything that was asked for is done, and features that know ImageNet or CIFAR-10 show it."""
    words = ("--tasks", tasks, "--models", model.format(shared), "--datasets", data.format(shared))
    ran = launch("grid", *words, "--wait")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert launch("gather").returncode == 0
    found = {row["task"]: row for row in rows(tmp_path / "store") if row["headline"] == "True"}
    assert found.keys() == set(tasks.split(","))
    for row in found.values():
        assert int(row["n"]) > 10 and float(row["low"]) <= float(row["value"]) <= float(row["high"])
        assert float(row["value"]) >= least, row
    assert len(list(Store(tmp_path / "store").features.rglob("test/manifest.json"))) == extracted
