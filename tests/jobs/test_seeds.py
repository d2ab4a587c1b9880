"""Seeds: every draw is a function of (seed, purpose) alone; a hold-out is stratified and leaks nothing."""

from __future__ import annotations

import numpy as np

from jobs.lib import seeds
from jobs.lib.rows import Rows


def test_purposes_have_generators_of_their_own() -> None:
    assert seeds.number(0, "hold-out") == seeds.number(0, "hold-out")
    assert len({seeds.number(s, p) for s in range(10) for p in ("hold-out", "order", "head")}) == 30


def test_holdout_is_stratified_and_disjoint() -> None:
    labels = np.repeat(np.arange(4), [100, 10, 4, 1])
    train, val = seeds.holdout(labels, 0.2, seed=3)
    assert np.bincount(labels[val], minlength=4).tolist() == [20, 2, 1, 0]
    assert sorted([*train, *val]) == list(range(115))
    assert 114 in train  # a class of one image stays in training
    again = seeds.holdout(labels, 0.2, seed=3)
    assert np.array_equal(val, again[1])
    assert not np.array_equal(val, seeds.holdout(labels, 0.2, seed=4)[1])


def test_holdout_of_multilabel_images() -> None:
    train, val = seeds.holdout(np.eye(20, dtype=int), 0.2, seed=0)
    assert (len(train), len(val)) == (16, 4)


def test_rows_read_what_they_name() -> None:
    one, two = np.arange(30, dtype=np.float16).reshape(10, 3), 100 + np.arange(6, dtype=np.float32).reshape(2, 3)
    rows = Rows((one, np.array([7, 1, 5])), (two, None))
    whole = np.concatenate([one[[7, 1, 5]], two])
    assert rows.shape == (5, 3)
    assert np.array_equal(rows[1:4], whole[1:4])
    assert np.array_equal(rows[np.array([4, 0, 0])], whole[[4, 0, 0]])
    unit = rows.normalised("l2")[0:5]
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    standard = rows.normalised("standard")
    np.testing.assert_allclose(standard[0:5].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(standard[0:5].std(0), 1, rtol=1e-5)
    other = Rows((two, None)).normalised("standard", like=rows)
    np.testing.assert_allclose(other[0:2], (two - whole.mean(0)) / whole.std(0), rtol=1e-5)


def test_standard_rows_are_the_same_however_long_features_are() -> None:
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) * np.float32([1, 1e-3, 1e-7, 0]) + [0, 0, 0, 2]
    standard = Rows((x, None)).normalised("standard")[0:50]
    np.testing.assert_allclose(standard[:, :2].std(0), 1, rtol=1e-5)
    assert 0.005 < standard[:, 2].std() < 0.02  # a hundredth of what the floor is
    assert not standard[:, 3].any()
    for unit in (2.0**-40, 2.0**20):
        assert np.array_equal(Rows((x * unit, None)).normalised("standard")[0:50], standard)


def test_standard_rows_of_what_is_all_the_same() -> None:
    made = Rows((np.full((9, 2), 0.1, np.float32), None)).normalised("standard")
    assert not made[0:9].any()
    assert made.scale.tolist() == [1, 1]
