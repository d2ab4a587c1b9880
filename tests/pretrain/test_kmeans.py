"""k-means and whitening, beside scikit-learn's; what is empty is refilled; memory stays small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from jobs.pretrain.lib import kmeans
from jobs.pretrain.lib.kmeans import means, nearest, whiten


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def blobs(count: int, dimension: int, centres: int, seed: int = 0) -> torch.Tensor:
    draw = np.random.default_rng(seed)
    where = draw.normal(size=(centres, dimension))[draw.integers(centres, size=count)]
    return torch.from_numpy((where + 0.4 * draw.normal(size=(count, dimension))).astype(np.float32))


@pytest.mark.parametrize("iterations", [1, 4, 100])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_it_is_scikit_learns_from_the_same_start(iterations: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "CELLS", 100 * 7)  # many chunks of rows
    monkeypatch.setattr(kmeans, "BLOCK", 7)  # and of centroids
    rows = blobs(800, 6, 15)
    first = rows[np.random.default_rng(1).choice(800, 15, replace=False)]
    ours = kmeans.kmeans(rows, 15, 0, iterations=iterations, first=first)
    theirs = KMeans(15, init=first.numpy(), n_init=1, max_iter=iterations, tol=0, algorithm="lloyd").fit(rows.numpy())
    assert np.array_equal(ours.labels.numpy(), theirs.labels_)
    np.testing.assert_allclose(ours.centroids, theirs.cluster_centers_, atol=1e-5)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5)


def test_a_draw_says_it_all() -> None:
    rows = blobs(500, 5, 8)
    one, same, other = (kmeans.kmeans(rows, 8, seed, iterations=3) for seed in (0, 0, 1))
    assert torch.equal(one.centroids, same.centroids)
    assert torch.equal(one.labels, same.labels)
    assert one.inertia == same.inertia
    assert not torch.equal(one.labels, other.labels)
    drawn = kmeans.kmeans(rows, 8, np.random.default_rng(0), iterations=3)
    assert torch.equal(one.centroids, drawn.centroids)


def test_empty_clusters_are_refilled() -> None:
    rows = blobs(600, 4, 20)
    first = torch.full((20, 4), 1e3)  # 19 clusters that nothing is near to
    first[4] = rows[0]
    found = kmeans.kmeans(rows, 20, 0, iterations=30, first=first)
    sizes = torch.bincount(found.labels, minlength=20)
    assert sizes.min() > 0
    assert sizes.max() < 200
    assert found.inertia < 2 * kmeans.kmeans(rows, 20, 0, iterations=30).inertia


def test_the_largest_is_split_in_halves() -> None:
    rows = torch.cat([blobs(300, 3, 1), blobs(30, 3, 1, seed=5) + 50])
    first = torch.stack([rows[0], rows[-1], torch.full((3,), 1e4)])
    found = kmeans.kmeans(rows, 3, 0, iterations=1, first=first)
    sizes = torch.bincount(found.labels, minlength=3)
    assert sizes[1] == 30
    assert sizes[[0, 2]].min() > 60


def test_what_is_all_the_same_leaves_clusters_empty() -> None:
    rows = torch.ones(40, 3)
    found = kmeans.kmeans(rows, 5, 0)
    assert found.inertia == 0
    assert torch.isfinite(found.centroids).all()
    with pytest.raises(ValueError, match="40 rows cannot begin 41 clusters"):
        kmeans.kmeans(rows, 41, 0)


def test_a_mapped_file_does_as_well_and_nothing_is_changed(tmp_path: Path) -> None:
    rows = blobs(300, 4, 5)
    np.save(tmp_path / "rows.npy", rows.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "rows.npy", mmap_mode="c"))
    with torch.inference_mode():
        inferred = rows.clone()
    found = [kmeans.kmeans(data, 5, 0) for data in (rows, mapped, inferred)]
    assert torch.equal(found[0].labels, found[1].labels)
    assert torch.equal(found[0].labels, found[2].labels)
    assert torch.equal(mapped, rows)


def test_means_are_those_of_float64() -> None:
    rows, labels = blobs(400, 3, 4) + 1000, torch.randint(6, (400,))
    labels[labels == 2] = 3
    before = torch.arange(18.0).view(6, 3)
    found = means(rows, labels, before)
    for cluster in range(6):
        wanted = before[2].double() if cluster == 2 else rows[labels == cluster].double().mean(0)
        torch.testing.assert_close(found[cluster], wanted.float(), rtol=1e-7, atol=0)


def test_sums_of_sorted_rows_are_those_of_rows_in_order() -> None:
    rows, labels = blobs(400, 3, 4), torch.randint(6, (400,))
    labels[labels == 2] = 3
    one, other = torch.ones(6, 3, dtype=torch.float64), torch.ones(6, 3, dtype=torch.float64)
    kmeans._add(one, rows, labels)
    kmeans._add_sorted(other, rows, labels)
    torch.testing.assert_close(one, other)


def test_nothing_of_the_size_of_all_distances_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "CELLS", 1000)
    rows, centroids, largest = blobs(500, 4, 3), blobs(50, 4, 3), 0

    class Sizes(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            made = func(*args, **(kwargs or {}))
            largest = max(largest, made.numel()) if isinstance(made, torch.Tensor) else largest
            return made

    with Sizes():
        found = nearest(rows, centroids)
    assert largest == 1000
    assert torch.equal(found, torch.cdist(rows.double(), centroids.double()).argmin(1))


def test_whitening_is_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "CELLS", 90)
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(300, 9, generator=draw) @ torch.randn(9, 9, generator=draw) + 5
    theirs = PCA(4, whiten=True, svd_solver="full").fit_transform(rows.double().numpy())
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    ours = whiten(rows, 4).numpy()
    np.testing.assert_allclose(ours * np.sign((ours * theirs).sum(0)), theirs, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, rtol=1e-6)


def test_whitening_has_nothing_where_rows_have_no_variance() -> None:
    rows = torch.cat([torch.randn(50, 3), torch.full((50, 4), 7.0)], 1)
    found = whiten(rows, 6)
    assert torch.isfinite(found).all()
    assert found[:, 3:].abs().max() == 0
    assert found[:, :3].abs().amax(0).min() > 0.5
    assert torch.equal(whiten(torch.ones(9, 3), 2), torch.zeros(9, 2))
    assert whiten(torch.randn(9, 3), 5).shape == (9, 5)
