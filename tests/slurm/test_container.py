"""Container: the exact words that enter an image, for every runtime."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from slurm import container, engine
from slurm.cluster import Cluster, find
from slurm.container import Inside, command, enter, mounts
from suite.catalog import Catalog
from suite.cell import Cell
from suite.entry import Refusal

HERE = Inside(
    image="/lab/store/images/core-0123.sif",
    digest="sha256:0123",
    read=(Path("/lab/suite"), Path("/lab/store/data"), Path("/lab/store/weights"), Path('/data/it\'s "mine"')),
    write=(Path("/lab/store"),),
    folder=Path("/lab/suite"),
    scratch=Path("/tmp/cells-x"),
    name="20261121-1",
    gpus="0,3",
    cpus="0-2,5",
    memory_gb=32.0,
    user="1000:100",
    groups=(44, 109),
    passed={"CUDA_VISIBLE_DEVICES": "0,3", "NCCL_SOCKET_IFNAME": "ib0"},
    node="n7",
)
RECORDED = dict(line.split(": ", 1) for line in (Path(__file__).parent / "commands.txt").read_text().splitlines())


@pytest.mark.parametrize("runtime", RECORDED)
def test_the_words_of_every_runtime(runtime: str) -> None:
    image = {"docker": "sha256:0123", "podman": "sha256:0123", "pyxis": "/lab/store/images/core-0123.sqsh"}
    here = replace(HERE, image=image.get(runtime, HERE.image))
    made = enter(runtime, here, ["-m", "jobs", "KEY"])
    assert shlex.join(made) == RECORDED[runtime], "if the change is meant, record the new text"
    assert made == enter(runtime, here, ["-m", "jobs", "KEY"])


def test_without_gpus_none_is_asked_for() -> None:
    for runtime in RECORDED:
        told = shlex.join(enter(runtime, replace(HERE, gpus=""), []))
        assert not any(word in told for word in ("--nv", "--gpus", "nvidia.com"))


def test_all_gpus_and_a_program_that_is_no_child() -> None:
    assert "--gpus=all" in enter("docker", replace(HERE, gpus="all"), [])
    keys, store = ["a/b/c/0"], Path("/lab/store")
    for runtime in RECORDED:
        made = command(Cluster("here", runtime=runtime), keys, store, "abc", inside=HERE)
        assert made[made.index("/opt/venv/bin/python") + 1 :][:3] == ["-m", "jobs", "a/b/c/0"]
        assert made[made.index("--image") + 1] == "sha256:0123"
        assert ("--tether" in made) == (runtime in container.ENGINES)


@pytest.mark.parametrize("name", ["/a:b", "/a,b"])
def test_a_path_that_a_runtime_cannot_be_told(name: str) -> None:
    for runtime in RECORDED:
        with pytest.raises(Refusal, match="rename it, or link to it"):
            enter(runtime, replace(HERE, write=(Path(name),)), [])


def test_what_lies_within_a_mount_is_mounted_only_where_it_differs() -> None:
    read, write = [Path("/a"), Path("/a/b/c"), Path("/a/d"), Path("/e")], [Path("/a/b"), Path("/e")]
    assert mounts(read, write) == [("/a", "ro"), ("/e", "rw"), ("/a/b", "rw"), ("/a/b/c", "ro")]


def test_of_the_host_only_what_a_program_needs_gets_in() -> None:
    env = {"LD_LIBRARY_PATH": "/x", "PYTHONPATH": "/y", "NCCL_DEBUG": "INFO", "CUDA_VISIBLE_DEVICES": "1", "HOME": "/h"}
    assert container.kept(env) == {"CUDA_VISIBLE_DEVICES": "1", "NCCL_DEBUG": "INFO"}


def test_data_that_lie_elsewhere_are_there_too(known: Catalog, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (known.store.data / "digits").rename(elsewhere)
    (known.store.data / "digits").symlink_to(elsewhere)
    cell = Cell(known.tasks["knn"], known.datasets["digits"], known.model("pixels_8x8"), 0)
    more = Cluster("here", runtime="apptainer", binds=(str(tmp_path), "/nowhere"))
    assert elsewhere in engine.read(more, known.store, [cell])
    assert tmp_path in engine.read(more, known.store, [cell])
    assert Path("/nowhere") not in engine.read(more, known.store, [cell])


def test_which_gpus_an_engine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([self / "nvidia0"]))
    granted = {"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "2,3", "CUDA_VISIBLE_DEVICES": "0,1"}
    assert engine.gpus("docker", granted) == "2,3"  # CUDA counts within the job, the engine on the host
    assert engine.gpus("apptainer", granted) == "all"
    assert engine.gpus("docker", {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0"}) == ""
    assert engine.gpus("docker", {"CUDA_VISIBLE_DEVICES": "1"}) == "1"
    assert engine.gpus("docker", {}) == "all"


def test_an_unknown_runtime_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from slurm.cluster import Cluster\nMINE = Cluster('mine', runtime='aptainer')\n")
    with pytest.raises(Refusal, match="unknown runtime 'aptainer'; known: apptainer"):
        find(str(tmp_path / "mine.py"))
