"""Interruption: a real SIGUSR2 to a real process, which leaves with 75 and goes on when it is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from jobs.lib import interrupt
from jobs.lib.interrupt import Interrupted
from suite import result
from suite.catalog import Catalog
from suite.store import Store

FINETUNE = "finetune-short-v1/digits/pixels_8x8/0"
LINEAR = "linear-v1/digits/random-32px_squeezenet1_1/0"


def start(store: Path, *keys: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "jobs", *keys, "--store", str(store), "--cores", "1"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)


def interrupted_at(process: subprocess.Popen[str], words: str) -> str:
    """Sends the signal, twice, once `words` were printed; all that was printed."""
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if words in line:
            break
    os.kill(process.pid, signal.SIGUSR2)
    os.kill(process.pid, signal.SIGUSR2)
    return told + process.communicate(timeout=60)[0]


def left(store: Store, key: str) -> set[str]:
    """What lies in a cell's folder, without its lock."""
    return {path.name for path in (store.results / key).iterdir()} - {".lock"}


def numbers(store: Store, key: str) -> list[Any]:
    found = result.read(store.results, key)
    assert found is not None
    return [found["metrics"], found["settings"], found["details"]]


def test_fine_tuning_goes_on_to_the_numbers_of_an_unbroken_run(known: Catalog, tmp_path: Path) -> None:
    other = Store(tmp_path / "unbroken")
    other.data.mkdir(parents=True)
    (other.data / "digits").symlink_to(known.store.data / "digits")
    unbroken = start(other.root, FINETUNE)
    first = start(known.store.root, FINETUNE)
    told = interrupted_at(first, "lr 0.1 wd 0.0001: step 50/50")
    assert first.returncode == interrupt.EX_TEMPFAIL == 75, told
    assert f"{FINETUNE}: interrupted; goes on from here when started again (checkpoint saved" in told
    assert told.count(f"{FINETUNE}: begun\n") == 1
    assert "Traceback" not in told
    assert left(known.store, FINETUNE) == {"checkpoint.pt"}
    second = start(known.store.root, FINETUNE)
    told = second.communicate(timeout=120)[0]
    assert second.returncode == 0
    assert "lr 0.1 wd 0.0001" not in told or "goes on from step 50" in told
    assert left(known.store, FINETUNE) == {"result.json"}
    unbroken.communicate(timeout=120)
    assert numbers(known.store, FINETUNE) == numbers(other, FINETUNE)


def test_a_program_without_checkpoints_leaves_at_once(known: Catalog) -> None:
    process = start(known.store.root, LINEAR, FINETUNE)
    told = interrupted_at(process, f"{LINEAR}: begun")
    assert process.returncode == 75, told
    assert told.endswith(f"{LINEAR}: interrupted; goes on from here when started again (no checkpoint)\n")
    assert left(known.store, LINEAR) == set()
    assert FINETUNE not in told


def test_a_signal_that_comes_before_everything_else_is_heard(known: Catalog) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})  # which a new process inherits
    try:
        process = start(known.store.root, LINEAR)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.kill(process.pid, signal.SIGUSR2)
    told = process.communicate(timeout=60)[0]
    assert process.returncode == 75, told
    assert "interrupted" in told
    assert "begun" not in told


def test_interruption_waits_where_it_is_deferred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "_asked", False)
    before = signal.getsignal(signal.SIGUSR2)
    interrupt.listen()
    try:
        with pytest.raises(Interrupted), interrupt.anywhere():
            with interrupt.deferred():
                os.kill(os.getpid(), signal.SIGUSR2)
                assert interrupt.asked()
            os.kill(os.getpid(), signal.SIGUSR2)
            pytest.fail("it was not interrupted")
        os.kill(os.getpid(), signal.SIGUSR2)  # outside, it is only noted
        with pytest.raises(Interrupted):
            interrupt.check()
    finally:
        signal.signal(signal.SIGUSR2, before)
