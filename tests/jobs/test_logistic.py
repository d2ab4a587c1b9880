"""The solver against scikit-learn run to convergence, and what it must do at the edges."""

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from jobs.lib import logistic
from jobs.lib.lbfgs import Solver
from jobs.lib.problem import Problem

CS = [10 ** (k / 4) for k in range(24, -21, -1)]


def blobs(number, dimension, classes, seed=0, spread=2.0):
    """Overlapping, badly scaled and off-centre, as features are."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(classes, size=number - classes)])
    x = random.normal(size=(classes, dimension))[labels] + spread * random.normal(size=(number, dimension))
    return (x * np.logspace(0, -2, dimension) + 0.5).astype(np.float32), labels


def oracle(x, y, C):
    """scikit-learn's fit in float64, run to convergence."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return LogisticRegression(C=C, tol=1e-8, max_iter=20000).fit(x.astype(np.float64), y)


def objective(weight, bias, x, y, C):
    """By its definition, in float64; one weight row is scikit-learn's two-class form."""
    z = x.astype(np.float64) @ np.asarray(weight, np.float64).T + np.asarray(bias, np.float64)
    if z.shape[1] == 1:
        z = np.concatenate([np.zeros_like(z), z], 1)
    losses = np.logaddexp.reduce(z, 1) - z[np.arange(len(y)), y]
    return 0.5 * np.square(np.asarray(weight, np.float64)).sum() + C * losses.sum()


@pytest.mark.parametrize("C", [1e-5, 1e-2, 1.0, 1e2, 1e4])
@pytest.mark.parametrize("shape", [(300, 20, 5), (60, 100, 4), (200, 3, 3), (200, 10, 2)])
def test_objective_is_that_of_scikit_learn(shape, C):
    x, y = blobs(*shape)
    found, peer = logistic.fit(x, y, shape[2], C), oracle(x, y, C)
    weight, bias = found.weight.numpy(), found.bias.numpy()
    if shape[2] == 2:
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    expected = objective(peer.coef_, peer.intercept_, x, y, C)
    assert found.converged
    assert objective(weight, bias, x, y, C) <= expected * (1 + 1e-5)
    assert found.objective == pytest.approx(expected, rel=1e-5)


def test_probabilities_of_two_classes_are_those_of_scikit_learn():
    x, y = blobs(200, 10, 2)
    probability = logistic.fit(x, y, 2, 1.0, tolerance=1e-8).decision(x).softmax(1)
    np.testing.assert_allclose(probability, oracle(x, y, 1.0).predict_proba(x), atol=1e-3)


def test_many_labels_are_one_regression_a_class():
    x, _ = blobs(300, 20, 4)
    random = np.random.default_rng(1)
    y = (x @ random.normal(size=(20, 4)) + random.normal(size=(300, 4)) > 1).astype(int)
    found = logistic.fit(x, y, 4, 3.0, loss="sigmoid")
    peers = [oracle(x, y[:, k], 3.0) for k in range(4)]
    expected = sum(objective(peer.coef_, peer.intercept_, x, y[:, k], 3.0) for k, peer in enumerate(peers))
    assert found.objective == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(found.decision(x)[:, 2], peers[2].decision_function(x), atol=0.05)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_path_agrees_with_single_fits(loss):
    x, y = blobs(300, 30, 5)
    labels = y if loss == "softmax" else np.eye(5, dtype=int)[y]
    fits = logistic.path(x, labels, 5, CS, loss=loss)
    assert [each.C for each in fits] == CS
    for each in fits[::6]:
        alone = logistic.fit(x, labels, 5, each.C, loss=loss)
        assert alone.converged
        assert alone.objective * (1 - 1e-5) <= each.objective <= alone.objective * 1.05
        same = each.decision(x).argmax(1) == alone.decision(x).argmax(1)
        assert same.float().mean() > 0.97
    assert sum(each.iterations for each in fits) < 45 * 12


def test_path_takes_values_in_any_order_and_far_apart():
    x, y = blobs(200, 10, 3)
    fits = logistic.path(x, y, 3, [1e-3, 1e4, 1.0], tolerance=1e-6)
    for each in fits:
        assert each.objective == pytest.approx(logistic.fit(x, y, 3, each.C).objective, rel=1e-3)
    assert [each.C for each in fits] == [1e-3, 1e4, 1.0]


def test_half_precision_memmap_in_chunks_equals_memory(tmp_path):
    x, y = blobs(1500, 24, 5)
    stored = np.memmap(tmp_path / "x", np.float16, "w+", shape=x.shape)
    stored[:] = x
    stored.flush()
    stored = np.memmap(tmp_path / "x", np.float16, "r", shape=x.shape)
    small = 16 * 4 * 24 * 37  # 37 rows a chunk, and far less than all of them
    for C in (1e-2, 1.0, 1e2):
        streamed = logistic.fit(stored, y, 5, C, memory=small)
        whole = logistic.fit(torch.from_numpy(x).half(), y, 5, C)
        assert streamed.objective == pytest.approx(whole.objective, rel=2e-6)
        found, expected = streamed.decision(stored).softmax(1), whole.decision(stored, rows=7).softmax(1)
        torch.testing.assert_close(found, expected, atol=0.01, rtol=0)


def test_streaming_is_what_a_small_budget_does():
    x, y = blobs(1500, 24, 5)
    problem = Problem(x, y, 5, "softmax", torch.device("cpu"), 16 * 4 * 24 * 37)
    assert problem.resident is None and problem.rows == 37


def test_deterministic():
    x, y = blobs(300, 30, 5)
    one, two = logistic.path(x, y, 5, CS), logistic.path(x, y, 5, CS)
    assert all(torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias) for a, b in zip(one, two, strict=True))


def test_start_changes_the_way_not_the_goal():
    x, y = blobs(300, 30, 5)
    cold = logistic.fit(x, y, 5, 10.0)
    near, wild = logistic.fit(x, y, 5, 1.0), logistic.fit(*blobs(300, 30, 5, seed=9), 5, 1e5)
    for start in (cold, near, wild):
        warm = logistic.fit(x, y, 5, 10.0, start=start)
        assert warm.converged and warm.objective == pytest.approx(cold.objective, rel=3e-6)
    assert logistic.fit(x, y, 5, 10.0, start=cold).iterations < cold.iterations / 4


@pytest.mark.parametrize("C", [1e-4, 1.0, 1e6])
def test_class_without_a_sample(C):
    x, y = blobs(200, 10, 3)
    y = np.array([0, 2, 3])[y]  # of 0..4, 1 and 4 never occur
    found, peer = logistic.fit(x, y, 5, C), logistic.fit(x, np.searchsorted([0, 2, 3], y), 3, C)
    scores = found.decision(x)
    assert torch.equal(scores[:, [0, 2, 3]], peer.decision(x))
    assert (scores[:, [1, 4]] == -math.inf).all()
    assert not scores.softmax(1).isnan().any()
    again = logistic.fit(x, y, 5, C, start=found)
    assert torch.isfinite(again.weight).all()


def test_labels_that_all_or_none_have():
    x, y = blobs(100, 5, 2)
    labels = np.stack([y, np.ones_like(y), np.zeros_like(y)], 1)
    scores = logistic.fit(x, labels, 3, 1.0, loss="sigmoid").decision(x)
    assert (scores[:, 1] == math.inf).all() and (scores[:, 2] == -math.inf).all() and torch.isfinite(scores[:, 0]).all()


def test_one_class_only():
    found = logistic.path(blobs(10, 4, 2)[0], np.full(10, 1), 3, [1.0, 1e-3])
    assert (found[0].decision(torch.zeros(2, 4)).argmax(1) == 1).all()


@pytest.mark.parametrize("C", [1e-5, 1.0, 1e6])
def test_constant_features_and_two_rows(C):
    x, y = blobs(100, 6, 3)
    x[:, 2:4] = 7.0
    found = logistic.fit(x, y, 3, C)
    assert torch.isfinite(found.weight).all()
    assert found.weight[:, 2:4].abs().max() < 1e-3 * found.weight.abs().max()
    nothing = logistic.fit(np.ones((30, 4), np.float32), np.arange(30) % 3 // 2, 2, C)
    np.testing.assert_allclose(nothing.decision(np.ones((1, 4), np.float32)).softmax(1), [[2 / 3, 1 / 3]], atol=2e-3)
    two = logistic.fit(x[:2], np.array([0, 1]), 2, C)
    peer = oracle(x[:2], np.array([0, 1]), C)
    assert two.objective == pytest.approx(objective(peer.coef_, peer.intercept_, x[:2], np.array([0, 1]), C), rel=1e-4)


def test_select_prefers_the_largest_c_among_equals():
    fits = [logistic.Fit(torch.zeros(1), torch.zeros(1), C, 0.0, 0, True) for C in (10.0, 1.0, 100.0, 0.1)]
    scores = {10.0: 0.5, 1.0: 0.9, 100.0: 0.9, 0.1: 0.2}
    best, value = logistic.select(fits, lambda each: scores[each.C])
    assert (best.C, value) == (100.0, 0.9)
    with pytest.raises(ValueError, match="NaN"):
        logistic.select(fits, lambda each: math.nan)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"loss": "hinge"}, "'hinge'"),
        ({"y": np.array([0, 1, 5])}, "from 0 to 5"),
        ({"y": np.array([0, 1])}, r"labels are \(2,\)"),
        ({"C": 0.0}, "positive"),
        ({"x": np.array([[0.0], [np.nan], [1]], np.float32)}, "NaN"),
    ],
)
def test_refusals(change, message):
    arguments = {"x": np.eye(3, dtype=np.float32), "y": np.array([0, 1, 2]), "classes": 3, "C": 1.0} | change
    with pytest.raises(ValueError, match=message):
        logistic.fit(**arguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_agrees_with_cpu():
    x, y = blobs(300, 30, 5)
    for C in (1e-2, 1e2):
        there, here = logistic.fit(x, y, 5, C, device="cuda"), logistic.fit(x, y, 5, C)
        assert there.objective == pytest.approx(here.objective, rel=5e-6)


def test_an_iteration_never_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(300, 30, 5)
    solver = Solver(Problem(x, y, 5, "softmax", torch.device("cpu"), 1 << 30))
    solver.look = 4  # as beside a GPU
    trips = []
    for name in ("item", "tolist", "nonzero", "__bool__", "__float__", "__int__", "__index__"):
        real = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda *a, real=real: (trips.append(1), real(*a))[1])
    _, _, outcome = solver.minimise(1e-2, solver.problem.zeros(), 1e-6, 400, None)
    assert outcome.converged
    assert outcome.iterations > 20
    assert len(trips) <= outcome.iterations / 4 + 1
