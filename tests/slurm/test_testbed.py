"""The testbed's scripts: on the session's own testbed as far as it bears it, else on one in namespaces of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

TESTBED = Path(__file__).resolve().parent.parent.parent / "slurm" / "testbed"
ETC = Path("/etc/slurm")
# What `ip` does, which need not be there. Slurm listens only where there is an address outside 127.0.0.0/8.
LOOPBACK = """
import fcntl, socket, struct
some = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(some, 0x8914, struct.pack("16sh14x", b"lo", 1))
fcntl.ioctl(some, 0x8916, struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton("192.0.2.1")))
"""


def run(*words: object, code: int = 0) -> str:
    """What a command says, both streams, if it ends with `code`."""
    ran = subprocess.run([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert ran.returncode == code, ran.stdout
    return ran.stdout


def alone(tmp_path: Path, program: str, code: int = 0) -> str:
    """Runs a program of the shell where processes, network and /etc/slurm are its own, and end with it."""
    etc = tmp_path / "etc"
    etc.mkdir(exist_ok=True)
    shell = f"""set -e
        mount --bind {etc} {ETC}
        {sys.executable} -c '{LOOPBACK}'
        up() {{ {TESTBED}/up "$@"; }}; down() {{ {TESTBED}/down "$@"; }}
        {program}"""
    own = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return run(*own, "bash", "-c", shell, code=code)


def eventually(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.2)


def test_up_again_changes_nothing(testbed: Path) -> None:
    pids = {file.name: file.read_text() for file in (testbed / "run").glob("*.pid")}
    told = run(TESTBED / "up")
    assert told.startswith(f"everything is up already, in {testbed}\n")
    assert told.endswith("\nnext: python launch.py --cluster testbed grid demo --wait\n")
    assert {file.name: file.read_text() for file in (testbed / "run").glob("*.pid")} == pids
    assert len(pids) == 8


def test_a_second_testbed_is_refused(testbed: Path, tmp_path: Path) -> None:
    told = run(TESTBED / "up", tmp_path / "other", code=1)
    assert told == f"slurm/testbed/up: there is a testbed in {testbed} already: slurm/testbed/down ends it\n"
    assert not (tmp_path / "other").exists()


def test_down_ends_only_its_own(testbed: Path, tmp_path: Path) -> None:
    """Of a folder whose pid files are old; the pids are another program's, another testbed's, nobody's, a zombie's."""
    with subprocess.Popen(["sleep", "60"]) as bystander, subprocess.Popen(["true"]) as zombie:
        old = tmp_path / "old"
        (old / "run").mkdir(parents=True)
        (old / ".slurm-testbed").touch()
        theirs = (testbed / "run/slurmctld.pid").read_text()
        for name, pid in {
            "munged": bystander.pid,
            "slurmctld": theirs,
            "slurmdbd": 4194303,
            "slurmd-n0": zombie.pid,
        }.items():
            (old / "run" / f"{name}.pid").write_text(str(pid))
        job = run("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true").strip()
        run(TESTBED / "down", old)
        assert bystander.poll() is None
        bystander.kill()
    assert not old.exists()
    assert run("squeue", "--noheader", "--jobs", job, "--format=%T") == "PENDING\n"
    run("scancel", job)
    assert "everything is up already" in run(TESTBED / "up")


@pytest.mark.parametrize("script", ["up", "down"])
def test_a_folder_that_is_not_a_testbeds_is_left_alone(testbed: Path, tmp_path: Path, script: str) -> None:
    (tmp_path / "thesis.tex").touch()
    assert run(TESTBED / script, tmp_path, code=1).endswith(f"{tmp_path} is not a testbed's: name another\n")
    assert (tmp_path / "thesis.tex").exists()


def test_another_clusters_configuration_is_left_alone(testbed: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/slurm.conf").write_text("ClusterName=real\n")
    told = alone(tmp_path, f"down {tmp_path}/bed; up {tmp_path}/bed", code=1)
    assert "/etc/slurm/slurm.conf is another cluster's" in told
    assert [file.read_text() for file in (tmp_path / "etc").iterdir()] == ["ClusterName=real\n"]


def test_from_nothing_to_nothing(testbed: Path, tmp_path: Path) -> None:
    """Up, a reboot in the middle, down, down; with as many nodes as asked for."""
    told = alone(
        tmp_path,
        f"""NODES=2 CPUS=4 GPUS=1 up {tmp_path}/bed
        sinfo --noheader --partition=main --format='nodes %D %c %G'
        queued=$(sbatch --parsable --hold --output=/dev/null --wrap=true)
        sbatch --parsable --output={tmp_path}/stubborn --wrap='trap "" TERM; while :; do echo I run; sleep 0.1; done'
        sleep 7                                                  # slurmctld saves its state every 5 s
        kill -KILL $(cat {tmp_path}/bed/run/*.pid)               # stale pid files, sockets and locks
        NODES=2 CPUS=4 GPUS=1 up
        echo queue $(squeue --noheader --jobs=$queued --format=%T)
        kill -KILL $(cat {tmp_path}/bed/run/slurmctld.pid)
        down                                                     # with nobody to cancel the job
        wc -c < {tmp_path}/stubborn; sleep 1; wc -c < {tmp_path}/stubborn
        down {tmp_path}/bed
        echo left $(grep -lsE '^(slurm|munged|mariadbd)' /proc/[0-9]*/cmdline)""",
    )
    assert "started in" in told
    assert "nodes 2 4 gpu:1\n" in told
    assert "queue PENDING\n" in told
    *_, then, later, nothing, left = told.splitlines()
    assert then == later
    assert nothing.startswith("no testbed in ")
    assert left == "left"
    assert not (tmp_path / "bed").exists()
    assert not list((tmp_path / "etc").iterdir())


def test_a_dead_slurmctld_comes_back_with_its_queue(testbed: Path, tmp_path: Path) -> None:
    held = run("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true").strip()
    words = ["--mem=100M", f"--output={tmp_path}/out", "--wrap=for k in $(seq 15); do sleep 1; done; echo the end"]
    running = run("sbatch", "--parsable", *words).strip()
    eventually(lambda: run("squeue", "--noheader", "--jobs", running, "--format=%T") == "RUNNING\n")
    time.sleep(7)  # slurmctld saves its state every 5 s; what is younger is lost, here as on a real cluster
    os.kill(int((testbed / "run/slurmctld.pid").read_text()), 9)
    assert f"started in {testbed}: slurmctld\n" in run(TESTBED / "up")
    assert run("squeue", "--noheader", "--sort=i", "--jobs", f"{held},{running}", "--format=%T") == "PENDING\nRUNNING\n"
    eventually(lambda: "COMPLETED" in run("sacct", "-nXP", "--jobs", running, "--format=State"))
    assert (tmp_path / "out").read_text() == "the end\n"
    run("scancel", held)


def test_memory_is_enforced(testbed: Path, tmp_path: Path) -> None:
    program = "python3 -c 'import time; kept = bytes(1) * 10**9; time.sleep(30)'"
    job = run("sbatch", "--parsable", "--mem=200M", f"--output={tmp_path}/out", f"--wrap={program}").strip()
    eventually(lambda: "FAILED" in run("sacct", "-nXP", "--jobs", job, "--format=State"))
    assert "exceeded memory limit" in (tmp_path / "out").read_text()
