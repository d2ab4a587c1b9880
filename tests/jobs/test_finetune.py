"""Fine-tuning: a run that is killed and resumed equals an unbroken one; what diverges is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT

from jobs import finetune
from jobs.lib import augment, examples, seeds
from jobs.lib.failure import Diverged
from jobs.lib.workspace import Workspace
from suite.catalog import Catalog
from suite.cell import Cell
from suite.model import Input

SETTINGS = {
    "steps": 12,
    "batch": 16,
    "learning_rates": (0.1, 0.01),
    "weight_decays": (1e-4,),
}

RUN = """
import json, sys
from pathlib import Path
import torch
from dataclasses import replace
from jobs import finetune
from jobs.lib.workspace import Workspace
from suite.catalog import Catalog
from suite.store import Store
torch.set_num_threads(1)
store, settings = Store(Path(sys.argv[1])), json.loads(sys.argv[2])
cell = Catalog(store).cell("finetune-short-v1/digits/random-32px_squeezenet1_1/0")
cell = replace(cell, task=replace(cell.task, settings={**cell.task.settings, **settings}, checkpoint_seconds=0.0))
found = finetune.run(cell, Workspace(store))
(store.results / cell.key / "checkpoint.pt").unlink()  # as when the result is there
print("FOUND", json.dumps([[metric.value for metric in found.metrics], found.details["validation"]]), flush=True)
"""


def process(store: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", RUN, str(store), json.dumps(SETTINGS)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def outcome(told: str) -> Any:
    return json.loads(told.split("FOUND ")[1])


def test_killed_and_resumed_equals_unbroken(known: Catalog, tmp_path: Path) -> None:
    unbroken = outcome(process(known.store.root).communicate(timeout=300)[0])
    resumed, kills = [], 0
    while True:
        one = process(known.store.root)
        assert one.stdout is not None
        lines = []
        for line in one.stdout:
            lines.append(line)
            if "step" in line and sum("step" in seen for seen in lines) == 9 and kills < 3:
                os.kill(one.pid, signal.SIGKILL)
                kills += 1
                break
        else:
            break
        one.communicate()
        resumed += [line for line in lines if "goes on from step" in line]
    resumed += [line for line in lines if "goes on from step" in line]
    assert kills == 3
    assert len(resumed) >= 2
    assert outcome("".join(lines)) == unbroken


def cell_of(known: Catalog, **settings: Any) -> Cell:
    cell = known.cell("finetune-short-v1/digits/pixels_8x8/0")
    return replace(cell, task=replace(cell.task, settings={**cell.task.settings, **SETTINGS, **settings}))


def test_a_rate_that_diverges_loses_and_does_not_fail(known: Catalog) -> None:
    cell = cell_of(known, learning_rates=(1e38, 0.1), steps=20)
    found = finetune.run(cell, Workspace(known.store))
    assert found.settings["learning_rate"] == 0.1
    assert "the loss is nan at step" in next(iter(found.details["diverged"].values()))


@pytest.mark.parametrize("rates", [(1e38,), (1e38, 1e37)])
def test_when_every_rate_diverges_it_is_said(known: Catalog, rates: tuple[float, ...]) -> None:
    cell = cell_of(known, learning_rates=rates, steps=20)
    with pytest.raises(Diverged, match=r"the loss is (nan|inf) at step"):
        finetune.run(cell, Workspace(known.store))


def test_splits_do_not_meet(known: Catalog) -> None:
    cell = cell_of(known)
    train, val, test = examples.split(cell, Workspace(known.store))
    names = [{(id(images.items), row) for images, row in rows.images} for rows in (train, val, test)]
    assert [len(rows) for rows in names] == [1157, 285, 355]
    assert not names[0] & names[1]
    assert train.images[0][0].items is not test.images[0][0].items


def test_learning_beats_chance_by_far(known: Catalog) -> None:
    cell = cell_of(known, steps=40, batch=64)
    found = finetune.run(cell, Workspace(known.store))
    assert next(metric for metric in found.metrics if metric.headline).value > 0.8


def test_the_crop_is_drawn_as_published() -> None:
    draw = seeds.generator(0, "test")
    boxes = np.array([augment.box(300, 400, draw, (0.08, 1.0)) for _ in range(4000)])
    top, left, height, width = boxes.T
    assert ((top >= 0) & (left >= 0) & (top + height <= 300) & (left + width <= 400)).all()
    area, ratio = height * width / 120000, width / height
    assert area.min() < 0.1
    assert area.max() > 0.9
    assert 0.7 < ratio.min() < 0.78
    assert 1.28 < ratio.max() < 1.4
    assert abs(np.log(ratio[area < 0.5]).mean()) < 0.02  # log-uniform, where all ratios fit
    assert len(set(left)) > 200


def test_a_view_depends_on_its_generator_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    made_by = Input(size=32, resize=32)
    views = [augment.random_crop(image, made_by, seeds.generator(0, "crop", n), (0.08, 1.0), True) for n in (1, 1, 2)]
    assert views[0].shape == (3, 32, 32)
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])
