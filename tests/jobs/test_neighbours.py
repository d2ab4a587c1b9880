"""Neighbours against brute force in float64."""

import numpy as np
import pytest
import torch

from jobs.lib import neighbours


def brute(bank, labels, queries, classes, k, temperature=0.07):
    """Votes by a plain loop in float64; a stable sort gives the lower index among equals."""
    unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)  # noqa: E731
    bank, queries = unit(np.asarray(bank, np.float64)), unit(np.asarray(queries, np.float64))
    hot = np.eye(classes)[labels] if labels.ndim == 1 else np.asarray(labels, float)
    votes = np.zeros((len(queries), classes))
    for row, query in enumerate(queries):
        similarity = bank @ query
        for index in np.argsort(-similarity, kind="stable")[:k]:
            votes[row] += np.exp(similarity[index] / temperature) * hot[index]
    return votes


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    centres = random.normal(size=(7, 24))
    labels = random.integers(7, size=500)
    bank = (centres[labels] + 2 * random.normal(size=(500, 24))).astype(np.float32)
    return bank, labels, (centres[random.integers(7, size=90)] + 2 * random.normal(size=(90, 24))).astype(np.float32)


@pytest.mark.parametrize("chunks", [(1024, 16384), (17, 31), (90, 500)])
def test_equals_brute_force_whatever_the_chunks(data, chunks):
    bank, labels, queries = data
    votes = neighbours.predict(bank, labels, queries, 7, (1, 10, 200), rows=chunks[0], bank_rows=chunks[1])
    for k in (1, 10, 200):
        expected = brute(bank, labels, queries, 7, k)
        np.testing.assert_allclose(votes[k], expected, rtol=2e-4, atol=0)
        assert (votes[k].argmax(1).numpy() == expected.argmax(1)).all()


def test_many_labels(data):
    bank, _, queries = data
    many = np.random.default_rng(1).integers(2, size=(500, 5))
    votes = neighbours.predict(bank, many, queries, 5, (20,), bank_rows=100)
    np.testing.assert_allclose(votes[20], brute(bank, many, queries, 5, 20), rtol=1e-9)


def test_k_is_clipped_to_the_bank(data):
    bank, labels, queries = data
    votes = neighbours.predict(bank[:6], labels[:6], queries, 7, (5, 200))
    np.testing.assert_allclose(votes[200], brute(bank[:6], labels[:6], queries, 7, 6), rtol=2e-4)


@pytest.mark.parametrize("small", [0, 64])
def test_ties_go_to_the_lower_index(small, monkeypatch):
    monkeypatch.setattr(neighbours, "SMALL", small)
    bank = np.tile(np.array([[3.0, 4.0]], np.float32), (300, 1))
    labels = np.array([1] * 5 + [0] * 295)
    votes = neighbours.predict(bank, labels, bank[:2], 2, (5, 9), bank_rows=64)
    assert votes[5].argmax(1).tolist() == [1, 1]
    assert votes[5][:, 0].tolist() == [0, 0]
    assert votes[9].argmax(1).tolist() == [1, 1]  # five against four


@pytest.mark.parametrize("small", [0, 64])
@pytest.mark.parametrize("k", [1, 3, 10])
def test_what_float32_cannot_order_is_settled_in_float64(k, small, monkeypatch):
    """Near-copies of one vector: their order is decided far below float32's epsilon."""
    monkeypatch.setattr(neighbours, "SMALL", small)
    random = np.random.default_rng(2)
    bank = random.normal(size=64) + 1e-9 * random.normal(size=(400, 64))
    labels = random.integers(3, size=400)
    queries = bank[:1] + 0.3 * random.normal(size=(40, 64))
    expected = brute(bank, labels, queries, 3, k)
    votes = neighbours.predict(bank, labels, queries, 3, (k,), bank_rows=128)[k]
    np.testing.assert_allclose(votes, expected, rtol=1e-9)


def test_half_precision_memmap(data, tmp_path):
    bank, labels, queries = data
    stored = np.memmap(tmp_path / "bank", np.float16, "w+", shape=bank.shape)
    stored[:] = bank
    votes = neighbours.predict(stored, labels, queries, 7, (10,), bank_rows=99)[10]
    assert (votes.argmax(1).numpy() == brute(stored, labels, queries, 7, 10).argmax(1)).all()


def test_zero_rows_and_refusals(data):
    bank, labels, queries = data
    bank[3] = 0
    assert torch.isfinite(neighbours.predict(bank, labels, 0 * queries, 7, (10,))[10]).all()
    with pytest.raises(ValueError, match="NaN"):
        neighbours.predict(bank * np.nan, labels, queries, 7)
    with pytest.raises(ValueError, match="at least 1"):
        neighbours.predict(bank, labels, queries, 7, (0,))
    with pytest.raises(ValueError, match="fit together"):
        neighbours.predict(bank, labels[:-1], queries, 7)
