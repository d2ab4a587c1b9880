"""Store and attempt: files appear whole, locks exclude, names and digests hold what they promise."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from suite import attempt, cell, entry, model, store
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.model import Input, Model, Weights


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "value.json"
    store.write_json(path, {"old": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write_json(path, {"new": 2})
    assert store.read_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["value.json"]


def test_nan_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_json(tmp_path / "r.json", {"value": float("nan")})
    assert not (tmp_path / "r.json").exists()


def test_a_lock_excludes_other_processes_and_dies_with_its_holder(tmp_path: Path) -> None:
    hold = (
        "import sys; from pathlib import Path; from suite.store import lock\n"
        "with lock(Path(sys.argv[1])): print('held', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, tmp_path / "l"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with store.lock(tmp_path / "l", wait=False) as mine:
        assert not mine
    other.kill()
    other.communicate()
    with store.lock(tmp_path / "l", wait=False) as mine:
        assert mine


def test_a_heartbeat_tells_the_living_from_the_dead(tmp_path: Path) -> None:
    with attempt.heartbeat(tmp_path):
        assert attempt.beats(tmp_path)
    assert not attempt.beats(tmp_path)
    gone = subprocess.Popen(["true"])
    gone.wait()
    with attempt.heartbeat(tmp_path):
        path = tmp_path / "heartbeat.json"
        beat = store.read_json(path)
        for other in ({"pid": gone.pid}, {"born": "1"}, {"pid": 1}):  # gone, or another process of the same number
            store.write_json(path, beat | other)
            assert not attempt.beats(tmp_path)
        store.write_json(path, beat | {"host": "elsewhere"})
        assert attempt.beats(tmp_path)
        os.utime(path, (0, 0))
        assert not attempt.beats(tmp_path)


def test_only_who_was_at_work_is_blamed(tmp_path: Path) -> None:
    here = store.Store(tmp_path)
    with attempt.heartbeat(here.results / "k"):
        assert not attempt.left(here, "k", since=0)  # it is being run by somebody alive
        path = here.results / "k/heartbeat.json"
        beat = store.read_json(path)
        store.write_json(path, beat | {"born": "1"})
        assert attempt.left(here, "k", since=beat["began"])
        assert not attempt.left(here, "k", since=beat["began"] + 1)  # it died before this process began


@pytest.mark.parametrize("key", ["linear/d/a/0", "linear-v1/d/a", "linear-vx/d/a/0", "linear-v1/d/a/x", ""])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="a key reads"):
        cell.parse(key)


def test_remarks_do_not_make_a_result_stale_and_facts_do() -> None:
    one = Model("a_resnet18", "resnet18", 512, weights=Weights("f.pth", "abc"), licence="MIT")
    assert entry.digest(one) == entry.digest(replace(one, licence="GPL", weights=Weights("moved.pth", "abc")))
    assert entry.digest(one) != entry.digest(replace(one, weights=Weights("f.pth", "abd")))
    assert entry.digest(one) != entry.digest(replace(one, input=Input(size=96)))
    assert model.from_json(entry.as_json(one)) == one


def test_every_entry_is_sound(known: Catalog) -> None:
    for kind in ("models", "datasets", "tasks", "grids"):
        found = getattr(known, kind)
        assert found
        for name, value in found.items():
            assert name == value.name
            assert not name[0].isspace()
            assert "/" not in name
    for one in known.models.values():
        assert "_" in one.name
        if one.architecture != "pixels":
            same = known.model(f"random_{one.architecture.replace(':', '-')}")
            assert one.dimension == same.dimension
    for task in known.tasks.values():
        program = Path(store.__file__).parent.parent / "jobs" / task.program
        assert program.with_suffix(".py").is_file() or (program / "__init__.py").is_file()
        assert set(task.datasets) <= set(known.datasets)
        assert task.source
    for grid in known.grids.values():
        assert set(grid.tasks) <= set(known.tasks)


def test_a_random_network_has_a_name_of_its_own(known: Catalog) -> None:
    assert known.model("random_resnet50").dimension == 2048
    assert known.model("random_timm-vit_tiny_patch16_224").input.mean == (0.5, 0.5, 0.5)
    with pytest.raises(Refusal, match=r"unknown model 'moco_resnet50'.*moco-v1_resnet50"):
        known.model("moco_resnet50")
