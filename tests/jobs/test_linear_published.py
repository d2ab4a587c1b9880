"""The linear probe with a C that is given, ssl-transfer's hold-out, and calibration by a temperature."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression

from jobs import fewshot, linear
from jobs.lib import metrics
from jobs.lib.failure import BadData, BadTask
from jobs.lib.workspace import Workspace
from suite.catalog import Catalog
from suite.cell import Cell
from suite.result import Outcome

pytestmark = pytest.mark.usefixtures("one_thread")


def cell(known: Catalog, task: str, *, model: str = "pixels_8x8", data: str = "digits", **settings: Any) -> Cell:
    """The digits by their pixels, under other names where they stand for what is published."""
    one = known.tasks[task]
    pixels, digits = replace(known.model("pixels_8x8"), name=model), replace(known.dataset("digits"), name=data)
    return Cell(replace(one, settings={**one.settings, **settings}), digits, pixels, 0)


def run(known: Catalog, one: Cell, program: Any = linear) -> Outcome:
    found: Outcome = program.run(one, Workspace(known.store, device="cpu", cores=1))
    return found


def values(outcome: Outcome) -> dict[str, float]:
    return {metric.name: metric.value for metric in outcome.metrics}


def test_a_c_that_is_given_is_not_searched_for(known: Catalog) -> None:
    one = cell(known, "linear", C=0.05)
    found = run(known, one)
    assert found.settings == {"C": 0.05}
    assert list(found.details["validation"]) == ["0.05"]
    workspace = Workspace(known.store, device="cpu", cores=1)
    train, test = (workspace.features(one, split) for split in ("train", "test"))
    peer = LogisticRegression(C=0.05, max_iter=5000, tol=1e-8).fit(np.asarray(train.x, np.float64), train.y)
    right = peer.predict(np.asarray(test.x, np.float64)) == test.y
    assert values(found)["top1"] == pytest.approx(right.mean(), abs=1e-9)
    held = sum(int(0.2 * count) for count in np.bincount(train.y))
    assert found.details["images"] == {"train": 1442 - held, "val": held, "test": 355}


def test_the_published_c_is_that_of_the_model_and_the_data_set(known: Catalog) -> None:
    found = run(known, cell(known, "linear-published", model="byol_resnet50", data="cifar10"))
    assert found.settings == {"C": pytest.approx(10**0.25)}
    with pytest.raises(BadTask, match="no C was published for pixels_8x8"):
        run(known, cell(known, "linear-published", data="cifar10"))
    with pytest.raises(BadTask, match="no C was published for digits, but for aircraft"):
        run(known, cell(known, "linear-published", model="byol_resnet50"))


@pytest.mark.parametrize("images", [2416, 1442, 7, 50000])
def test_the_published_holdout_is_numpys_shuffle_of_a_list(images: int) -> None:
    np.random.seed(0)
    order = list(range(images))
    np.random.shuffle(order)
    first = math.floor(0.2 * images)
    kept, held = linear.published_holdout(images, 0.2)
    assert held.tolist() == sorted(order[:first])
    assert kept.tolist() == sorted(order[first:])


def test_linear_paper_holds_out_as_published_whatever_the_seed(known: Catalog) -> None:
    workspace = Workspace(known.store, device="cpu", cores=1)
    one = cell(known, "linear-paper", c_values=3)
    drawn = [linear.selection(replace(one, seed=seed), workspace) for seed in (0, 1)]
    ours = linear.selection(cell(known, "linear"), workspace)
    labels = workspace.features(one, "train").y
    kept, held = linear.published_holdout(len(labels), 0.2)
    for (_, y_train), (_, y_val) in drawn:
        assert (y_train.tolist(), y_val.tolist()) == (labels[kept].tolist(), labels[held].tolist())
    assert ours[1][1].tolist() != drawn[0][1][1].tolist()
    told = linear.run(one, workspace).details
    assert 0 < told["ece_temperature_folds"] < 0.2
    assert told["images"]["val"] == 288  # floor(0.2 * 1442), not by class


def test_a_temperature_is_that_of_the_validation_images_and_no_number_changes(known: Catalog) -> None:
    found = run(known, cell(known, "linear", c_values=5))
    told = values(found)
    assert list(told) == ["top1", "mean_per_class", "ece", "ece_temperature"]
    assert [metric.headline for metric in found.metrics] == [True, False, False, False]
    assert 0.01 <= found.details["temperature"] <= 100
    assert told["ece_temperature"] != told["ece"]
    assert "ece_temperature_folds" not in found.details


def drawn(scale: float, rows: int = 400, classes: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores that are `scale` times too sure of themselves: labels are drawn by the scores as they were."""
    random = np.random.default_rng(5)
    scores = random.normal(size=(rows, classes)) * 2
    chance = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    labels = [random.choice(classes, p=row) for row in chance]
    return torch.from_numpy(scores * scale).float(), torch.tensor(labels)


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0, 25.0])
def test_the_temperature_has_the_least_cross_entropy(scale: float) -> None:
    scores, labels = drawn(scale)

    def loss(log: float) -> float:
        return float(torch.nn.functional.cross_entropy(scores.double() / math.exp(log), labels))

    expected = minimize_scalar(loss, bounds=(math.log(1e-2), math.log(1e2)), method="bounded", options={"xatol": 1e-10})
    found = metrics.temperature(scores, labels)
    assert loss(math.log(found)) <= expected.fun + 1e-12
    assert found == pytest.approx(math.exp(expected.x), rel=1e-4)
    assert found == pytest.approx(scale, rel=0.15)


def test_the_temperature_stays_in_its_bounds_and_bears_classes_that_are_never_predicted() -> None:
    scores, labels = drawn(1.0)
    right = 10 * torch.nn.functional.one_hot(labels, 6).float()
    assert metrics.temperature(right, labels) == 0.01  # ever surer is ever better
    assert metrics.temperature(-right, labels) == 100
    wider = torch.cat([scores, torch.full((len(scores), 1), -math.inf)], 1)
    assert metrics.temperature(wider, labels) == pytest.approx(metrics.temperature(scores, labels))
    extra = torch.cat([labels[:-1], torch.tensor([6])])  # its class was never seen in training
    assert metrics.temperature(wider, extra) == pytest.approx(metrics.temperature(scores[:-1], labels[:-1]))
    assert metrics.temperature(wider[-1:], torch.tensor([6])) == 1.0


def test_the_temperature_does_not_depend_on_how_many_rows_are_worked_on_at_a_time() -> None:
    scores, labels = drawn(3.0)
    own = scores.gather(1, labels[:, None])[:, 0].double()
    whole = metrics._slope(scores, own, 0.7)
    assert metrics._slope(scores, own, 0.7, most=50) == pytest.approx(whole, rel=1e-12)
    moved = 1e-5
    near = [metrics._slope(scores, own, 0.7 + sign * moved)[0] for sign in (-1, 1)]
    assert (near[1] - near[0]) / (2 * moved) == pytest.approx(whole[1], rel=1e-6)


def test_a_temperature_calibrates() -> None:
    scores, labels = drawn(6.0, rows=4000)
    fitted = metrics.temperature(scores[:2000], labels[:2000])
    after = metrics.ece(scores[2000:] / fitted, labels[2000:])
    assert after < 0.05 < 0.2 < metrics.ece(scores[2000:], labels[2000:])
    assert metrics.folded_ece(scores, labels) < 0.05


def test_folds_are_as_published() -> None:
    scores, labels = drawn(6.0, rows=203)
    np.random.seed(0)
    order = np.random.permutation(203)
    folds, found = [order[40 * number : 40 * (number + 1)] for number in range(5)], []
    for number, fold in enumerate(folds):
        rest = np.concatenate([other for at, other in enumerate(folds) if at != number])
        best = metrics.temperature(scores[fold], labels[fold])
        found.append(metrics.ece(scores[rest] / best, labels[rest]))
    assert metrics.folded_ece(scores, labels) == pytest.approx(np.mean(found), abs=1e-12)


def test_fewshot_paper_squashes_and_never_shrinks(known: Catalog) -> None:
    task = known.tasks["fewshot-paper"]
    seen = replace(known.models["byol_resnet50"].input).seen(task.settings["view"])
    assert (seen.size, seen.resize, seen.squash, seen.interpolation) == (224, 257, True, "bilinear")
    assert task.datasets[:4] == ("cropdiseases", "eurosat", "isic2018", "chestx")
    found = run(known, cell(known, "fewshot-paper", episodes=20), fewshot)
    assert [metric.name for metric in found.metrics] == ["5-way 5-shot", "5-way 20-shot", "5-way 50-shot"]
    assert set(found.details["queries"].values()) == {15}
    with pytest.raises(BadData, match="fewshot-paper needs 5 classes with 183 images each"):
        run(known, cell(known, "fewshot-paper", shots=(168,)), fewshot)
    assert run(known, cell(known, "fewshot", shots=(168,), episodes=2), fewshot).details["queries"] == {168: 13}
