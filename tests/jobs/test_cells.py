"""Cells as the jobs run them: each kind of failure gets its own words, and the other cells go on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from conftest import ROOT

from slurm import status
from suite import adhoc, attempt, entry, result
from suite.catalog import Catalog
from suite.cell import Cell
from suite.store import Store, write_json

PIXELS = "pixels_8x8"


def run(store: Store, *keys: str, cores: int = 0) -> str:
    """python -m jobs over keys; what it printed."""
    command = [sys.executable, "-m", "jobs", *keys, "--store", str(store.root), "--cores", str(cores)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def recorded(known: Catalog, task: str, data: str, model: str = PIXELS) -> Cell:
    """A cell as the launcher would record it."""
    cell = Cell(known.tasks[task], adhoc.dataset(data, known), adhoc.model(model, known), 0)
    known.record([cell])
    return cell


@pytest.fixture
def photos(tmp_path: Path, known: Catalog) -> Path:
    return Path(shutil.copytree(known.store.data / "digits", tmp_path / "mine"))


def why(known: Catalog, cell: Cell) -> str:
    found = attempt.error(known.store.results / cell.key)
    assert found is not None
    return f"{found['kind']}: {found['message']}"


def test_a_result_says_with_what_it_was_made(known: Catalog) -> None:
    keys = [f"{task}/digits/{PIXELS}/0" for task in ("linear-v1", "knn-v1", "fewshot-v1")]
    told = run(known.store, *keys)
    assert told.count("images/s") == 3  # train in two shards, test in one: extracted once for three tasks
    for key in keys:
        found = result.read(known.store.results, key)
        assert found is not None
        assert found["task"]["settings"] == entry.as_json(known.cell(key).task.settings)
        assert found["model"]["input"]["size"] == 8
        assert found["dataset"]["counts"] == {"train": 1442, "test": 355}
        assert set(found["versions"]) >= {"torch", "numpy", "python"}
        assert sum(metric["headline"] for metric in found["metrics"]) == 1
        for metric in found["metrics"]:
            assert metric["low"] <= metric["value"] <= metric["high"] or metric["name"].startswith("ece")
    assert result.read(known.store.results, keys[0])["metrics"][0]["value"] > 0.93  # type: ignore[index]
    assert "done before" in run(known.store, keys[0])


def test_numbers_do_not_depend_on_whether_the_features_were_there(known: Catalog) -> None:
    key = f"linear-v1/digits/{PIXELS}/0"
    found = []
    for _ in range(2):
        run(known.store, key)
        one = result.read(known.store.results, key)
        assert one
        found.append((one["metrics"], one["details"]["validation"], one["details"]["objective"]))
        (known.store.results / key / "result.json").unlink()
    assert found[0] == found[1]


def test_a_run_that_went_without_a_word_is_on_record(known: Catalog) -> None:
    key = f"knn-v1/digits/{PIXELS}/0"
    folder = known.store.results / key
    write_json(folder / "heartbeat.json", {"host": platform.node(), "pid": 1, "born": "never", "began": time.time()})
    run(known.store, key)
    assert [entry["fault"] for entry in attempt.history(folder)] == ["restarted"]
    found = result.read(known.store.results, key)
    assert found and found["retries"] == 1


def test_extraction_alone_leaves_features_and_no_metric(known: Catalog) -> None:
    key = f"features-v1/digits/{PIXELS}/0"
    told = run(known.store, key, f"knn-v1/digits/{PIXELS}/0")
    assert f"{key}: begun\n" in told
    assert f"{key}: done in " in told
    assert told.count("images/s") == 3  # nothing was left for the second cell to extract
    found = result.read(known.store.results, key)
    assert found is not None
    assert found["metrics"] == []
    assert (found["details"]["train"], found["details"]["test"]) == (1442, 355)
    assert found["details"]["images_per_second"] > 0


def test_a_result_says_what_was_used(known: Catalog) -> None:
    keys = [f"{task}/digits/{PIXELS}/0" for task in ("knn-v1", "finetune-short-v1")]
    told = run(known.store, *keys, cores=1)
    assert "cores: 1 may be used\n" in told
    assert "warning" not in told
    for key in keys:
        found = result.read(known.store.results, key)
        assert found is not None
        assert 0.1 < found["peak_gb"] < 4
        assert (found["gpu_peak_gb"] > 0) == torch.cuda.is_available()
        assert 0 < found["waiting_share"] < 1
        assert (found["ranks"], found["cores"]) == (1, 1)
    here = len(os.sched_getaffinity(0))
    told = run(known.store, keys[0], cores=here + 1)
    assert f"cores: {here} may be used\nwarning: asked for {here + 1} cores" in told


def test_a_corrupt_image_fails_its_cell_and_no_other(known: Catalog, photos: Path) -> None:
    good = recorded(known, "knn", str(photos))
    victim = sorted(photos.glob("train/3/*"))[7]
    victim.write_bytes(victim.read_bytes()[:50])
    bad = recorded(known, "knn", str(photos))
    assert bad.key != good.key  # other files, another dataset
    also = f"knn-v1/digits/{PIXELS}/0"
    run(known.store, bad.key, good.key, also)
    assert why(known, bad).startswith("bad data: ")
    assert victim.name in why(known, bad)
    assert "changed since the grid was planned" in why(known, good)
    assert result.read(known.store.results, also)


def test_a_dataset_that_is_not_whole_is_told(known: Catalog) -> None:
    next((known.store.data / "digits/train/0").iterdir()).unlink()
    key = f"knn-v1/digits/{PIXELS}/0"
    run(known.store, key)
    assert "'train': 1441" in why(known, known.cell(key))
    assert "--datasets imagefolder:" in why(known, known.cell(key))


def test_a_checkpoint_that_is_cut_short_after_planning(known: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    cell = recorded(known, "knn", "digits", f"{path}:squeezenet1_1")
    path.write_bytes(path.read_bytes()[:1000])
    run(known.store, cell.key)
    assert why(known, cell).startswith("bad weights: ")
    assert "has SHA-256" in why(known, cell)


def test_weights_of_another_architecture(known: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    cell = recorded(known, "knn", "digits", f"{path}:resnet18")
    run(known.store, cell.key)
    assert why(known, cell).startswith("bad weights: net.pth does not fit: 100 tensors missing")


def test_a_class_with_one_image_stays_in_training(known: Catalog, photos: Path) -> None:
    for path in sorted(photos.glob("train/9/*"))[1:]:
        path.unlink()
    cells = [recorded(known, task, str(photos)) for task in ("linear", "fewshot")]
    run(known.store, *(cell.key for cell in cells))
    found = result.read(known.store.results, cells[0].key)
    assert found is not None
    assert found["details"]["images"]["train"] == 1442 - 143 - found["details"]["images"]["val"]
    assert 0.8 < found["metrics"][0]["value"] < 0.93  # the digit that was seen once is not recognised
    few = result.read(known.store.results, cells[1].key)
    assert few is not None
    assert few["details"]["classes"]["20"] == 10  # 1 + 34 images of it, test included


def test_too_few_images_for_any_episode(known: Catalog, photos: Path) -> None:
    for split in ("train", "test"):
        for digit in range(10):
            for path in sorted(photos.glob(f"{split}/{digit}/*"))[2:]:
                path.unlink()
    cell = recorded(known, "fewshot", str(photos))
    run(known.store, cell.key)
    assert "fewshot needs 2 classes with 6 images each" in why(known, cell)


def test_multilabel(known: Catalog, shared: Path) -> None:
    cells = [recorded(known, task, str(shared / "voc2012_mini")) for task in ("linear", "knn")]
    run(known.store, *(cell.key for cell in cells))
    for cell in cells:
        found = result.read(known.store.results, cell.key)
        assert found is not None, why(known, cell)
        head = next(metric for metric in found["metrics"] if metric["headline"])
        assert head["name"].startswith("map11")
        assert 0 < head["value"] < 1


def test_a_version_that_this_checkout_does_not_have(known: Catalog) -> None:
    key = f"linear-v9/digits/{PIXELS}/0"
    run(known.store, key)
    error = attempt.error(known.store.results / key)
    assert error is not None
    assert error["message"] == f"{key}: this checkout has linear-v1, not version 9"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    at = tmp_path / "small"
    at.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(at)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    yield at
    subprocess.run(["umount", "-l", str(at)], check=True)


@pytest.mark.parametrize("left", [600_000, 0], ids=["almost full", "full"])
def test_a_full_disk_is_told(known: Catalog, small_disk: Path, left: int) -> None:
    store = Store(small_disk / "store")
    (store.data).mkdir(parents=True)
    (store.data / "digits").symlink_to(known.store.data / "digits")
    key = f"linear-v1/digits/{PIXELS}/0"
    folder = store.results / key
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    free = shutil.disk_usage(small_disk).free
    with attempt.heartbeat(folder):  # as it stands when the disk fills up
        (small_disk / "filler").write_bytes(b"x" * (free - left - 2 * attempt.RESERVED_BYTES))
        if left == 0:
            with pytest.raises(OSError, match="No space"):
                (small_disk / "last").write_bytes(b"x" * free)
            attempt.fail(folder, key=key, kind="no space", message="the store is full", trace="t", at=1.0)
    if left:
        run(store, key)
    told = status.states(Catalog(store), [key])[key]
    assert told.name == "failed"
    assert told.reason.startswith("no space: ")
    if left:
        assert "the features need" in told.reason
