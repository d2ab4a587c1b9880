"""The testbed: a real Slurm on this machine, up for the whole session."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTBED = Path(__file__).resolve().parent.parent / "slurm" / "testbed"


def script(name: str, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
    """slurm/testbed/NAME as a process."""
    command = [str(TESTBED / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=os.environ | more)


def folder() -> Path:
    """Where the testbed is, by the first line of its configuration; a folder that is not there if there is none."""
    configuration = Path("/etc/slurm/slurm.conf")
    first = configuration.read_text().partition("\n")[0] if configuration.exists() else ""
    return Path(first.rpartition("# Slurm testbed in ")[2] or "/nonexistent")


def impossible() -> str:
    """Why no testbed can run here; empty if one can."""
    if os.geteuid() != 0:
        return "the testbed starts daemons, which needs root"
    if not (shutil.which("apt-get") or shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin")):
        return "neither Slurm nor apt-get to install it with"
    return ""


@pytest.fixture(scope="session")
def testbed() -> Iterator[Path]:
    """The folder of a running testbed; one that ran before the tests is used, and left running."""
    why = impossible()
    if why and not (os.environ.get("CI") or os.environ.get("REQUIRE_SLURM") == "1"):
        pytest.skip(why)
    assert not why, why
    before = folder().is_dir()
    made = script("up")
    assert made.returncode == 0, made.stdout + made.stderr
    yield folder()
    if not before:
        script("down").check_returncode()


def command(pid: object) -> bytes:
    """The words of a process, each with a NUL behind it; nothing of one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
