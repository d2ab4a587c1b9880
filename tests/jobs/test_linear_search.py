"""t-ReX's protocol on small sets: scikit-learn's answer at the chosen C; what is fitted and judged on which rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jobs import linear_search
from jobs.lib import logistic
from jobs.lib.interrupt import Interrupted
from jobs.lib.problem import Fit
from jobs.lib.rows import Rows
from jobs.lib.workspace import Workspace
from suite import adhoc
from suite.catalog import Catalog
from suite.cell import Cell


@pytest.fixture(autouse=True)
def slow_core(one_thread: None) -> Iterator[None]:
    yield


def cell_of(known: Catalog, data: str = "digits", **settings: Any) -> Cell:
    task = known.tasks["trex-linear-short"]
    task = replace(task, settings={**task.settings, **settings})
    return Cell(task, adhoc.dataset(data, known), known.model("pixels_8x8"), 0)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[Rows]:
    """The rows of every fit, in order."""
    found: list[Rows] = []
    path, fit = logistic.path, logistic.fit

    def spy_path(x: Rows, *rest: Any, **more: Any) -> list[Fit]:
        found.append(x)
        return path(x, *rest, **more)

    def spy_fit(x: Rows, *rest: Any, **more: Any) -> Fit:
        found.append(x)
        return fit(x, *rest, **more)

    monkeypatch.setattr(logistic, "path", spy_path)
    monkeypatch.setattr(logistic, "fit", spy_fit)
    return found


def test_the_answer_is_that_of_scikit_learn(known: Catalog, fitted: list[Rows]) -> None:
    cell, workspace = cell_of(known), Workspace(known.store)
    found = linear_search.run(cell, workspace)
    train, test = (workspace.features(cell, name) for name in ("train", "test"))
    peer = LogisticRegression(C=found.settings["C"], tol=1e-8, max_iter=10_000).fit(np.float64(train.x), train.y)
    top1 = found.metrics[0]
    assert (top1.name, top1.headline, top1.n) == ("top1", True, 355)
    assert abs(top1.value - peer.score(np.float64(test.x), test.y)) <= 1 / 355
    trials = found.details["trials"]
    assert len(trials) == 6
    assert all(1e-5 <= trial["C"] <= 1e6 for trial in trials)
    assert found.settings["C"] == max(trials, key=lambda trial: trial["top1"])["C"]
    (_, searched), (_, again), (_, last) = (rows.parts[0] for rows in fitted)
    assert np.array_equal(searched, again)
    assert len(searched) == found.details["images"]["train"] == 1157
    assert np.array_equal(last, np.arange(1442))  # refitted on all, and fitted no more than that


def test_every_trial_is_judged_as_scikit_learn_would(known: Catalog, fitted: list[Rows]) -> None:
    cell, workspace = cell_of(known, C=(1e-4, 1e1)), Workspace(known.store)
    found = linear_search.run(cell, workspace)
    train = workspace.features(cell, "train")
    kept = fitted[0].parts[0][1]
    held = np.setdiff1d(np.arange(1442), kept)
    for trial in found.details["trials"]:
        peer = LogisticRegression(C=trial["C"], tol=1e-6, max_iter=10_000).fit(train.x[kept], train.y[kept])
        assert abs(trial["top1"] - peer.score(train.x[held], train.y[held])) <= 2 / len(held)


def test_official_validation_images_are_pooled(known: Catalog, tmp_path: Path, fitted: list[Rows]) -> None:
    folder = Path(shutil.copytree(known.store.data / "digits", tmp_path / "mine"))
    for digit in range(10):
        (folder / f"val/{digit}").mkdir(parents=True)
        for path in sorted(folder.glob(f"train/{digit}/*"))[:40]:
            path.rename(folder / f"val/{digit}/{path.name}")
    found = linear_search.run(cell_of(known, str(folder)), Workspace(known.store))
    assert found.details["images"] == {"train": 1157, "val": 285, "test": 355}
    (train, kept), (val, kept_val) = fitted[0].parts
    assert (len(train), len(val)) == (1042, 400)
    assert 0 < len(kept_val) < 400
    assert len(kept) + len(kept_val) == 1157
    assert found.metrics[0].value > 0.93


def test_reproducible_and_normalised_as_asked(known: Catalog) -> None:
    workspace, cell = Workspace(known.store), cell_of(known, trials=4)
    one = linear_search.run(cell, workspace)
    workspace.checkpoint(cell).path.unlink()
    two = linear_search.run(cell, workspace)
    assert (one.metrics, one.settings, one.details["trials"]) == (two.metrics, two.settings, two.details["trials"])
    standard = linear_search.run(cell_of(known, trials=4, features="standard"), workspace)
    assert standard.details["trials"] != one.details["trials"]
    assert standard.metrics[0].value > 0.93


def test_what_is_interrupted_goes_on_from_its_trials(known: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, cell = Workspace(known.store), cell_of(known)
    path, asked = logistic.path, list[int]()

    def interrupted(x: Rows, y: np.ndarray, classes: int, Cs: list[float], **more: Any) -> list[Fit]:
        asked.append(len(Cs))
        if len(asked) == 2:
            raise Interrupted
        return path(x, y, classes, Cs, **more)

    monkeypatch.setattr(logistic, "path", interrupted)
    with pytest.raises(Interrupted):
        linear_search.run(cell, workspace)
    resumed = linear_search.run(cell, workspace)
    once = asked.copy()
    workspace.checkpoint(cell).path.unlink()
    unbroken = linear_search.run(cell, workspace)
    assert once == [4, 2, 2] and asked[3:] == [4, 2]  # the four were not solved again
    assert (resumed.metrics, resumed.settings, resumed.details) == (
        unbroken.metrics,
        unbroken.settings,
        unbroken.details,
    )
