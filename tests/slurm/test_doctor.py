"""Doctor: what it finds on the testbed, on clusters that are wrong in one way, and where Slurm is not or is silent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from slurm import doctor, partition, probe, runtime
from slurm.cluster import Cluster, find
from slurm.doctor import examine
from slurm.ground import Ground
from slurm.probe import Answer, Node
from slurm.runtime import Finding
from suite import image
from suite.store import Store, lock, write_text
from suite.task import Resources

Launch = Callable[..., CompletedProcess[str]]
TESTBED = find("testbed")


def examined(cluster: Cluster, tmp_path: Path, **more: float) -> list[Finding]:
    """What is found on a cluster; and nothing is left of the probe."""
    store = Store(tmp_path / "store")
    found = list(examine(cluster, store, **more))
    assert not list(store.root.glob("**/.*"))
    queue = ["squeue", "--noheader", "--states=PENDING,RUNNING", "--format=%j"]
    assert "doctor-" not in subprocess.run(queue, capture_output=True, text=True).stdout
    return found


def test_the_testbed_is_well(testbed: Path, launch: Launch, tmp_path: Path) -> None:
    began = time.monotonic()
    ran = launch("--cluster", "testbed", "doctor")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert time.monotonic() - began < 15
    told = re.sub(r"\d of 4 nodes", "COUNT of 4 nodes", re.sub(r"\bn\d: ", "NODE: ", ran.stdout))
    for line in (
        "ok  Slurm 22.05.8 of testbed answers",
        "ok  job arrays of up to 1001 tasks, 20000 tasks in the queue at once",
        "ok  slurmdbd keeps accounts",
        "ok  ended jobs stay in the queue for 300 sec (MinJobAge)",
        "ok  partition main sets no time limit",
        f"ok  NODE: Python {'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})",
        "ok  NODE: the same checkout as here",
        "ok  NODE: packages of the jobs all there",
        f"ok  NODE: {tmp_path / 'store'} can be written",
        "ok  NODE: sees this machine's locks on the store",
    ):
        assert line in told.splitlines()
    for start in (
        "partition main: COUNT of 4 nodes up, of up to 2 GPUs, ",
        "sbatch takes the jobs of linear, ",
        "NODE: container runtime: ",
        "NODE: 1 CPU asked for, ",
        "NODE: 1 GPU asked for, ",
        "clocks of this machine, ",
    ):
        assert f"ok  {start}" in told
    assert " cores may be used" not in told
    assert not list((tmp_path / "store").glob("**/.*"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"partition": "mian"}, r"no partition mian; there are: high, low, main; `partition`"),
        ({"account": "nope"}, r"account nope is not among yours: root; `account`"),
        ({"constraint": "h100"}, r"sbatch does not take .*: allocation .* feature specification; `constraint`"),
        ({"gres": "gpu:h100:{gpus}"}, r"no node has what it takes for the jobs of .*; `cpus_a_gpu`"),
        ({"cpus_a_gpu": 500}, r"no node .*1 GPU, 500 CPUs, \d+ GB\): they would wait for ever; `cpus"),
        ({"gb_a_gpu": 5000}, r"no node .*1 GPU, \d+ CPUs?, 5000 GB\): they would wait for ever; `cpus_a_gpu`"),
        ({"python": "/no/python"}, r"the probe failed on n\d: .*/no/python: No such file or directory; this checkout"),
        ({"lines": ("--hold",)}, r"the probe would wait for ever: JobHeldUser; see"),
        ({"srun": False, "lines": ("--output=/dev/null",)}, r"the probe ended on n\d \(completed\), and nothing"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_entry(
    testbed: Path, tmp_path: Path, change: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "CACHE_SECONDS", 0.1)
    found = [f"{one.seen}; {one.remedy}" for one in examined(replace(TESTBED, **change), tmp_path) if not one.well]
    assert found
    assert all(re.match(words, one) for one in found), found


def test_a_probe_that_only_waits_proves_nothing(testbed: Path, tmp_path: Path) -> None:
    later = replace(TESTBED, lines=("--begin=now+1hour",))
    *found, last = examined(later, tmp_path, patience=1)
    assert all(one.well for one in found)
    assert last == Finding(True, "no node was free within 1 s (BeginTime): compute nodes not looked at")


APPTAINER = """case "$1" in
--version) echo apptainer version 1.4.5 ;;
build) echo --build-arg ;;
exec) [ "$2" = --help ] && echo --cleanenv --no-home --no-mount --bind --nv --pwd && exit
  [ -n "$SLURM_JOB_ID" ] && echo "INFO: Converting SIF file to temporary sandbox..." >&2; [ -f "$5" ] ;;
esac"""


@pytest.fixture
def stocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that has all images, and an Apptainer on PATH that must unpack them on nodes."""
    images = tmp_path / "store/images"
    for name in image.names():
        record = {"name": name, "file": f"{name}.sif", "digest": "d", "recipe": image.recipe(name), "cuda": "13.0"}
        write_text(images / f"{name}.sif", "")
        write_text(images / f"{name}.json", json.dumps(record))
    write_text(tmp_path / "bin/apptainer", f"#!/bin/sh\n{APPTAINER}\n")
    (tmp_path / "bin/apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(runtime, "BUILD_GB", 0.0)
    monkeypatch.setattr(runtime, "IMAGE_GB", 0.0)
    return images


def test_images_on_this_machine(tmp_path: Path, stocked: Path) -> None:
    here = Cluster("here", runtime="apptainer")

    def bad() -> list[str]:
        found = [one for one in examine(here, Store(tmp_path / "store")) if "core" in one.seen or "image s" in one.seen]
        return [f"{one.seen}; {one.remedy}" for one in found if not one.well]

    assert bad() == []
    for one in stocked.glob("*.sif"):
        one.unlink()
    assert [line for line in bad() if "core" in line] == [
        "no image core for apptainer; launch.py build core, or launch.py pull core"
    ]
    (stocked / "core.json").write_text("{")
    (broken,) = [one for one in examine(here, Store(tmp_path / "store")) if "core.json" in one.seen]
    assert (broken.well, bool(broken.remedy)) == (False, True)


def test_images_on_a_node(testbed: Path, tmp_path: Path, stocked: Path) -> None:
    entry = replace(TESTBED, runtime="apptainer", scratch=f"{tmp_path}/$SLURM_JOB_ID")
    found = examined(entry, tmp_path)
    seen = [one.seen for one in found if not one.well]
    assert len(seen) == 1, seen  # the login node starts nothing
    assert re.match(r"n\d: an image is unpacked at every start, which took \d+\.\d s$", seen[0])
    assert any(re.search(rf"free in the store, \d+ GB in {tmp_path}/\d+$", one.seen) for one in found)
    assert not any("packages of the jobs" in one.seen for one in found)


def commands(folder: Path, **programs: str) -> str:
    """A PATH that has shell programs in place of Slurm's commands."""
    for name in doctor.COMMANDS:
        (folder / name).write_text(f"#!/bin/sh\n{programs.get(name, 'exit 1')}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    *_, last = examine(TESTBED, Store(tmp_path / "store"))
    assert last.seen == "no sbatch, scancel, scontrol, sinfo, squeue on PATH"
    assert "login node" in last.remedy
    assert not last.well


@pytest.mark.parametrize(
    ("scontrol", "words"),
    [
        ("exec /bin/sleep 60", "scontrol did not answer within 0 s"),
        ("echo Unable to contact slurm controller >&2; exit 1", "Unable to contact slurm controller"),
    ],
)
def test_a_controller_that_does_not_answer(
    tmp_path: Path, scontrol: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "ANSWER_SECONDS", 0.3)
    monkeypatch.setenv("PATH", commands(tmp_path, scontrol=scontrol))
    *_, last = examine(TESTBED, Store(tmp_path / "store"))
    assert (last.well, last.seen) == (False, f"Slurm's controller does not answer: {words}")


def test_a_controller_that_falls_silent_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = "echo Socket timed out on send/recv operation >&2; exit 1"
    monkeypatch.setenv("PATH", commands(tmp_path, scontrol="echo MaxArraySize = 1001", sinfo=silent))
    *_, last = examine(TESTBED, Store(tmp_path / "store"))
    assert (last.well, last.seen) == (False, "Socket timed out on send/recv operation")


def test_without_accounting_all_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = "echo 'AccountingStorageType = accounting_storage/none'"
    sinfo = "echo 'main*|2-12:30:00|8|64000|gpu:2|4|down*'"
    monkeypatch.setenv("PATH", commands(tmp_path, scontrol=config, sinfo=sinfo))
    found = list(examine(replace(TESTBED, hours=100), Store(tmp_path / "store")))
    seen = {one.seen: one.well for one in found}
    assert seen["no slurmdbd: none is needed, results and the queue tell all"]
    assert not seen["partition main: 0 of 4 nodes up, of up to 2 GPUs, 8 CPUs, 62 GB"]
    (limit,) = [one for one in found if "takes jobs of" in one.seen]
    assert (
        limit.seen
        == "partition main takes jobs of 60.5 hours, and the entry allows 100: longer ones would wait for ever"
    )
    assert (limit.well, limit.remedy) == (False, "hours=60.5 in the cluster's entry")


def test_a_store_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    found = [one.seen for one in examine(TESTBED, Store(tmp_path / "file/store")) if not one.well]
    assert found[0] == f"{tmp_path}/file/store cannot be written: Not a directory"


def node(**changes: Any) -> Node:
    well: dict[str, Any] = {
        "host": "n0", "python": "3.11.2", "executable": "/usr/bin/python3", "checkout": probe.checkout(), "absent": [],
        "began": 1000.0, "ahead": 0.0, "unwritable": "", "lock": "held", "store_gb": 500.0, "tmp": "/tmp",
        "tmp_gb": 50.0, "gpus": 1, "cores": 8, "cpus": 64,
    }  # fmt: skip
    return Node(**well | changes)


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"cores": 128}, ""),
        ({"cpus": 4, "cores": 4}, ""),
        ({"checkout": "another"}, "n0: another checkout than here"),
        ({"absent": ["torch", "timm"]}, "n0: packages of the jobs missing: torch, timm"),
        ({"unwritable": "Read-only file system"}, "n0: /there cannot be written: Read-only file system"),
        ({"lock": "free"}, "n0: does not see this machine's locks on the store"),
        ({"lock": "Function not implemented"}, "n0: no locks on the store: Function not implemented"),
        ({"tmp_gb": 0.2}, "n0: 500 GB free in the store, 0 GB in /tmp"),
        ({"tmp_trouble": "cannot be written"}, "n0: 500 GB free in the store, 50 GB in /tmp, which cannot be written"),
        ({"absent": ["torch"], "ground": Ground("docker", there=["docker"])}, ""),  # the image has the packages
        ({"cores": 1}, "n0: 8 CPUs asked for, 1 of its 64 may be used"),
    ],
)
def test_what_a_node_must_have(changes: dict[str, Any], seen: str) -> None:
    found = [one for one in doctor._node(node(**changes), Store(Path("/there")), Resources()) if not one.well]
    assert [one.seen for one in found] == ([seen] if seen else [])
    assert all(one.remedy for one in found)


@pytest.mark.parametrize(
    ("here", "ahead", "began", "apart"),
    [
        (0.0, 0.0, 1000.0, 0.0),
        (3.0, 3.0, 1000.0, 3.0),  # both of us against the file server
        (1.5, -1.5, 1000.0, 3.0),  # each other
        (0.0, 0.0, 990.0, 9.0),  # before we sent the probe: clients that set files' times themselves
        (0.0, 0.0, 1010.0, 8.0),
    ],
)
def test_clocks(here: float, ahead: float, began: float, apart: float) -> None:
    found = doctor._clocks(node(ahead=ahead, began=began), here, 999.0, 1002.0)
    assert found.seen == f"clocks of this machine, n0 and the file server are {apart:.1f} s apart"
    assert found.well == (apart < 2)


def test_a_file_servers_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs(probe.ahead(tmp_path)) < 0.1
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 60)
    assert -60.5 < probe.ahead(tmp_path) < -59.5
    assert not list(tmp_path.iterdir())


def test_a_probe_that_hangs_is_bad_and_one_that_waits_is_not() -> None:
    def told(*answer: str) -> Finding:
        return doctor._unanswered(Answer(*answer), Store(Path("/there")), 90)  # type: ignore[arg-type]

    assert told("PENDING", "Resources").well
    assert "squeue says nothing" in told("").seen
    hangs = told("RUNNING", "None", "n3")
    assert (hangs.well, hangs.seen) == (False, "the probe on n3 did not end within 90 s (running)")
    assert told("FAILED", "RaisedSignal", "n3").seen.startswith("the probe ended on n3 (failed), and nothing")


def test_who_holds_a_lock_is_seen(tmp_path: Path) -> None:
    assert probe.locked(tmp_path / "lock") == "free"
    with lock(tmp_path / "lock"):
        other = [sys.executable, "-c", "import sys; from pathlib import Path; from slurm import probe\n"
                 "print(probe.locked(Path(sys.argv[1])))", str(tmp_path / "lock")]  # fmt: skip
        ran = subprocess.run(other, capture_output=True, text=True, cwd=Path(doctor.__file__).parent.parent)
        assert ran.stdout == "held\n", ran.stderr
    assert probe.locked(tmp_path / "no/such") == "free"
    (tmp_path / "file").touch()
    assert probe.locked(tmp_path / "file/lock") in ("Not a directory", "File exists")


@pytest.mark.parametrize(
    ("gres", "counted"),
    [
        ("(null)", {}),
        ("", {}),
        ("gpu", {"gpu": 1}),
        ("gpu:2", {"gpu": 2}),
        ("gpu:a100:4(S:0-1),gpu:v100:2(S:0,1)", {"gpu": 6, "gpu:a100": 4, "gpu:v100": 2}),
        ("gpu:1g.10gb:7,shard:28", {"gpu": 7, "gpu:1g.10gb": 7, "shard": 28}),
        ("localtmp:2K", {"localtmp": 2048}),
    ],
)
def test_gres_are_counted(gres: str, counted: dict[str, int]) -> None:
    assert partition.counts(gres) == counted


def test_time_limits_are_read() -> None:
    told = ["30:00", "12:00:00", "7-00:00:00", "infinite", "n/a"]
    assert [partition.hours(one) for one in told] == [0.5, 12, 168, float("inf"), float("inf")]


def test_a_partition_is_chosen_as_sbatch_does() -> None:
    told = (
        "gpu*|infinite|64|500000|gpu:8|3|mix\ngpu*|infinite|64|500000|gpu:8|1|drain\nlong|1-0:0:0|8|9000|(null)|2|idle*"
    )
    nodes = partition.parse(told)
    assert [(one.count, one.up) for one in partition.of("", nodes)] == [(3, True), (1, False)]
    assert [one.partition for one in partition.of("long,gpu", nodes)] == ["gpu", "gpu", "long"]
    assert [one.up for one in partition.of("long", nodes)] == [False]
    assert partition.of("other", nodes) == []
