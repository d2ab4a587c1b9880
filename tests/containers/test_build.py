"""How images come into a store, and how programs run in them: real runtimes, and a small image of Debian's Python."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import ROOT, Launch
from testbeds import command

from slurm import build, builder, engine
from slurm.cluster import Cluster
from slurm.container import ENGINES, Inside, enter
from suite import image
from suite.entry import Refusal
from suite.image import Image
from suite.store import Store

QUICK = "-comp zstd -Xcompression-level 1"
RECIPE = """FROM {base}
RUN apt-get update -qq && apt-get install -qq --no-install-recommends python3 >/dev/null
RUN mkdir -p /opt/venv/bin /opt/image && ln -s /usr/bin/python3 /opt/venv/bin/python
COPY manifest.json /opt/image/
"""
MANIFEST = {"image": "core", "recipe": "small", "commit": "c0", "base": "debian", "prefix": "/usr", "cuda": None}


@dataclass(frozen=True)
class Small:
    """A small image that passes for `core`: a tar of Docker's, and the SIF that Apptainer makes of it."""

    tar: Path
    sif: Path
    id: str


def run(*words: object, cwd: Path | None = None) -> str:
    ran = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=600, cwd=cwd)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.strip()


@pytest.fixture(scope="module")
def small(docker: str, apptainer: str, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    folder = tmp_path_factory.mktemp("small")
    made = Small(folder / "small.tar", folder / "small.sif", "")
    run("docker", "import", base, "small:base")
    (folder / "context").mkdir()
    (folder / "context/Dockerfile").write_text(RECIPE.format(base="small:base"))
    (folder / "context/manifest.json").write_text(json.dumps(MANIFEST))
    run("env", "DOCKER_BUILDKIT=0", "docker", "build", "-q", "--network=host", "-t", "small:one", folder / "context")
    run("docker", "save", "--output", made.tar, "small:one")
    run(apptainer, "build", "--mksquashfs-args", QUICK, made.sif, f"docker-archive:{made.tar}")
    yield replace(made, id=engine.identity("docker", "small:one"))
    run("docker", "rmi", "--force", "small:one", "small:base")


def test_a_file_is_pulled_once(launch: Launch, small: Small, tmp_path: Path) -> None:
    for runtime, source in (("apptainer", small.sif), ("apptainer", small.tar), ("docker", small.tar)):
        told = launch("pull", "core", "--from", source, "--runtime", runtime)
        assert told.returncode == 0, told.stderr
        again = launch("pull", "core", "--from", source, "--runtime", runtime)
        assert "GB" in again.stdout
    store = Store(tmp_path / "store")
    found = {one.source: one for one in image.images(store)}
    assert {path.name for path in map(Path, found)} == {"small.sif", "small.tar"}
    docker = image.current(store, "core", "docker")
    assert docker and (docker.digest, docker.recipe, docker.stale) == (small.id, "small", True)
    assert not list(store.images.glob(".*partial*"))
    listed = launch("list", "images").stdout
    assert "(stale)" in listed and "none: launch.py build detection" in listed


def test_from_a_registry(launch: Launch, small: Small, registry: str, apptainer: str, tmp_path: Path) -> None:
    run("docker", "tag", "small:one", f"{registry}/suite/core:1")
    run("docker", "push", f"{registry}/suite/core:1")
    run(apptainer, "push", "--no-https", "--allow-unsigned", small.sif, f"oras://{registry}/suite/core:sif")
    for runtime, source in (
        ("docker", f"docker://{registry}/suite/core:1"),
        ("apptainer", f"docker://{registry}/suite/core:1"),
        ("apptainer", f"oras://{registry}/suite/core:sif"),
    ):
        told = launch("pull", "core", "--from", source, "--runtime", runtime)
        assert told.returncode == 0, told.stderr
    store = Store(tmp_path / "store")
    assert {one.source.split(":")[0] for one in image.images(store)} == {"docker", "oras"}
    (tmp_path / "lab.py").write_text(
        "from slurm.cluster import Cluster\n"
        f"LAB = Cluster('lab', runtime='docker', images='docker://{registry}/suite/{{image}}:2')\n"
    )
    absent = launch("--cluster", tmp_path / "lab.py", "--store", tmp_path / "other", "pull", "core")
    assert absent.returncode == 2
    assert f"docker pull {registry}/suite/core:2" in absent.stderr or "manifest unknown" in absent.stderr


def test_what_is_no_image_of_that_name_is_refused_and_leaves_nothing(
    launch: Launch, small: Small, base: Path, apptainer: str, tmp_path: Path
) -> None:
    (tmp_path / "plain.def").write_text(f"Bootstrap: docker-archive\nFrom: {small.tar}\n%post\n  rm -r /opt/image\n")
    run(apptainer, "build", "--mksquashfs-args", QUICK, tmp_path / "plain.sif", tmp_path / "plain.def")
    for words, reason in (
        (("pull", "detection", "--from", small.sif), "what came is the image 'core'"),
        (
            ("pull", "core", "--from", tmp_path / "plain.sif"),
            "is none of the images of containers/: apptainer cannot read",
        ),
        (("pull", "core", "--from", tmp_path / "absent.sif"), "neither a file nor an address"),
        (("pull", "core"), "no place is known to pull from"),
        (("pull", "croe", "--from", small.sif), "unknown image 'croe'; did you mean core"),
        (("build", "core", "--build-arg", "DETECTRON=x"), "unknown build argument 'DETECTRON'"),
        (("build", "core", "--build-arg", "x"), "it reads KEY=VALUE"),
        (("build", "core", "--base", tmp_path / "absent.tar"), "no such file"),
        (("build", "core", "--runtime", "pyxis"), "pyxis builds no images"),
        (("build", "core", "--runtime", "doker"), "unknown runtime 'doker'"),
        (("build", "core", "--via", "slurm"), "has no scheduler"),
    ):
        told = launch(*words, *(() if "--runtime" in words else ("--runtime", "apptainer")))
        assert (told.returncode, reason in told.stderr) == (2, True), (words, told.stderr)
    assert not [path for path in (tmp_path / "store/images").iterdir() if path.suffix not in (".log", ".lock")]


@pytest.mark.parametrize("runtime", ["apptainer", "docker"])
def test_a_build_that_fails_shows_why_and_leaves_no_half_image(
    launch: Launch, small: Small, runtime: str, tmp_path: Path
) -> None:
    run("tar", "-C", tmp_path, "--create", "--file", tmp_path / "empty.tar", "--files-from", os.devnull)
    (tmp_path / "tmp").mkdir()
    words = ("build", "core", "--runtime", runtime, "--base", tmp_path / "empty.tar")
    told = launch(*words, TMPDIR=str(tmp_path / "tmp"))
    assert told.returncode == 2, told.stdout
    assert "/bin/sh" in told.stderr and "core." in told.stderr.splitlines()[-1]
    assert {path.suffix for path in (tmp_path / "store/images").iterdir() if path.name[0] != "."} == {".log"}
    assert not list((tmp_path / "store/images").glob(".*partial*"))
    assert not list((tmp_path / "tmp").iterdir())


def test_a_killed_build_leaves_what_the_next_one_removes(store: Store, small: Small) -> None:
    left = store.images / ".core.1.partial.sif"
    left.parent.mkdir(parents=True)
    left.touch()
    build.pull(store, "core", "apptainer", lambda line: None, source=str(small.sif), again=True)
    assert not left.exists()


def test_a_recipe_that_changes_is_seen(store: Store, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    made, new = build.pull(store, "core", "apptainer", lambda line: None, source=str(small.sif), again=True)
    assert (new, made.stale, image.absent(store, "core", "apptainer")) == (True, True, "")
    monkeypatch.setattr(image, "recipe", lambda name: "small")
    assert not made.stale
    there, new = build.build(store, "core", "apptainer", lambda line: None)
    assert (there.digest, new) == (made.digest, False)
    failed = Refusal("built")

    def built(*_: object) -> str:
        raise failed

    monkeypatch.setattr(builder, "build", built)
    with pytest.raises(Refusal, match="built"):  # from another base it is another image
        build.build(store, "core", "apptainer", lambda line: None, base="debian:trixie")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


Start = Callable[..., tuple["subprocess.Popen[str]", Inside]]


@pytest.fixture(params=["apptainer", "docker", "podman"])
def start(request: pytest.FixtureRequest, small: Small, tmp_path: Path) -> Iterator[Start]:
    """Starts Python inside the small image as a job does."""
    runtime = request.param
    request.getfixturevalue(runtime)
    odd = Store(tmp_path / 'it\'s a "store", no $HOME'.replace(",", ""))
    odd.data.mkdir(parents=True)
    (odd.data / "given.txt").write_text("given")
    made, _ = build.pull(odd, "core", runtime, lambda line: None, again=True,
                         source=str(small.sif if runtime == "apptainer" else small.tar))  # fmt: skip
    with ExitStack() as stack:

        def begin(program: str, memory_gb: float = 0.0) -> tuple[subprocess.Popen[str], Inside]:
            cluster = Cluster("here", runtime=runtime)
            here = stack.enter_context(
                engine.entered(cluster, odd, made, [], name=f"test {os.getpid()}", memory_gb=memory_gb)
            )
            argv = enter(runtime, here, ["-c", program, str(odd.root)])
            pipe = subprocess.PIPE
            process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, cwd="/")
            return stack.enter_context(process), here

        begin.runtime = runtime  # type: ignore[attr-defined]
        yield begin
    if runtime in ENGINES:
        deadline = time.monotonic() + 20
        while run(runtime, "ps", "--all", "--quiet", f"--filter=name=test-{os.getpid()}"):
            assert time.monotonic() < deadline  # an engine removes what has ended a moment later
            time.sleep(0.2)
        run(runtime, "rmi", "--force", made.digest) if runtime == "podman" else None


LOOK = """
import os, sys, pathlib, socket
store = pathlib.Path(sys.argv[1])
print((store / "data/given.txt").read_text())
for path in (store / "written", pathlib.Path(os.environ["TMPDIR"]) / "x", pathlib.Path("/tmp/y")):
    path.write_text("x")
for path in (store / "data/x", pathlib.Path("x"), pathlib.Path("/opt/x")):
    try:
        path.write_text("x"); print("WRITTEN", path)
    except OSError as error:
        print("refused", error.errno in (13, 30))
print(sorted(name for name, value in os.environ.items() if "host" in value))
print(os.getcwd(), socket.gethostname(), os.path.exists(os.path.expanduser("~root/.bashrc")), os.getuid(), os.getpid())
"""


def test_inside(start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SECRET", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/of/the/host")
    process, _ = start(LOOK)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    given, *refused, environment, last = told.splitlines()
    assert (given, refused, environment) == ("given", ["refused True"] * 3, "[]")
    assert last.split()[:2] == [str(ROOT), socket.gethostname()]
    assert last.split()[3] == str(os.getuid())
    written = next(tmp_path.glob("it*/written"))
    assert written.stat().st_uid == os.getuid()


LISTEN = """
import os, signal, sys, time
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(75))
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_signal_reaches_the_program(start: Start) -> None:
    process, _ = start(LISTEN)
    assert process.stdout
    pid = int(process.stdout.readline())
    assert b"SIGUSR2" in Path(f"/proc/{pid}/cmdline").read_bytes()  # it has the same number outside
    time.sleep(0.5)  # podman hands signals on only from a moment after its program has begun
    process.send_signal(signal.SIGUSR2)
    assert process.wait(30) == 75


def test_killed_it_is_gone(start: Start) -> None:
    """Also where nobody was left to end it: an engine's container ends with its standard input."""
    sys.path.insert(0, str(ROOT))
    tether = (ROOT / "jobs/lib/inside.py").read_text().partition("def tether")[2]
    program = f"import os, threading\nEX_ORPHANED = 70\ndef tether{tether}\ntether()\n{LISTEN}"
    process, _ = start(program if start.runtime in ENGINES else LISTEN)  # type: ignore[attr-defined]
    assert process.stdout
    pid = int(process.stdout.readline())
    process.kill()
    process.wait(30)
    if process.stdin:
        process.stdin.close()
    deadline = time.monotonic() + 20
    while b"SIGUSR2" in command(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_takes_more_memory_than_granted_is_killed(start: Start) -> None:
    if start.runtime not in ENGINES:  # type: ignore[attr-defined]
        pytest.skip("it is in the job's own cgroup")
    process, _ = start("held = bytearray(300 << 20); print(sum(held[::4096]))", memory_gb=0.1)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 137, told


def test_an_image_that_the_engine_lost_is_loaded_again(small: Small, docker: str, store: Store) -> None:
    made, _ = build.pull(store, "core", "docker", lambda line: None, source=str(small.tar), again=True)
    other = Image("core", made.file, "sha256:" + "0" * 64)
    with pytest.raises(Refusal, match="docker does not load"):
        engine.load("docker", store, other)
    engine.load("docker", store, made)
    assert engine.identity("docker", made.digest) == made.digest
