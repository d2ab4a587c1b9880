"""Features: extracted once, kept through kills, equal however they came about."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

from jobs.lib import features
from jobs.lib.failure import Diverged, NoSpace
from jobs.lib.images import normalise, prepare
from jobs.lib.workspace import Workspace
from suite.catalog import Catalog
from suite.cell import Cell
from suite.store import read_json

EXTRACT = """
import sys, time
from pathlib import Path
import torch
from jobs.lib import features, workspace
from suite.catalog import Catalog
from suite.store import Store
torch.set_num_threads(1)
features.SHARD = 64
store = Store(Path(sys.argv[1]))
work = workspace.Workspace(store)
print("ready", flush=True)
found = work.features(Catalog(store).cell("knn-v1/digits/random-32px_squeezenet1_1/0"), "train")
print("made", len(found.x), found.manifest["resumed_at"], flush=True)
"""


@pytest.fixture
def cell(known: Catalog) -> Cell:
    return known.cell("knn-v1/digits/random-32px_squeezenet1_1/0")


def extraction(store: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", EXTRACT, str(store)], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def direct(cell: Cell, work: Workspace, rows: int) -> np.ndarray:
    """Features of the first rows, one image after the other, by the plainest code."""
    network, images = work.backbone(cell.model).network, work.images(cell.dataset, "train")
    with torch.inference_mode():
        made = [network(normalise(prepare(images[i], cell.model.input)[None], cell.model.input)) for i in range(rows)]
    return torch.cat(made).numpy()


def test_features_are_the_networks_and_in_order(cell: Cell, known: Catalog) -> None:
    work = Workspace(known.store)
    found = work.features(cell, "test")
    assert found.x.shape == (355, 512)
    assert found.x.dtype == np.float32
    assert np.bincount(found.y).tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]
    images = work.images(cell.dataset, "test")
    network = work.backbone(cell.model).network
    for row in (0, 100, 354):
        x = normalise(prepare(images[row], cell.model.input)[None], cell.model.input)
        with torch.inference_mode():
            np.testing.assert_allclose(found.x[row], network(x)[0].numpy(), rtol=1e-3, atol=1e-5)
    assert found.manifest["images_per_second"] > 0
    assert 0 <= found.manifest["waiting_share"] <= 1


def test_a_killed_extraction_goes_on_where_it_stopped(cell: Cell, known: Catalog) -> None:
    first = extraction(known.store.root)
    deadline = time.monotonic() + 120
    while not (progress := list(known.store.features.glob("*/*/train.partial/progress.json"))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    rows = read_json(progress[0])["rows"]
    assert 0 < rows < 1442
    second = extraction(known.store.root)
    told = second.communicate(timeout=120)[0]
    resumed = int(told.split()[-1])
    assert resumed >= rows
    assert not progress[0].parent.exists()
    folder = next(known.store.features.glob("*/*/train"))
    found = np.load(folder / "features.npy")
    work = Workspace(known.store)
    np.testing.assert_allclose(found[:200], direct(cell, work, 200), rtol=1e-3, atol=1e-4)
    assert np.isfinite(found).all()
    assert (np.abs(found).sum(1) > 0).all()  # no row was skipped


def test_two_processes_extract_once(known: Catalog) -> None:
    both = [extraction(known.store.root) for _ in range(2)]
    told = [process.communicate(timeout=180)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all("made 1442 0" in text for text in told)
    worked = [text for text in told if "images/s" in text]
    assert len(worked) == 1


def test_the_folder_names_weights_input_files_and_precision(cell: Cell, known: Catalog) -> None:
    work = Workspace(known.store)
    one = work.backbone(cell.model)
    at = features.folder(known.store.features, one, "digits", "files", "float32")
    assert at != features.folder(known.store.features, one, "digits", "other files", "float32")
    assert at != features.folder(known.store.features, one, "digits", "files", "float16")
    assert at != features.folder(known.store.features, one, "digits", "files", "float32", "recipe")


def test_half_precision_halves_the_file(cell: Cell, known: Catalog, tmp_path: Path) -> None:
    work = Workspace(known.store)
    images = work.images(cell.dataset, "test")
    made = features.get(tmp_path / "half", work.backbone(cell.model), images, "float16", work.loader, 64)
    assert made.x.dtype == np.float16
    np.testing.assert_allclose(made.x.astype(np.float32), work.features(cell, "test").x, rtol=2e-3, atol=1e-4)


def test_features_that_are_not_finite_are_refused(cell: Cell, known: Catalog) -> None:
    work = Workspace(known.store)
    with torch.no_grad():
        work.backbone(cell.model).network.features[0].weight.fill_(float("nan"))
    with pytest.raises(Diverged, match="not finite"):
        work.features(cell, "test")


def test_a_disk_too_small_is_told_before_the_work(cell: Cell, known: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 9 * 10**5, 10**5))
    with pytest.raises(NoSpace, match=r"the features need 3\.0 MB, but .* has 0\.1 MB free"):
        Workspace(known.store).features(cell, "train")


@pytest.mark.parametrize("scale", [1e-9, 1e6])
def test_features_that_float16_does_not_hold_are_refused(scale: float) -> None:
    rows = (scale * np.random.default_rng(0).random((20, 8))).astype(np.float32)
    assert np.array_equal(features._fitted(rows, "float32", "one"), rows)
    with pytest.raises(Diverged, match="which float16 does not hold; take a task that keeps float32"):
        features._fitted(rows, "float16", "one")
    fine = features._fitted(rows / np.float32(scale), "float16", "one")
    assert fine.dtype == np.float16
    assert np.abs(fine - rows / scale).max() < 1e-3
    assert np.array_equal(features._fitted(np.zeros((2, 8), np.float32), "float16", "one"), np.zeros((2, 8)))
