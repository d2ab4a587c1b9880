"""Real cells in the real `core` image, which is built here from Debian's packages: the same numbers as outside, as root
and as an ordinary user, on this machine and as job arrays of Slurm; and what befalls them there.

IMAGES=FOLDER takes images from there instead of building them, and IMAGES=none leaves these tests out, as CI does, for
want of time; RUNTIMES=apptainer,docker,podman chooses (by default apptainer alone, since each build takes minutes).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Launch
from studies import STUDIES, Study
from testbeds import command

from slurm import scheduler, status
from slurm.submission import places, submissions
from suite import attempt, image, result
from suite.catalog import Catalog
from suite.entry import as_json
from suite.store import Store, write_json

GRID = ("--tasks", "linear,knn", "--models", "pixels_8x8", "--datasets", "digits", "--wait")
SHORT = ("--tasks", "finetune-short", "--models", "random-32px_timm-resnet10t", "--datasets", "digits", "--wait")
CELLS = ("linear-v1/digits/pixels_8x8/0", "knn-v1/digits/pixels_8x8/0")
SHORT_CELL = "finetune-short-v1/digits/random-32px_timm-resnet10t/0"
RUNTIMES = os.environ.get("RUNTIMES", "apptainer").split(",")

Entry = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def wanted() -> None:
    if os.environ.get("IMAGES") == "none":
        pytest.skip("IMAGES=none: to build the image and run cells in it takes minutes")


@pytest.fixture(scope="module", autouse=True)
def one_core(wanted: None, testbed: Path) -> Iterator[None]:
    """As the testbed's jobs have: a sum's last digits depend on how many threads share it."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


@pytest.fixture(scope="session", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """A runtime that works here."""
    request.getfixturevalue(request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def images(runtime: str, base: Path) -> Iterator[Path]:
    """The folder of a store's images that has `core` for the runtime, readable for everybody."""
    if "IMAGES" in os.environ:
        yield Path(os.environ["IMAGES"])
        return
    store = Path("/var/tmp") / f"images-{os.getpid()}-{runtime}"
    words = ["--store", store, "build", "core", "--runtime", runtime, "--base", base]
    try:
        built = subprocess.run(
            [sys.executable, str(ROOT / "launch.py"), *map(str, words)], capture_output=True, text=True, timeout=1800
        )
        assert built.returncode == 0, built.stdout + built.stderr
        sys.stderr.write(built.stdout.splitlines()[-1] + "\n")
        yield store / "images"
    finally:
        shutil.rmtree(store, ignore_errors=True)


@pytest.fixture
def store(known: Catalog, images: Path) -> Store:
    """This test's store, with the image."""
    known.store.images.symlink_to(images)
    return known.store


@pytest.fixture
def entry(runtime: str, tmp_path: Path) -> Entry:
    """A cluster's file that runs cells with the runtime: on this machine, or on the testbed of Slurm."""

    def make(cluster: str = "LOCAL", more: str = "") -> Path:
        path = tmp_path / f"{cluster.lower()}.py"
        path.write_text(
            "from dataclasses import replace\n"
            f"from slurm.clusters.{cluster.lower()} import {cluster}\n"
            f"MINE = replace({cluster}, runtime={runtime!r}, {more})\n"
        )
        return path

    return make


def numbers(store: Store, key: str) -> list[dict[str, Any]]:
    found = result.read(store.results, key)
    assert found, key
    return list(found["metrics"])


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same cells without a container."""
    store = Store(tmp_path_factory.mktemp("outside"))
    command = [sys.executable, str(ROOT / "launch.py"), "--store", str(store.root), "grid"]
    for words in (GRID, SHORT):
        subprocess.run([*command, *words], check=True, capture_output=True)
    return store


def test_the_same_numbers_as_outside(launch: Launch, store: Store, entry: Entry, outside: Store, runtime: str) -> None:
    ran = launch("--cluster", entry(), "grid", *GRID)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    made = image.current(store, "core", runtime)
    assert made and not made.stale
    for key in CELLS:
        assert numbers(store, key) == numbers(outside, key)
        found = result.read(store.results, key)
        assert found and (found["image"], found["recipe"]) == (made.digest, made.recipe)
        assert not (result.read(outside.results, key) or {})["image"]
    assert launch("--cluster", entry(), "gather").returncode == 0
    assert made.digest in (store.tables / "results.csv").read_text()
    again = launch("--cluster", entry(), "grid", *GRID)
    assert "2 cells: 2 done" in again.stdout and "submitted" not in again.stdout


def test_weights_are_made_inside(launch: Launch, known: Catalog, store: Store, entry: Entry, tmp_path: Path) -> None:
    """A published checkpoint is converted, and a backbone pre-trained, by the image's torch."""
    import torch
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.resnet50()
    network.fc = torch.nn.Identity()
    torch.save(network.state_dict(), tmp_path / "trex.pth")
    ran = launch("--cluster", entry(), "fetch", "trex_resnet50", "--from", tmp_path / "trex.pth")
    assert ran.returncode == 0 and "23,508,032 parameters" in ran.stdout, ran.stdout + ran.stderr
    assert (store.weights / "trex_resnet50.safetensors").stat().st_size > 90e6
    few = sorted((store.data / "digits/train").glob("*/*.png"))[::18]
    for number, photo in enumerate(few):
        to = tmp_path / f"few/{photo.parent.name}/{number}.png"
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, to)
    model = f"rotation-short_timm-test_resnet@images:{tmp_path / 'few'}"
    ran = launch("--cluster", entry(), "grid", "--tasks", "pretrain", "--models", model, "--wait")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(list(store.weights.glob("rotation-short_timm-test_resnet@few-*.safetensors"))) == 1


def test_another_image_makes_results_stale(
    launch: Launch, known: Catalog, entry: Entry, runtime: str, images: Path
) -> None:
    known.store.images.mkdir()
    made = next(one for one in image.images(Store(images.parent)) if one.file.endswith(image.FORMATS[runtime]))
    (known.store.images / made.file).symlink_to(images / made.file)
    write_json(known.store.images / "one.json", as_json(made))
    assert launch("--cluster", entry(), "grid", *GRID).returncode == 0
    other = replace(made, digest="sha256:another", file="core-another.sif", made=time.time())
    (known.store.images / other.file).touch()
    (known.store.images / other.file).rename(known.store.images / (name := f"x.{image.FORMATS[runtime]}"))
    write_json(known.store.images / "two.json", as_json(replace(other, file=name)))
    inside, outside = Catalog(known.store, runtime), Catalog(known.store)
    assert {(s.name, s.reason) for s in status.states(inside).values()} == {("stale", "it was run with another image")}
    assert {s.name for s in status.states(outside).values()} == {"done"}


def test_a_path_with_spaces_and_quotes(
    launch: Launch, store: Store, entry: Entry, outside: Store, tmp_path: Path
) -> None:
    odd = tmp_path / 'it\'s a "store" $HOME'
    store.root.rename(odd)
    ran = launch("--store", odd, "--cluster", entry(), "grid", *GRID)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert numbers(Store(odd), CELLS[0]) == numbers(outside, CELLS[0])


def test_the_program_sees_no_more_than_it_should(
    launch: Launch, store: Store, entry: Entry, outside: Store, tmp_path: Path
) -> None:
    """A package of the home, a variable of the host: none of it gets in; data stay as they are."""
    site = tmp_path / "home/.local/lib/python3.11/site-packages"
    site.mkdir(parents=True)
    (site / "torch.py").write_text("raise SystemExit('the host slipped in')\n")
    (scratch := tmp_path / "scratch").mkdir()
    ran = launch("--cluster", entry(more=f"scratch={str(scratch)!r}"), "grid", *GRID, HOME=str(tmp_path / "home"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert numbers(store, CELLS[0]) == numbers(outside, CELLS[0])
    assert not list((store.data / "digits").rglob("*.pyc"))
    deadline = time.monotonic() + 30
    while list(scratch.iterdir()):  # it goes when the process has ended, a moment after its last result
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_without_the_image_cells_are_blocked(launch: Launch, known: Catalog, entry: Entry, images: Path) -> None:
    ran = launch("--cluster", entry(), "grid", *GRID[:-1])
    assert ran.returncode == 1
    assert "2 cells: 2 blocked" in ran.stdout
    told = launch("--cluster", entry(), "status").stdout
    assert "launch.py build core, or launch.py pull core" in told
    known.store.images.symlink_to(images)
    assert {state.name for state in status.states(known).values()} == {"absent"}
    ran = launch("--cluster", entry(), "grid", *GRID, "--build")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "is there already" in ran.stdout


class TestSlurm:
    def test_job_arrays(self, launch: Launch, store: Store, entry: Entry, outside: Store) -> None:
        ran = launch("--cluster", entry("TESTBED", "pack=0.1"), "grid", *GRID)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        (sent,) = submissions(store)
        assert sent.scheduler == "slurm" and sent.images["core"].startswith("sha256:")
        for key in CELLS:
            assert numbers(store, key) == numbers(outside, key)

    @pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.tasks)
    def test_a_study_of_real_photos(
        self, study: Study, launch: Launch, store: Store, entry: Entry, shared: Path, tmp_path: Path
    ) -> None:
        """Every protocol gives the numbers that it gives outside."""
        there, words = Store(tmp_path / "outside"), (*study.words(shared), "--wait")
        for where in (("--cluster", entry("TESTBED")), ("--store", there.root)):
            ran = launch(*where, "grid", *words)
            assert ran.returncode == 0, ran.stdout + ran.stderr
        keys = list(result.keys(there.results))
        assert len(keys) == len(study.tasks.split(","))
        for key in keys:
            assert numbers(store, key) == numbers(there, key)

    def test_preempted_in_the_middle(self, launch: Launch, store: Store, entry: Entry, outside: Store) -> None:
        """Told to leave it saves, goes back into the queue, and ends with the numbers of an unbroken run."""
        ran = launch("--cluster", entry("TESTBED"), "grid", *SHORT[:-1])
        assert ran.returncode == 0, ran.stdout + ran.stderr
        saved = store.results / SHORT_CELL / "checkpoint.pt"
        deadline = time.monotonic() + 120
        while not saved.exists():
            assert time.monotonic() < deadline, ran.stdout
            time.sleep(0.02)
        job = places(submissions(store))[SHORT_CELL].job
        subprocess.run(["scancel", "--signal=USR2", job], check=True)
        assert launch("--cluster", entry("TESTBED"), "grid", *SHORT).returncode == 0
        history = attempt.history(store.results / SHORT_CELL)
        assert [(one["fault"], one["progress"]) for one in history] == [("preempted", True)]
        assert numbers(store, SHORT_CELL) == numbers(outside, SHORT_CELL)

    def test_nothing_is_left_after_scancel(self, launch: Launch, store: Store, entry: Entry, runtime: str) -> None:
        long = ("--tasks", "finetune", "--models", "pixels_8x8", "--datasets", "digits")
        cell = "finetune-v1/digits/pixels_8x8/0"
        assert launch("--cluster", entry("TESTBED"), "grid", *long).returncode == 0
        deadline = time.monotonic() + 120
        while not attempt.beats(store.results / cell):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        pid = attempt.at_work(store.results / cell)
        scheduler.cancel([places(submissions(store))[cell].job])
        while b"jobs" in command(pid):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        while status.states(Catalog(store))[cell].name != "absent":
            assert time.monotonic() < deadline
            time.sleep(0.3)
        if runtime in ("docker", "podman"):
            words = [runtime, "ps", "--all", "--quiet", "--filter=name=cells-"]
            assert not subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_an_ordinary_user(runtime: str, images: Path, ordinary: str, outside: Store) -> None:
    """Who has the launcher's three packages and no torch, on this machine and on Slurm."""
    if runtime == "podman":
        pytest.skip("the testbed's podman is root's: an ordinary user's own needs its own storage")
    home = Path(f"~{ordinary}").expanduser()
    checkout = home / "check out"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*", "store", "tests", "__pycache__"))
    uv = str(ROOT / ".uv/bin/uv")
    subprocess.run([uv, "venv", "-q", "--python", "/usr/bin/python3", str(home / "venv")], check=True)
    lock = ["--require-hashes", "-r", str(ROOT / "requirements.txt")]
    subprocess.run([uv, "pip", "install", "-q", "--python", str(home / "venv"), *lock], check=True)
    shutil.copytree(outside.data, home / "store/data")
    (home / "store/images").symlink_to(images)
    for cluster in ("LOCAL", "TESTBED"):
        (home / f"{cluster}.py").write_text(
            f"from dataclasses import replace\nfrom slurm.clusters.{cluster.lower()} import {cluster}\n"
            f"MINE = replace({cluster}, runtime={runtime!r})\n"
        )
    subprocess.run(["chown", "-R", f"{ordinary}:", str(home)], check=True)
    for cluster, words in (("LOCAL", GRID), ("TESTBED", SHORT)):
        command = [str(home / "venv/bin/python"), str(checkout / "launch.py"), "--store", str(home / "store")]
        command += ["--cluster", str(home / f"{cluster}.py"), "grid", *words]
        env = [f"HOME={home}", f"USER={ordinary}", f"DOCKER_HOST={os.environ.get('DOCKER_HOST', '')}"]
        ran = subprocess.run(["runuser", "-u", ordinary, "--", "env", "-C", str(home), *env, *command], text=True,
                             capture_output=True, timeout=600)  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
    store = Store(home / "store")
    for key in (*CELLS, SHORT_CELL):
        assert numbers(store, key) == numbers(outside, key)
        assert (store.results / key / "result.json").owner() == ordinary
        assert "sha256:" in json.loads((store.results / key / "result.json").read_text())["image"]


def test_built_by_a_job(launch: Launch, store: Store, entry: Entry, runtime: str) -> None:
    """On a node, which finds the image there; and what a job says that fails."""
    words = ("--cluster", entry("TESTBED"), "build", "core", "--via", "slurm")
    told = launch(*words)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "core: job " in told.stdout and "is there already" in told.stdout
    refused = launch(*words, "--base", "/nowhere/debian.tar")
    assert refused.returncode == 2
    assert "no such file" in refused.stderr
    assert not list(store.logs.glob(".build*"))
