"""Job: a process that dies costs one cell; the rest of its bundle goes on; what is cancelled stops."""

from __future__ import annotations

import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slurm import allocation, faults, job, status, submission
from slurm.allocation import Allocation
from slurm.cluster import Cluster
from slurm.job import Allocated, Job
from slurm.submission import Sent, Submission, Task
from suite import attempt, result
from suite.catalog import Catalog
from suite.result import Metric, Outcome
from suite.store import write_json

KEYS = [f"knn-v1/digits/random_resnet{depth}/0" for depth in (18, 34, 50, 101, 152)]

# A stand-in for `python -m jobs` that ends each cell the way its key's number says; all else is real.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from suite import attempt, result
from suite.catalog import Catalog
from suite.result import Metric, Outcome
from suite.store import Store, write_json
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
fate, store = sys.argv[1], Store(Path(sys.argv[sys.argv.index("--store") + 1]))
for key in (word for word in sys.argv[2:] if word.startswith("knn")):
    folder = store.results / key
    with attempt.heartbeat(folder):
        if "resnet50" in key and fate == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if "resnet50" in key and fate == "spoilt":
            attempt.fail(folder, key=key, kind="code", message="CUDA error", at=time.time())
            sys.exit(75)
        if "resnet50" in key and fate == "exit":
            os._exit(3)
        if "resnet50" in key and fate == "away" and not (marker := store.root.with_name("marker")).exists():
            marker.touch()
            store.root.rename(store.root.with_name("away"))
            os._exit(1)
        time.sleep(30 if fate == "slow" else 0)
        outcome = Outcome((Metric("top1_k20", 0.5, 0.4, 0.6, 10, True),))
        record = result.record(Catalog(store).cell(key), outcome, seconds=1.0, finished=time.time())
        write_json(folder / "result.json", record)
"""


@pytest.fixture
def sent(known: Catalog, monkeypatch: pytest.MonkeyPatch) -> Submission:
    """A submission of one bundle of five cells."""
    made = submission.draft(known.store, Cluster("local"), [], "commit")
    made.arrays.append(Sent("0", "", {}, [], "", [Task([KEYS], ["0.log"])], "sent"))
    made.create()
    return made


def work(known: Catalog, sent: Submission, fate: str, monkeypatch: pytest.MonkeyPatch) -> Job:
    real = job.command
    monkeypatch.setattr(job, "command", lambda *a, **k: [sys.executable, "-c", PROGRAM, fate, *real(*a, **k)[3:]])
    return Job(Cluster("local"), known.store, sent.folder, sent.arrays[0].tasks[0], "commit", {})


@pytest.mark.parametrize(
    ("fate", "told"),
    [
        ("kill", "was killed by SIGKILL; out of memory?"),
        ("exit", "ended with exit code 3"),
        ("spoilt", "CUDA error"),  # the program's own word, and it left the others to a new process
    ],
)
def test_a_death_costs_one_cell(
    known: Catalog, sent: Submission, fate: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(known, sent, fate, monkeypatch)()
    now = status.states(known)
    assert [now[key].name for key in KEYS] == ["done", "done", "failed", "done", "done"]
    assert told in now[KEYS[2]].reason
    assert not (known.store.results / KEYS[2] / "heartbeat.json").exists()


def test_of_a_log_a_cell_is_told_what_is_about_it() -> None:
    """Also where a process died at another cell, and the next one went on."""
    log = """cores: 2 may be used
a: begun
extracting
a: top1 0.5000 in 3 s
b: begun
Segmentation fault
cores: 2 may be used
c: begun
c: bad data: Traceback
  of c
b: another process is at it
"""
    told = {key: "".join(submission.about(key, log.splitlines(keepends=True))).splitlines() for key in "abc"}
    cores = "cores: 2 may be used"
    assert told["a"] == [cores, "a: begun", "extracting", "a: top1 0.5000 in 3 s", cores]
    assert told["b"] == [cores, "b: begun", "Segmentation fault", cores, "b: another process is at it"]
    assert told["c"] == [cores, cores, "c: begun", "c: bad data: Traceback", "  of c", "b: another process is at it"]


def test_a_store_that_is_away_for_a_while_costs_nothing(
    known: Catalog, sent: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = known.store.root.with_name("away")
    monkeypatch.setattr(job, "STORE_SECONDS", 0.2)
    running = threading.Thread(target=work(known, sent, "away", monkeypatch))
    running.start()
    while not away.exists():
        time.sleep(0.02)
    time.sleep(1)  # the program has died, and the job waits
    assert running.is_alive()
    away.rename(known.store.root)
    running.join(timeout=20)
    assert {state.name for state in status.states(known).values()} == {"done"}


def test_a_process_that_never_begins_ends_the_job(
    known: Catalog, sent: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "command", lambda *a, **k: [sys.executable, "-c", "import nothing_of_that_name"])
    Job(Cluster("local"), known.store, sent.folder, sent.arrays[0].tasks[0], "commit", {})()
    assert {state.name for state in status.states(known).values()} == {"failed"}
    assert "nothing_of_that_name" in (sent.folder / "0.log").read_text()


def test_cancelled_cells_stop_and_the_others_run(
    known: Catalog, sent: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = threading.Thread(target=work(known, sent, "slow", monkeypatch))
    running.start()
    while not attempt.beats(known.store.results / KEYS[0]):
        time.sleep(0.02)
    assert status.states(known)[KEYS[0]].name == "running"
    sent.cancel(KEYS)
    running.join(timeout=20)
    assert not running.is_alive()
    now = status.states(known)
    assert {state.name for state in now.values()} == {"absent"}
    assert now[KEYS[0]].reason == "cancelled"


def test_a_stale_result_is_told_and_why(known: Catalog, sent: Submission) -> None:
    cell = known.cell(KEYS[0])
    record = result.record(
        cell, Outcome((Metric("top1_k20", 0.5, 0.4, 0.6, 10, True),)), seconds=1.0, finished=time.time()
    )
    folder = known.store.results / cell.key
    write_json(folder / "result.json", record)
    assert status.states(known, [cell.key])[cell.key].name == "done"
    write_json(folder / "result.json", record | {"facts": record["facts"] | {"model": "another", "task": "another"}})
    now = status.states(known, [cell.key])[cell.key]
    assert (now.name, now.reason) == ("stale", "the task and the model changed since it was run")


def test_an_error_is_kept_even_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with attempt.heartbeat(tmp_path):
        monkeypatch.setattr(attempt, "write_json", full)
        attempt.fail(tmp_path, kind="no space", message="x" * 10, trace="y" * 99999, at=1.0)
    assert attempt.error(tmp_path) == {"kind": "no space", "message": "x" * 10, "at": 1.0}


def allocated(known: Catalog) -> Allocated:
    """Rank 0 of a task that Slurm gave 32 minutes."""
    cluster = Cluster("there", scheduler="slurm")
    made = submission.draft(known.store, cluster, [], "commit")
    asked = {"nodes": 1, "gpus": 1, "cpus": 1, "memory_gb": 4.0, "minutes": 32}
    made.arrays.append(Sent("name", "", asked, [], "", [Task([KEYS], ["0.log"])], "sent", "17"))
    made.create()
    return Allocated(cluster, made, made.arrays[0], Allocation("17_0", 0, "18", 0, "n1", 0, 1, 0, 1, 0.0))


def test_a_time_limit_is_an_error_only_before_a_checkpoint(known: Catalog) -> None:
    here, folders = allocated(known), [known.store.results / key for key in KEYS[:2]]
    for folder in folders:
        folder.mkdir(parents=True)
    time.sleep(0.05)  # a file's time is a few milliseconds behind
    (folders[0] / "checkpoint.pt").touch()
    for key in KEYS[:2]:
        here.note(key, "time limit", "back into the queue")
    assert [entry["fault"] for entry in attempt.history(folders[0])] == ["time limit"]
    assert attempt.error(folders[0]) is None
    assert (attempt.history(folders[1]), (attempt.error(folders[1]) or {})["kind"]) == ([], "time limit")
    assert here.undone(KEYS) == [KEYS[0], *KEYS[2:]]


def test_a_restart_is_noted_for_the_cell_at_work_once_and_not_for_ever(known: Catalog) -> None:
    folder = known.store.results / KEYS[0]
    here = allocated(known)
    for restart in range(1, 8):
        here.here = replace(here.here, restarts=restart)
        folder.mkdir(parents=True, exist_ok=True)
        beat = {"host": "another", "pid": 1, "born": "1", "began": time.time()}
        write_json(folder / "heartbeat.json", beat)  # a machine that is gone: its heart beat a moment ago
        here.catch_up()
        here.catch_up()
        if attempt.error(folder):
            break
    assert [entry["fault"] for entry in attempt.history(folder)] == ["restarted"] * restart
    assert restart == faults.FAULTS["restarted"].most + 1
    assert (attempt.error(folder) or {})["kind"] == "restarted"


def test_memory_that_did_not_suffice_is_told_apart(known: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    here = allocated(known)
    assert here.death(-signal.SIGKILL, peak=3.9)["kind"] == "out of memory"
    assert here.death(-signal.SIGKILL, peak=1.0) == {"node": "n1", "memory_gb": 4.0}
    assert "kind" not in here.death(1, peak=3.9)
    monkeypatch.setattr(allocation, "killed_for_memory", lambda: 1)
    assert here.death(-signal.SIGKILL, peak=1.0)["kind"] == "out of memory"
