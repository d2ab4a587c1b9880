"""Grids on a real Slurm, and what befalls them there. Everything here is real but the sbatch that dies on purpose."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Launch

from slurm import scheduler, status
from slurm.status import State
from slurm.submission import places, submissions
from suite import attempt, result
from suite.catalog import Catalog

pytestmark = pytest.mark.usefixtures("testbed")

SMALL = ("--tasks", "knn,linear", "--models", "pixels_8x8", "--datasets", "digits")
LONG = ("--tasks", "finetune", "--models", "pixels_8x8", "--datasets", "digits")
CELL = "finetune-v1/digits/pixels_8x8/0"
SHORT = ("--tasks", "finetune-short", "--models", "random-32px_timm-resnet10t", "--datasets", "digits")
SHORT_CELL = "finetune-short-v1/digits/random-32px_timm-resnet10t/0"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(launch: Launch, known: Catalog, tmp_path: Path) -> Run:
    """launch.py on the testbed; `entry` changes the cluster's entry, as a user's own file does."""

    def go(*words: object, entry: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "mine.py"
        if entry or not file.exists():
            file.write_text(
                "from dataclasses import replace\nfrom slurm.clusters.testbed import TESTBED\n"
                f"MINE = replace(TESTBED, {entry})\n"
            )
        return launch("--cluster", file, *words, **more)

    return go


@pytest.fixture(autouse=True)
def nothing_left(known: Catalog) -> Any:
    """No job outlives its test."""
    yield
    names = {array.name for sent in submissions(known.store) for array in sent.arrays}
    scheduler.cancel({seen.job for (name, _), seen in scheduler.queue().items() if name in names and seen.active})


def until(known: Catalog, *names: str, run: Run | None = None, seconds: float = 120.0) -> dict[str, State]:
    """The states once all of them are among `names`; `run` calls status meanwhile, as a user does."""
    deadline = time.monotonic() + seconds
    while True:
        now = status.states(known)
        if now and {state.name for state in now.values()} <= set(names):
            return now
        assert time.monotonic() < deadline, now
        if run:
            run("status")
        time.sleep(0.3)


def running(known: Catalog, key: str, seconds: float = 60.0) -> int:
    """The process that runs a cell."""
    deadline = time.monotonic() + seconds
    while not attempt.beats(known.store.results / key):
        assert time.monotonic() < deadline, status.states(known)
        time.sleep(0.05)
    return int(json.loads((known.store.results / key / "heartbeat.json").read_text())["pid"])


def numbers(known: Catalog, key: str) -> list[dict[str, Any]]:
    found = result.read(known.store.results, key)
    assert found
    return list(found["metrics"])


def history(known: Catalog, key: str) -> list[str]:
    return [entry["fault"] for entry in attempt.history(known.store.results / key)]


def job(known: Catalog, key: str) -> str:
    return places(submissions(known.store))[key].job


def test_the_second_grid_submits_nothing_while_the_first_is_queued(run: Run, known: Catalog) -> None:
    first = run("grid", *SMALL, entry="lines=('--hold',)")
    assert "submitted 2 cells" in first.stdout, first.stderr
    second = run("grid", *SMALL)
    assert (second.returncode, "submitted" in second.stdout) == (0, False)
    assert "2 cells: 2 queued" in second.stdout
    assert "JobHeldUser" in status.states(known)["knn-v1/digits/pixels_8x8/0"].reason
    assert "cancelled 1 cells" in run("cancel", "linear").stdout
    subprocess.run(["scontrol", "release", job(known, "knn-v1/digits/pixels_8x8/0")], check=True)
    now = until(known, "done", "absent")
    assert {key.split("-")[0]: state.name for key, state in now.items()} == {"knn": "done", "linear": "absent"}
    third = run("grid", *SMALL, "--wait", entry="pack=1")
    assert third.returncode == 0, third.stdout + third.stderr
    assert "submitted 1 cells" in third.stdout
    log = run("logs", "linear-v1/digits/pixels_8x8/0").stdout
    assert "on n" in log and "linear-v1/digits/pixels_8x8/0: " in log
    assert run("gather").returncode == 0
    used = (known.store.tables / "efficiency.csv").read_text()
    assert "mine.py" in used


def test_nothing_of_an_allocation_around_us_reaches_the_jobs(run: Run) -> None:
    inherited = {
        "SBATCH_PARTITION": "nowhere",
        "SLURM_CPU_BIND": "map_cpu:77",
        "SLURM_MEM_PER_CPU": "1",
        "SLURM_NTASKS": "9",
    }
    ran = run("grid", *SMALL, "--wait", **inherited)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_what_slurm_refuses_is_said_in_its_words(run: Run, known: Catalog) -> None:
    ran = run("grid", *SMALL, entry="partition='nowhere'")
    assert ran.returncode == 2
    assert "invalid partition specified" in ran.stderr
    assert status.states(known) == {}  # nothing waits to be refused again
    mended = run("grid", *SMALL, entry="lines=('--hold',)")
    assert "submitted 2 cells" in mended.stdout, mended.stderr


def test_requeued_in_the_middle_it_ends_with_the_numbers_of_an_unbroken_run(
    run: Run, launch: Launch, known: Catalog
) -> None:
    assert run("grid", *SHORT, "--wait").returncode == 0
    unbroken = numbers(known, SHORT_CELL)
    (known.store.results / SHORT_CELL / "result.json").unlink()
    while "submitted 1 cells" not in run("grid", *SHORT).stdout:
        time.sleep(0.2)  # its job has not ended yet
    running(known, SHORT_CELL)
    time.sleep(2)
    subprocess.run(["scancel", "--signal=USR2", job(known, SHORT_CELL)], check=True)
    while not history(known, SHORT_CELL):
        time.sleep(0.1)
    told = run("status").stdout
    assert "preempted 1x (back into the queue)" in told
    until(known, "done")
    assert numbers(known, SHORT_CELL) == unbroken
    log = run("logs", SHORT_CELL).stdout
    assert "goes on from step" in log
    assert "restart 1" in log


def test_a_killed_program_is_tried_elsewhere(run: Run, known: Catalog) -> None:
    run("grid", *SHORT)
    os.kill(running(known, SHORT_CELL), signal.SIGKILL)
    node = {place.job: seen.node for place in [places(submissions(known.store))[SHORT_CELL]]
            for (name, _), seen in scheduler.queue().items() if name == place.array.name}  # fmt: skip
    until(known, "failed")
    told = run("status")
    assert "killed: retry elsewhere" in told.stderr
    until(known, "done")
    assert history(known, SHORT_CELL) == ["killed"]
    last = submissions(known.store)[-1].arrays[0]
    assert last.avoid == list(node.values())


def test_more_memory_is_asked_for_until_it_suffices(run: Run, known: Catalog) -> None:
    run("grid", *SHORT, entry="gb_a_gpu=0.2")
    now = until(known, "done", run=run)
    assert now[SHORT_CELL].name == "done"
    assert set(history(known, SHORT_CELL)) == {"out of memory"}
    asked = [sent.arrays[0].asked["memory_gb"] for sent in submissions(known.store)]
    assert asked == [0.2 * 2**n for n in range(len(asked))]
    assert len(asked) > 1


def test_scancel_is_the_end_of_it(run: Run, known: Catalog) -> None:
    run("grid", *LONG)
    running(known, CELL)
    subprocess.run(["scancel", job(known, CELL)], check=True)
    now = until(known, "absent", "stale", run=run)
    assert "cancelled" in now[CELL].reason
    assert len(submissions(known.store)) == 1


def test_a_node_that_fails_costs_a_restart(run: Run, known: Catalog) -> None:
    run("grid", *SHORT)
    running(known, SHORT_CELL)
    place = places(submissions(known.store))[SHORT_CELL]
    node = scheduler.queue()[place.array.name, place.index].node
    subprocess.run(["scontrol", "update", f"nodename={node}", "state=down", "reason=test"], check=True)
    try:
        until(known, "done", run=run)
    finally:
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"])  # unless it is back by itself
    assert len(history(known, SHORT_CELL)) == 1


def test_while_slurm_is_away_nothing_is_known_and_nothing_lost(run: Run, known: Catalog, testbed: Path) -> None:
    run("grid", *SMALL, entry="lines=('--hold',)")
    time.sleep(8)  # slurmctld writes its state down every five seconds
    pid = int((testbed / "run/slurmctld.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    try:
        told = run("status")
        assert "unknown" in told.stdout
        assert "Slurm does not answer" in told.stdout
        assert told.returncode == 0
    finally:
        subprocess.run([ROOT / "slurm/testbed/up"], check=True, capture_output=True)
    subprocess.run(["scontrol", "release", job(known, "knn-v1/digits/pixels_8x8/0")], check=True)
    until(known, "done")


@pytest.mark.parametrize("accepted", [True, False], ids=["after sbatch", "before sbatch"])
def test_a_launcher_killed_while_it_sends(run: Run, known: Catalog, tmp_path: Path, accepted: bool) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    real = f'{shutil.which("sbatch")} "$@" > /dev/null' if accepted else "true"
    # sbatch's parent is the launcher: it dies by SIGKILL before it hears the job's number.
    (folder / "sbatch").write_text(f"#!/bin/bash\n{real}\nkill -9 $PPID\n")
    (folder / "sbatch").chmod(0o755)
    ran = run("grid", *SMALL, PATH=f"{folder}:{os.environ['PATH']}")
    assert ran.returncode == -signal.SIGKILL
    assert "submitted" not in run("grid", *SMALL).stdout
    (sent,) = submissions(known.store)
    if not accepted:  # its sbatch could still be at it
        sent.put(sent.arrays[0], at=time.time() - 60)
    until(known, "done", run=run)
    assert [one.folder for one in submissions(known.store)] == [sent.folder]
    assert len([name for name, _ in scheduler.queue() if name.startswith(sent.folder.name)]) == 1


def test_who_needs_anothers_product_waits_for_it(run: Run, known: Catalog) -> None:
    words = (
        "--tasks",
        "features,knn,linear",
        "--models",
        "pixels_8x8,random-32px_timm-resnet10t",
        "--datasets",
        "digits",
    )
    ran = run("grid", *words, "--wait", entry="pack=0, cpus_a_gpu=0")  # so that features ask for more
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (sent,) = submissions(known.store)
    first, second = sent.arrays
    assert (second.after, len(first.tasks), len(second.tasks)) == (first.name, 2, 2)
    finished = {key: result.read(known.store.results, key)["finished"] for key in status.states(known)}
    for key, need in sent.needs.items():
        assert finished[need] < finished[key]


def test_who_needs_what_failed_is_blocked_and_goes_on_when_it_is_mended(run: Run, known: Catalog) -> None:
    broken = known.store.root.parent / "photos"
    shutil.copytree(known.store.data / "digits", broken)
    image = next(broken.rglob("*.png"))
    whole = image.read_bytes()
    image.write_bytes(whole[:40].ljust(len(whole), b"\0"))  # of the same size: another size is another dataset
    words = ("--tasks", "features,knn", "--models", "pixels_8x8", "--datasets", f"imagefolder:{broken}")
    ran = run("grid", *words, "--wait", entry="cpus_a_gpu=0")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    now = {key.split("-")[0]: state for key, state in status.states(known).items()}
    assert (now["features"].name, now["knn"].name) == ("failed", "blocked")
    assert "features-v1/" in now["knn"].reason and "bad data" in now["knn"].reason
    image.write_bytes(whole)
    again = run("grid", *words, "--wait")
    assert again.returncode == 0, again.stdout + again.stderr


def test_a_model_is_pre_trained_for_those_that_need_it(run: Run, known: Catalog, tmp_path: Path) -> None:
    """Where there is nothing yet; and where its images cannot be read, the others are blocked, until they can."""
    photos, digits = tmp_path / "photos", sorted((known.store.data / "digits" / "train").glob("*/*.png"))[:80]
    photos.mkdir()
    for number, file in enumerate(digits):
        shutil.copy(file, photos / f"{number:02d}.png")
    whole = (photos / "05.png").read_bytes()
    (photos / "05.png").write_bytes(whole[:-20] + bytes(20))  # as large as before: the same data set
    grid = ("--tasks", "knn", "--models", f"simclr-short_timm-test_resnet@{photos}", "--datasets", "digits")
    sent = run("grid", *grid)
    assert "2 cells: 2 absent" in sent.stdout and "2 arrays" in sent.stdout, sent.stdout + sent.stderr
    maker, waiting = sorted(status.states(known), reverse=True)
    now = until(known, "failed", "blocked", run=run)
    assert (now[maker].name, now[waiting].name) == ("failed", "blocked")
    assert f"{maker} is failed: bad data" in now[waiting].reason and "05.png" in now[waiting].reason
    (photos / "05.png").write_bytes(whole)
    again = run("grid", *grid, "--wait")
    assert again.returncode == 0, again.stdout + again.stderr
    assert (known.store.weights / f"{maker.split('/')[2]}.safetensors").is_file()
    assert "submitted" not in run("grid", *grid).stdout


def test_two_nodes_give_what_one_process_gives(run: Run, known: Catalog) -> None:
    words = ("--tasks", "finetune-short,finetune-short-2n", "--models", "pixels_8x8", "--datasets", "digits")
    ran = run("grid", *words, "--wait")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    one, two = (f"finetune-short{nodes}-v1/digits/pixels_8x8/0" for nodes in ("", "-2n"))
    told = [{m["name"]: m["value"] for m in numbers(known, key)} for key in (one, two)]
    assert told[0]["top1"] == pytest.approx(told[1]["top1"], abs=0.01)
    found = result.read(known.store.results, two)
    assert found and found["ranks"] == 2
    nodes = re.findall(r"job \S+ on (n\d)", run("logs", two).stdout)
    assert len(set(nodes)) == 2, nodes


def test_a_window_is_topped_up_by_status(run: Run, known: Catalog) -> None:
    ran = run("grid", "--tasks", "knn,fewshot,linear,finetune-short", "--models", "pixels_8x8", "--datasets", "digits",
              "--seeds", "0-2", entry="window=2, pack=0")  # fmt: skip
    assert "submitted 10 cells" in ran.stdout, ran.stdout + ran.stderr
    (sent,) = submissions(known.store)
    assert {array.state for array in sent.arrays} == {"planned", "sent"}
    assert "waits for room" in " ".join(state.reason for state in status.states(known).values())
    until(known, "done", run=run)
    assert len(submissions(known.store)) == 1


def test_status_asks_slurm_once_for_any_number_of_cells(run: Run, known: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("squeue", "sacct", "scontrol", "sacctmgr", "sinfo"):
        (folder / name).write_text(f'#!/bin/bash\necho {name} >> {tmp_path}/calls\nexec {shutil.which(name)} "$@"\n')
        (folder / name).chmod(0o755)
    run(
        "grid",
        "--tasks",
        "fewshot",
        "--models",
        "pixels_8x8",
        "--datasets",
        "digits",
        "--seeds",
        "0-199",
        entry="lines=('--hold',)",
    )
    calls = tmp_path / "calls"
    told = run("status", PATH=f"{folder}:{os.environ['PATH']}")
    assert "│ 200 " in told.stdout
    assert calls.read_text().split() == ["squeue"]
    run("cancel")
    calls.unlink()
    run("status", PATH=f"{folder}:{os.environ['PATH']}")
    assert not calls.exists()  # the files say everything


def test_preemption_sends_a_job_back_and_it_goes_on(run: Run, known: Catalog) -> None:
    run("grid", *SHORT, entry="partition='low'")
    running(known, SHORT_CELL)
    node = scheduler.queue()[(place := places(submissions(known.store))[SHORT_CELL]).array.name, place.index].node
    words = (
        "sbatch",
        "--parsable",
        "--partition=high",
        f"--nodelist={node}",
        "--exclusive",
        "--mem=0",
        "--wrap=sleep 3",
    )
    high = subprocess.run([*words, "--output=/dev/null"], capture_output=True, text=True, check=True).stdout.strip()
    try:
        until(known, "done", run=run)
    finally:
        subprocess.run(["scancel", high])
    assert history(known, SHORT_CELL) == ["preempted"]


def test_the_time_limit_sends_a_job_back_with_its_checkpoint(run: Run, known: Catalog) -> None:
    # Slurm warns up to half a minute early: here 20 to 50 s after the job's start, time for a first checkpoint.
    run("grid", *LONG, entry="hours=1/60, grace=10")
    running(known, CELL)
    deadline = time.monotonic() + 120
    while not history(known, CELL):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    (entry,) = attempt.history(known.store.results / CELL)
    assert (entry["fault"], entry["progress"]) == ("time limit", True)
    assert status.states(known)[CELL].name == "queued"
