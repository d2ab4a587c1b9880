"""Real container runtimes on this machine, each brought up when a test first asks for it, up for the whole session."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testbeds import testbed

__all__ = ["testbed"]

TESTBED = Path(__file__).resolve().parent.parent.parent / "containers" / "testbed"
MEMORY = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp")
FOLDER = Path(os.environ.get("FOLDER") or MEMORY / "containers-testbed")

# Brings one part of the testbed up; what `up` tells of it, by name.
Bring = Callable[[str], dict[str, str]]


def script(name: str, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
    """containers/testbed/NAME as a process."""
    command = [str(TESTBED / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=os.environ | more)


def required() -> bool:
    """Is a runtime that cannot be had a failure, not a skip?"""
    return bool(os.environ.get("CI")) or "1" in (os.environ.get("REQUIRE_SLURM"), os.environ.get("REQUIRE_CONTAINERS"))


def impossible() -> str:
    """Why no testbed can run here; empty if one can."""
    if os.geteuid() != 0:
        return "the containers' testbed installs packages and starts daemons, which needs root"
    if not shutil.which("apt-get"):
        return "no apt-get to install container runtimes with"
    return ""


@pytest.fixture(scope="session")
def bring() -> Iterator[Bring]:
    """A testbed that was up before the tests is used, and left running."""
    before = FOLDER.is_dir()

    def up(part: str) -> dict[str, str]:
        why, said = impossible(), ""
        if not why:
            made = script("up", part)
            said = made.stdout
            why = "" if made.returncode == 0 else f"no {part}: {said}{made.stderr}"
        if why and not required():
            pytest.skip(why)
        assert not why, why
        lines = [line for line in said.splitlines() if line.startswith((f"{part}: ", "export "))]
        return dict(line.removeprefix("export ").replace(": ", "=", 1).split("=", 1) for line in lines)

    yield up
    if not before and FOLDER.is_dir():
        script("down").check_returncode()


@pytest.fixture(scope="session")
def apptainer(bring: Bring) -> str:
    """The path of an Apptainer that works, for root and for ordinary users."""
    return bring("apptainer")["apptainer"]


@pytest.fixture(scope="session")
def docker(bring: Bring) -> Iterator[str]:
    """The address of a dockerd, in DOCKER_HOST too."""
    with pytest.MonkeyPatch.context() as environment:
        told = bring("docker")
        environment.setenv("DOCKER_HOST", told["DOCKER_HOST"])
        yield told["DOCKER_HOST"]


@pytest.fixture(scope="session")
def podman(bring: Bring) -> Iterator[dict[str, str]]:
    """The two variables that make podman work here (for root), which are set."""
    with pytest.MonkeyPatch.context() as environment:
        told = bring("podman")
        for name, value in told.items():
            environment.setenv(name, value)
        yield told


@pytest.fixture(scope="session")
def base(bring: Bring) -> Path:
    """A Debian root file system as a tar file, without Python."""
    return Path(bring("base")["base"])


@pytest.fixture(scope="session")
def registry(bring: Bring) -> str:
    """The address of a registry without https."""
    return bring("registry")["registry"]


@pytest.fixture(scope="session")
def ordinary() -> Iterator[str]:
    """The name of a user who may do what users of a cluster may, and use dockerd; with a home, gone at the end."""
    if os.geteuid() != 0:
        pytest.skip("making a user needs root")
    name = f"ordinary{os.getpid()}"
    # Where there is no docker yet: its package would make the same group, but after this user.
    subprocess.run(["groupadd", "--force", "--system", "docker"], check=True)
    subprocess.run(["useradd", "--create-home", "--groups", "docker", "--shell", "/bin/bash", name], check=True)
    yield name
    subprocess.run(["userdel", "--force", "--remove", name], capture_output=True)  # complains that there is no mail
