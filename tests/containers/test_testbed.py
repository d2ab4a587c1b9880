"""The containers' testbed: what it brings up works, and its scripts touch nothing that is not theirs."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbeds import command

TESTBED = Path(__file__).resolve().parent.parent.parent / "containers" / "testbed"
QUICK = "-comp zstd -Xcompression-level 1"  # squashfs as gzip takes ten times as long


def run(*words: object, code: int = 0, **more: str) -> str:
    """What a command says, both streams, if it ends with `code`."""
    command, environment = [*map(str, words)], os.environ | more
    ran = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, env=environment
    )
    assert ran.returncode == code, ran.stdout
    return ran.stdout


def run_as(user: str, *words: object) -> str:
    """The same as another user, at home."""
    home = Path("~" + user).expanduser()
    return run("runuser", "-u", user, "--", "env", "-C", home, f"HOME={home}", f"USER={user}", *words)


@pytest.fixture(scope="module")
def image(docker: str, base: Path) -> Iterator[str]:
    run("docker", "import", base, "testbed:base")
    yield "testbed:base"
    run("docker", "rmi", "testbed:base")


def test_up_again_changes_nothing(apptainer: str, docker: str, base: Path) -> None:
    files = [Path(apptainer), base, *base.parent.glob("run/*.pid")]
    before = [(file, file.stat().st_ino, file.stat().st_mtime_ns) for file in files]
    told = run(TESTBED / "up")
    assert told.splitlines() == [
        f"everything is up already, in {base.parent}",
        f"apptainer: {apptainer}",
        f"export DOCKER_HOST={docker}",
        f"base: {base}",
    ]
    assert [(file, file.stat().st_ino, file.stat().st_mtime_ns) for file in files] == before


def test_an_unknown_part_is_refused() -> None:
    if os.geteuid() != 0:
        pytest.skip("the scripts need root")
    told = run(TESTBED / "up", "dokcer", code=1)
    assert told == "containers/testbed/up: unknown: dokcer; there are apptainer docker podman base registry\n"


def test_an_ordinary_user_builds_an_image_and_runs_it(apptainer: str, base: Path, ordinary: str) -> None:
    home = Path("~" + ordinary).expanduser()
    (home / "base.def").write_text(
        f"Bootstrap: scratch\n%setup\n tar -C $APPTAINER_ROOTFS -xf {base}\n%post\n id -u >/builder\n"
    )
    run_as(ordinary, apptainer, "build", "--mksquashfs-args", QUICK, "base.sif", "base.def")
    show = ["exec", home / "base.sif", "sh", "-c", "cat /builder; . /etc/os-release; echo $ID; id -un"]
    assert run_as(ordinary, apptainer, "-s", *show) == f"0\ndebian\n{ordinary}\n"
    assert run(apptainer, "-s", *show) == "0\ndebian\nroot\n"


def test_root_builds_an_image(apptainer: str, base: Path, tmp_path: Path) -> None:
    recipe, built = tmp_path / "base.def", tmp_path / "base.sif"
    recipe.write_text(f"Bootstrap: scratch\n%setup\n tar -C $APPTAINER_ROOTFS -xf {base}\n%post\n chown 7:7 /mnt\n")
    run(apptainer, "build", "--mksquashfs-args", QUICK, built, recipe)
    assert run(apptainer, "-s", "exec", built, "stat", "-c", "%u:%g", "/mnt") == "7:7\n"


def test_docker_runs_the_base(image: str, ordinary: str) -> None:
    shown = run_as(ordinary, "docker", "run", "--rm", "--network=none", image, "sh", "-c", "id -u; ls /dev/null")
    assert shown == "0\n/dev/null\n"


def test_podman_runs_what_docker_saved(podman: dict[str, str], image: str, tmp_path: Path) -> None:
    odd = tmp_path / 'a "b", c'
    odd.mkdir()
    (odd / "file").write_text("read\n")
    run("docker", "save", "--output", tmp_path / "saved.tar", image)
    assert f"localhost/{image}" in run("podman", "load", "--input", tmp_path / "saved.tar")
    mount = f"""type=bind,"source={str(odd).replace('"', '""')}",target=/mnt,readonly"""
    show = "cat /mnt/file; touch /mnt/more 2>/dev/null || echo readonly"
    assert run("podman", "run", "--rm", "--init", "--mount", mount, image, "sh", "-c", show) == "read\nreadonly\n"
    run("podman", "rmi", image)


def test_the_registry_keeps_what_is_pushed(registry: str, image: str) -> None:
    name = f"{registry}/{image}"
    run("docker", "tag", image, name)
    run("docker", "push", "--quiet", name)
    run("docker", "rmi", name)
    assert run("docker", "pull", "--quiet", name) == f"{name}\n"
    assert json.loads(run("docker", "inspect", name))[0]["RepoTags"] == [image, name]
    run("docker", "rmi", name)


@pytest.mark.parametrize(("script", "place"), [("up", "FOLDER"), ("down", "FOLDER"), ("up", "DATA")])
def test_a_folder_that_is_not_ours_is_left_alone(docker: str, tmp_path: Path, script: str, place: str) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    (theirs / "thesis.tex").touch()
    places = {"FOLDER": str(ours), "DATA": str(ours)} | {place: str(theirs)}
    assert f"{theirs} is not " in run(TESTBED / script, code=1, **places)
    assert [file.name for file in theirs.iterdir()] == ["thesis.tex"]
    assert not ours.exists()


def test_a_folder_too_deep_for_sockets_is_refused(docker: str, tmp_path: Path) -> None:
    deep = {"FOLDER": str(tmp_path / ("x" * 62)), "DATA": str(tmp_path / "data")}
    assert "a socket's path is at most 107" in run(TESTBED / "up", "docker", code=1, **deep)
    run(TESTBED / "down", **deep)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a shorter path than pytest's own; in memory, where images are quickly removed."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        yield Path(folder)


def test_down_ends_only_its_own(docker: str, base: Path, short: Path) -> None:
    """A second testbed, whose dockerd dies and leaves a container; old pid files that name other processes."""
    bed, data = short / "bed", short / "data"
    own = {"FOLDER": str(bed), "DATA": str(data)}
    theirs = (base.parent / "run/dockerd.pid").read_text()
    run(TESTBED / "up", "docker", **own)
    host = ["docker", "--host", f"unix://{bed}/docker/docker.sock"]
    run(*host, "import", base, "bed")
    run(*host, "run", "--detach", "--network=host", "bed", "sleep", "4321")
    os.kill(int((bed / "run/dockerd.pid").read_text()), 9)
    with subprocess.Popen(["sleep", "60"]) as bystander:
        (bed / "run/dockerd.pid").write_text(theirs)
        (bed / "run/docker-registry.pid").write_text(f"{bystander.pid}\n")
        assert run(TESTBED / "down", **own) == f"the testbed in {bed} is down\n"
        assert bystander.poll() is None
        bystander.kill()
    assert not list(short.iterdir())
    assert str(short) not in Path("/proc/self/mountinfo").read_text()
    words = [command(file.parent.name) for file in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [word for word in words if str(short).encode() in word or word == b"sleep\x004321\x00"]
    assert run(TESTBED / "down", **own) == f"no testbed in {bed}\n"
    assert run(TESTBED / "up", "docker").startswith("everything is up already")
