"""SVMs against scikit-learn's, one fit at a time; what low-shot draws; the program on made-up features and photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from sklearn.svm import LinearSVC
from torch import Tensor

from jobs import svm as program
from jobs.lib import lowshot, svm
from jobs.lib.failure import BadData
from jobs.lib.features import Features
from jobs.lib.lowshot import Labels
from jobs.lib.rows import Rows
from jobs.lib.workspace import Workspace
from suite import adhoc, catalog
from suite.catalog import Catalog
from suite.cell import Cell

pytestmark = pytest.mark.usefixtures("one_thread")
COSTS = [2.0**-19, 2.0**-10, 2.0**-4, 1.0, 100.0]
TIGHT = 1e-7


def drawn(count: int, dimension: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features that are positive, as a network's are, and 0/1 labels that they say something about."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(count, 8))
    x = np.maximum(hidden @ random.normal(size=(8, dimension)) + random.normal(size=(count, dimension)), 0)
    y = hidden @ random.normal(size=(8, classes)) + random.normal(size=(count, classes)) > 2
    return x.astype(np.float32), y.astype(np.int64)


def liblinear(x: np.ndarray, y: np.ndarray, cost: float) -> LinearSVC:
    """The published classifier, run to its end."""
    made = LinearSVC(C=cost, class_weight={1: 2, 0: 1}, tol=1e-10, max_iter=1_000_000, dual=len(x) < x.shape[1])
    return made.fit(x.astype(np.float64), y)


def columns(y: np.ndarray) -> tuple[Tensor, Tensor]:
    return svm.problem(torch.from_numpy(y), 2.0)


@pytest.mark.parametrize(("count", "dimension"), [(60, 200), (150, 40)], ids=["wide", "tall"])
def test_every_class_and_cost_equals_liblinear(count: int, dimension: int) -> None:
    x, y = drawn(count + 50, dimension, 3)
    rows, others = svm.UnitRows((x[:count], None)), svm.UnitRows((x[count:], None))
    signs, weights = columns(y[:count])
    for cost, fit in svm.path(svm.product(rows), signs, weights, COSTS, TIGHT):
        given = svm.scores(rows, fit.beta, others).numpy()
        for k in range(3):
            made = liblinear(rows[:], y[:count, k], cost)
            expected = made.decision_function(others[:].astype(np.float64))
            assert given[:, k] == pytest.approx(expected, rel=1e-4, abs=1e-5 * np.abs(expected).max())
            assert float(fit.beta[:, k].sum()) == pytest.approx(made.intercept_[0], rel=1e-4)
            of_ours, of_theirs = (
                sklearn.metrics.average_precision_score(y[count:, k], s) for s in (given[:, k], expected)
            )
            assert of_ours == of_theirs
        assert torch.allclose(svm.scores(rows, fit.beta, rows), fit.scores, atol=1e-6)


def test_rows_without_weight_are_not_in_the_problem() -> None:
    x, y = drawn(90, 120, 1)
    rows = svm.UnitRows((x, None))
    signs, weights = columns(np.repeat(y, 3, 1))
    folds = np.arange(90) % 3
    masks = torch.from_numpy(np.stack([folds != fold for fold in range(3)], 1))
    fit = svm.fit(svm.product(rows), signs, weights * masks, torch.full((3,), 1.0).double(), tolerance=TIGHT)
    for fold in range(3):
        made = liblinear(rows[:][folds != fold], y[folds != fold, 0], 1.0)
        assert fit.scores[:, fold].numpy() == pytest.approx(made.decision_function(rows[:]), rel=1e-4, abs=1e-5)
        assert not fit.beta[folds == fold, fold].any()


def test_columns_of_other_costs_and_starts_end_at_the_same_optimum() -> None:
    x, y = drawn(80, 100, 1)
    times = svm.product(svm.UnitRows((x, None)))
    signs, weights = columns(np.repeat(y, len(COSTS), 1))
    together = svm.fit(times, signs, weights, torch.tensor(COSTS).double(), tolerance=TIGHT)
    for k, (_, fit) in enumerate(svm.path(times, *columns(y), COSTS, TIGHT)):
        assert torch.allclose(together.scores[:, k], fit.scores[:, 0], rtol=1e-5, atol=1e-7)


def test_the_tolerance_bounds_the_distance_to_the_optimum() -> None:
    x, y = drawn(80, 100, 2)
    times = svm.product(svm.UnitRows((x, None)))
    how = (*columns(y), torch.tensor([0.1, 10.0]).double())
    best = svm.fit(times, *how, tolerance=1e-10)
    for tolerance in (0.3, 1e-2, 1e-4):
        off = svm.fit(times, *how, tolerance=tolerance)
        apart, length = off.beta - best.beta, (off.beta * off.scores).sum(0)
        assert ((apart * times(apart)).sum(0) <= tolerance**2 * length * (1 + 1e-6)).all()


def test_inner_products_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svm, "BLOCK", 7)
    x, _ = drawn(45, 12, 1)
    rows, others = svm.UnitRows((x[:20], None), (x, np.arange(20, 30))), svm.UnitRows((x[30:], None))
    unit = x.astype(np.float64) / (np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) + 1e-5)
    expected = unit @ unit.T + 1
    assert svm.gram(rows).numpy() == pytest.approx(expected[:30, :30], abs=1e-6)
    assert svm.cross(others, rows).numpy() == pytest.approx(expected[30:, :30], abs=1e-6)
    v = torch.ones(30, 2).double()
    assert svm.product(rows)(v).numpy() == pytest.approx(expected[:30, :30] @ v.numpy(), abs=1e-5)  # from the rows
    assert svm.product(Rows((x[:3], None)))(v[:3]).shape == (3, 2)


# ---- low-shot


def many(count: int = 400, classes: int = 3) -> Labels:
    _, y = drawn(count, 4, classes)
    difficult = np.random.default_rng(3).random(y.shape) < 0.1
    return Labels(torch.from_numpy(y * ~difficult), torch.from_numpy(difficult))


@pytest.mark.parametrize("shots", [1, 2, 8, 16])
def test_what_is_drawn(shots: int) -> None:
    labels = many()
    for label in range(3):
        rows = lowshot.draw(labels, label, shots, 19, 0, 0)
        there, others = labels.there[:, label] > 0, int(((labels.there + labels.difficult)[:, label] == 0).sum())
        assert len(set(rows.tolist())) == len(rows)
        assert int(there[rows].sum()) == shots
        assert int((~there[rows]).sum()) == min(19 * shots, others)
        assert not labels.difficult[rows, label].any()


def test_a_class_with_few_images_gives_all_of_them() -> None:
    labels = many(60)
    rows = lowshot.draw(labels, 0, 50, 19, 0, 0)
    assert sorted(rows.tolist()) == (~labels.difficult[:, 0]).nonzero()[:, 0].tolist()


def test_draws_differ_by_sample_class_shots_and_seed_and_by_nothing_else() -> None:
    labels = many(classes=2)
    labels.there[:, 1], labels.difficult[:, 1] = labels.there[:, 0], labels.difficult[:, 0]
    asked = [(0, 4, 0, 0), (1, 4, 0, 0), (0, 5, 0, 0), (0, 4, 1, 0), (0, 4, 0, 1)]
    found = [tuple(lowshot.draw(labels, c, k, 3, seed, sample).tolist()) for c, k, seed, sample in asked]
    assert len(set(found)) == len(asked)
    assert found[0] == tuple(lowshot.draw(labels, 0, 4, 3, 0, 0).tolist())


def test_the_svms_of_a_class_and_their_judgement() -> None:
    x, y = drawn(160, 60, 2)
    labels = Labels(torch.from_numpy(y), torch.zeros(160, 2, dtype=torch.bool))
    rows = svm.UnitRows((x, None))
    gram, costs = svm.gram(rows), torch.tensor([0.1, 10.0]).double()
    given = [lowshot.draw(labels, c, 4, 5, 0, 0) for c in range(2)]
    few = [lowshot.fit(gram, labels.there[:, c], given[c], costs, 2.0, TIGHT) for c in range(2)]
    expected = np.zeros(2)
    for c, at in enumerate(given):
        left = np.setdiff1d(np.arange(160), at)
        for n, cost in enumerate(costs.tolist()):
            made = liblinear(rows[at], y[at, c], cost)
            expected[n] += naive_ap(made.decision_function(rows[left]), y[left, c]) / 2
    assert lowshot.mean_ap(gram, few, labels, [0, 1], undrawn=True).numpy() == pytest.approx(expected)
    assert lowshot.mean_ap(gram, few, labels, [1], undrawn=True).numpy() == pytest.approx(expected[1:])
    with pytest.raises(BadData, match="no class has a positive left"):
        lowshot.mean_ap(gram, few, Labels(labels.there * 0, labels.difficult), [0], undrawn=True)


def naive_ap(scores: np.ndarray, labels: np.ndarray) -> float:
    ranked = labels[np.argsort(-scores, kind="stable")]
    precision = [ranked[: n + 1].mean() for n in range(len(ranked))]
    return float(np.mean([max(precision[n:]) for n in np.flatnonzero(ranked)]))


# ---- the program

USE = {"feat1": slice(0, 20), "feat2": slice(20, 40)}


def made_up(known: Catalog, task: str, mixed: bool = False) -> tuple[Any, ...]:
    """A cell, a workspace, training and test images of 3 classes, whose layer feat2 is good and feat1 noise, and these.
    The labels of the test images are `mixed` up."""
    x, y = drawn(360, 40, 3)
    x[:, :20] = np.random.default_rng(5).random((360, 20))
    test = np.random.default_rng(6).permutation(y[240:]) if mixed else y[240:]
    sides = []
    for part, labels in ((x[:240], y[:240]), (x[240:], test)):
        difficult = torch.zeros(len(labels), 3, dtype=torch.bool)
        difficult[labels.sum(1) == 0, 0] = torch.arange(int((labels.sum(1) == 0).sum())) < 5
        sides.append(program.Side([Features(part, labels, {})], Labels(torch.from_numpy(labels), difficult)))
    dataset = replace(known.datasets["voc2007"], classes=3)
    cell = Cell(known.tasks[task], dataset, catalog.random_init("resnet18"), 0)
    return cell, SimpleNamespace(device=torch.device("cpu")), *sides, USE


def test_costs_and_layer_are_those_of_cross_validation_with_liblinear(known: Catalog) -> None:
    cell, workspace, train, test, _ = made_up(known, "svm-short")
    outcome = program.full(cell, workspace, train, test, USE)
    folds = program._folds(train.labels.there, 3, 0).numpy()
    y, costs = train.labels.there.numpy(), sorted(cell.task.settings["costs"])
    rows = train.rows(USE["feat2"])[:]
    points = np.zeros((len(costs), 3))
    for n, cost in enumerate(costs):
        for k in range(3):
            for fold in range(3):
                kept = folds[:, k] != fold
                made = liblinear(rows[kept], y[kept, k], cost)
                held = made.decision_function(rows[~kept])
                points[n, k] += sklearn.metrics.average_precision_score(y[~kept, k], held) / 3
    assert outcome.settings["layer"] == "feat2"
    assert outcome.settings["costs"] == [costs[n] for n in points.argmax(0)]
    assert outcome.details["validation"]["feat2"] == pytest.approx(points.max(0).mean(), abs=1e-3)

    others, aps = test.rows(USE["feat2"])[:], []
    for k, cost in enumerate(outcome.settings["costs"]):
        counts = ~test.labels.difficult[:, k].numpy()
        scores = liblinear(rows, y[:, k], cost).decision_function(others)
        aps.append(naive_ap(scores[counts], test.labels.there[:, k].numpy()[counts]))
    found = {metric.name: metric for metric in outcome.metrics}
    assert found["map"].value == found["map_feat2"].value == pytest.approx(np.mean(aps), abs=1e-3)
    assert found["map"].headline
    assert found["map"].low < found["map"].value < found["map"].high
    assert found["map_feat1"].value < found["map"].value


def test_folds_hold_as_many_positives_each() -> None:
    labels = many(100).there
    folds = program._folds(labels, 3, 0)
    for k in range(3):
        sizes = np.bincount(folds[:, k], minlength=3)
        positives = np.bincount(folds[labels[:, k] > 0, k], minlength=3)
        assert max(sizes) - min(sizes) <= 1
        assert max(positives) - min(positives) <= 1
    assert not torch.equal(folds, program._folds(labels, 3, 1))


@pytest.mark.parametrize("task", ["svm-short", "svm-lowshot-short"])
def test_nothing_is_chosen_on_test_images(known: Catalog, task: str) -> None:
    ways = program.low_shot if "lowshot" in task else program.full
    outcomes = [ways(*arranged) for arranged in (made_up(known, task, mixed) for mixed in (False, True))]
    assert outcomes[0].settings == outcomes[1].settings
    assert outcomes[0].metrics[0].value > outcomes[1].metrics[0].value + 0.1


def test_the_published_choice_is_the_best_on_test(known: Catalog) -> None:
    honest = made_up(known, "svm-lowshot-short")
    settings = {**honest[0].task.settings, "chosen_on": "test"}
    task = replace(honest[0].task, settings=settings)
    published = program.low_shot(Cell(task, honest[0].dataset, honest[0].model, 0), *honest[1:])
    for ours, theirs in zip(program.low_shot(*honest).metrics, published.metrics, strict=True):
        assert theirs.value >= ours.value
        assert (ours.n, ours.name) == (len(honest[3].labels.there), theirs.name)  # test images, whose samples are 3
        assert ours.low <= ours.value <= ours.high
    of_layer = published.details["layers"][published.settings["layer"]]
    assert [metric.value for metric in published.metrics] == [of_layer[k]["mean"] for k in (1, 2)]


def test_real_photos(known: Catalog, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, model = adhoc.dataset(str(shared / "voc2012_mini"), known), catalog.random_init("resnet18")
    workspace = Workspace(known.store, device="cpu")
    lists = (shared / "voc2012_mini").glob("VOCdevkit/VOC2012/ImageSets/Main/*_val.txt")
    hard = sum(line.split()[1] == "0" for one in lists for line in one.read_text().splitlines())
    for task in ("svm-short", "svm-lowshot-short"):
        outcome = program.run(Cell(known.tasks[task], dataset, model, 0), workspace)
        assert outcome.details["images"] == {"train": 20, "test": 20, "ignored": hard}
        assert outcome.details["extraction"]["dimension"] == 64 * 144 + 64 * 36 + 128 * 16 + 256 * 9 + 512 * 4
        (head,) = [metric for metric in outcome.metrics if metric.headline]
        assert head.name == known.tasks[task].metric
        assert 0 < head.value < 1
    assert capsys.readouterr().out.count("images/s") == 2  # extracted once for both
