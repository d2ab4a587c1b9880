"""Confusion against scikit-learn, mmsegmentation's IoUMetric, and plain loops over dense matrices."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import torch

from jobs.lib import confusion, metrics, seeds
from jobs.lib.confusion import Confusion, Counted, count, evaluate
from jobs.lib.labelled import VOID
from suite.result import Metric

CLASSES = 7  # nothing is of class 5, none is taken for 3, and 6 is neither
NAMES = [f"c{number}" for number in range(CLASSES)]
Pair = tuple[np.ndarray, np.ndarray]


def drawn(images: int = 12, seed: int = 0) -> list[Pair]:
    """Truth with void and what was found: right in two thirds of the pixels."""
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(images):
        shape = random.integers(5, 20, 2)
        truth = random.choice([0, 1, 2, 3, 4, VOID], shape, p=random.dirichlet(np.ones(6))).astype(np.uint8)
        other = random.choice([0, 1, 2, 4, 5], shape)
        right = (random.random(shape) < 2 / 3) & np.isin(truth, [0, 1, 2, 4])
        pairs.append((truth, np.where(right, truth, other)))
    return pairs


def counted(pairs: list[Pair]) -> Confusion:
    return Confusion([count(truth, found, CLASSES) for truth, found in pairs], CLASSES)


def flat(pairs: list[Pair]) -> Pair:
    """All pixels that count."""
    truth, found = (np.concatenate([pair[part].ravel() for pair in pairs]) for part in (0, 1))
    return truth[truth != VOID], found[truth != VOID]


def named(confused: Confusion, seed: int = 0) -> dict[str, Metric]:
    return {metric.name: metric for metric in evaluate(confused, NAMES[: confused.classes], seed)[0]}


def by_hand(matrix: np.ndarray) -> dict[str, float]:
    """The metrics of one dense matrix, class by class."""
    ious, parts = [], []
    for k in range(len(matrix)):
        truth, found = matrix[k].sum(), matrix[:, k].sum()
        if truth + found:
            ious.append(matrix[k, k] / (truth + found - matrix[k, k]))
        if truth:
            parts.append(matrix[k, k] / truth)
    total = matrix.sum()
    right = np.trace(matrix) / total if total else np.nan
    return {
        "miou": float(np.mean(ious or [np.nan])),
        "pixel_accuracy": float(right),
        "mean_accuracy": float(np.mean(parts or [np.nan])),
    }


@pytest.mark.parametrize("seed", range(4))
def test_it_is_scikit_learns(seed: int) -> None:
    pairs = drawn(seed=seed)
    truth, found = flat(pairs)
    confused = counted(pairs)
    expected = sklearn.metrics.confusion_matrix(truth, found, labels=range(CLASSES))
    np.testing.assert_array_equal(confused.whole, expected)
    measured, details = evaluate(confused, NAMES, seed)
    values = {metric.name: metric.value for metric in measured}
    there = np.union1d(truth, found)
    assert values == pytest.approx(
        {
            "miou": sklearn.metrics.jaccard_score(truth, found, labels=there, average="macro"),
            "pixel_accuracy": sklearn.metrics.accuracy_score(truth, found),
            "mean_accuracy": sklearn.metrics.recall_score(truth, found, labels=np.unique(truth), average="macro"),
        },
        abs=1e-9,
    )
    each = sklearn.metrics.jaccard_score(truth, found, labels=there, average=None)
    assert details["per_class_iou"] == pytest.approx({f"c{k}": v for k, v in zip(there, each, strict=True)}, abs=1e-9)
    assert details["per_class_iou"]["c3"] == details["per_class_iou"]["c5"] == 0
    assert details["classes_without_pixels"] == ["c5", "c6"]
    assert [(m.name, m.n) for m in measured if m.headline] == [("miou", 12)]
    assert all(metric.low <= metric.value <= metric.high for metric in measured)


def test_it_is_mmsegmentations() -> None:
    pytest.importorskip("mmseg", reason="mmsegmentation is not installed: make setup")
    from jobs.lib import openmmlab

    openmmlab.prepare()
    from mmseg.evaluation import IoUMetric

    for seed in range(4):
        pairs = drawn(seed=seed)
        results = [
            IoUMetric.intersect_and_union(torch.from_numpy(found), torch.from_numpy(truth).long(), CLASSES, VOID)
            for truth, found in pairs
        ]
        theirs = IoUMetric.total_area_to_metrics(*(sum(areas) for areas in zip(*results, strict=True)))
        ours = {name: metric.value for name, metric in named(counted(pairs)).items()}
        expected = {"miou": np.nanmean(theirs["IoU"]), "mean_accuracy": np.nanmean(theirs["Acc"])}
        assert ours == pytest.approx(expected | {"pixel_accuracy": float(theirs["aAcc"])}, abs=1e-6)  # they are float32


@pytest.mark.parametrize("name", ["miou", "pixel_accuracy", "mean_accuracy"])
def test_intervals_are_those_of_images_drawn_again(name: str) -> None:
    pairs = drawn(6)
    pairs[2] = (np.full((4, 4), VOID, np.uint8), pairs[2][1][:4, :4])  # which does not count
    dense = np.stack([counted([pair]).whole for pair in pairs])
    draw = np.random.default_rng(seeds.number(3, "bootstrap", name))
    values = [by_hand(dense[rows].sum(0))[name] for _ in range(10) for rows in draw.integers(6, size=(100, 6))]
    metric = named(counted(pairs), seed=3)[name]
    low, high = np.nanquantile(values, [0.025, 0.975])
    assert (metric.value, metric.low, metric.high) == pytest.approx((by_hand(dense.sum(0))[name], low, high), abs=1e-12)
    assert metric.low < metric.high


def test_counts_by_hand() -> None:
    truth = np.array([[0, 0, 1], [1, 2, VOID]], np.uint8)
    found = np.array([[0, 1, 1], [1, 0, 2]])
    one = count(truth, found, 3)
    assert [list(map(int, part)) for part in one] == [[0, 0, 1, 2], [0, 1, 1, 0], [1, 1, 2, 1]]
    confused = Confusion([one, one], 3)
    assert confused.whole.tolist() == [[2, 2, 0], [0, 4, 0], [2, 0, 0]]
    assert [area.tolist() for area in confused.areas()] == [[[2, 2, 1]] * 2, [[2, 3, 0]] * 2, [[1, 2, 0]] * 2]
    values = {name: metric.value for name, metric in named(confused).items()}
    assert values == pytest.approx({"miou": (1 / 3 + 2 / 3 + 0) / 3, "pixel_accuracy": 3 / 5, "mean_accuracy": 0.5})


def test_many_classes_and_narrow_types() -> None:
    random = np.random.default_rng(0)
    truth, found = random.integers(255, size=(2, 50, 40)).astype(np.uint8)
    expected = sklearn.metrics.confusion_matrix(truth.ravel(), found.ravel(), labels=range(255))
    for kind in (np.uint8, np.int32, np.int64):
        np.testing.assert_array_equal(Confusion([count(truth, found.astype(kind), 255)], 255).whole, expected)


def test_an_image_that_does_not_count_changes_nothing() -> None:
    pairs = drawn(3)
    nothing = (np.full((3, 5), VOID, np.uint8), np.zeros((3, 5), np.int64))
    with_it = counted([pairs[0], nothing, *pairs[1:]])
    np.testing.assert_array_equal(with_it.whole, counted(pairs).whole)
    assert all(area[1].sum() == 0 for area in with_it.areas())
    values = [{name: metric.value for name, metric in named(one).items()} for one in (with_it, counted(pairs))]
    assert values[0] == values[1]
    with pytest.raises(ValueError, match="undefined on every resample"):
        named(counted([nothing]))


def test_one_class_only() -> None:
    there = np.full((4, 6), 2, np.uint8)
    measured, details = evaluate(counted([(there, there)] * 5), NAMES, 0)
    assert [(metric.value, metric.low, metric.high) for metric in measured] == [(1, 1, 1)] * 3
    assert details["per_class_iou"] == {"c2": 1.0}
    assert details["classes_without_pixels"] == [name for name in NAMES if name != "c2"]
    wrong = named(counted([(there, np.zeros((4, 6), int))]))
    assert all((metric.value, metric.low, metric.high) == (0, 0, 0) for metric in wrong.values())


def test_no_images() -> None:
    assert Confusion([], 3).whole.tolist() == [[0] * 3] * 3
    assert all(area.shape == (0, 3) for area in Confusion([], 3).areas())


def test_what_is_kept_is_all_of_it(tmp_path: Path) -> None:
    pairs = drawn()
    confused, path = counted(pairs), tmp_path / "confusion.npz"
    confused.save(path)
    assert os.listdir(tmp_path) == [path.name]
    with np.load(path) as kept:
        images, classes = kept["shape"]
        dense = np.zeros((images, classes, classes), np.int64)
        dense[kept["image"], kept["truth"], kept["found"]] = kept["pixels"]
    for matrix, (truth, found) in zip(dense, pairs, strict=True):
        expected = sklearn.metrics.confusion_matrix(*flat([(truth, found)]), labels=range(CLASSES))
        np.testing.assert_array_equal(matrix, expected)
    np.testing.assert_array_equal(dense.sum(0), confused.whole)


@pytest.mark.parametrize("before", [False, True], ids=["none", "an old one"])
def test_a_file_is_whole_or_as_it_was(before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "confusion.npz"
    if before:
        Confusion([Counted(*np.ones((3, 1), int))], 2).save(path)

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    for module, name in ((np.lib.format, "write_array"), (os, "replace")):
        with monkeypatch.context() as patched, pytest.raises(OSError, match="no space"):
            patched.setattr(module, name, full)
            counted(drawn()).save(path)
        assert path.exists() == before
    if before:
        with np.load(path) as kept:
            assert kept["pixels"].tolist() == [1]


def test_the_statistics_are_linear_in_the_images() -> None:
    """Each image twice is what twice the weight is."""
    pairs = drawn(5)
    once, twice = named(counted(pairs)), named(counted([*pairs, *pairs]))
    assert {name: m.value for name, m in once.items()} == pytest.approx({name: m.value for name, m in twice.items()})
    assert metrics.bootstrap(confusion._mean_iou(*counted(pairs).areas()), 5, seed=1) == pytest.approx(
        metrics.bootstrap(confusion._mean_iou(*(3 * area for area in counted(pairs).areas())), 5, seed=1)
    )
