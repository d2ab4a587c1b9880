"""Container: the exact words that enter an image, for every runtime."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slurm import container, engine, status
from slurm.array import arrays
from slurm.cluster import Cluster, find
from slurm.container import Inside, command, enter, mounts
from slurm.submission import draft
from slurm.work import Work, block, blocked
from suite import attempt, product, result
from suite.bundle import bundles
from suite.catalog import Catalog
from suite.cell import Cell
from suite.entry import Refusal, as_json
from suite.image import Image
from suite.store import write_json

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


def test_weights_are_written_by_what_makes_some_alone(known: Catalog, tmp_path: Path) -> None:
    known.store.weights.mkdir()
    cluster, digits = Cluster("here", runtime="apptainer"), known.datasets["digits"]
    knn = Cell(known.tasks["knn"], digits, known.model("pixels_8x8"), 0)
    made = product.maker(known.model("simclr_resnet18@digits"), known)
    for cells, writes in (([knn], False), ([knn, made], True), ([], True)):
        here = engine.inside(cluster, known.store, Image("", "", ""), iter(cells), tmp_path, name="test")
        mounted = dict(mounts(here.read, here.write))
        assert mounted.get(str(known.store.weights)) == (None if writes else "ro")
        assert mounted[str(known.store.root)] == "rw"


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


def test_every_link_on_the_way_to_the_data_is_there(known: Catalog, tmp_path: Path) -> None:
    (tmp_path / "disk/sets").mkdir(parents=True)
    (known.store.data / "digits").rename(tmp_path / "disk/sets/digits")
    (tmp_path / "sets").symlink_to(tmp_path / "disk/sets")
    (tmp_path / "mine").symlink_to("sets/digits")
    (known.store.data / "digits").symlink_to(tmp_path / "mine")
    cell = Cell(known.tasks["knn"], known.datasets["digits"], known.model("pixels_8x8"), 0)
    found = list(engine.read(Cluster("here", runtime="docker"), known.store, [cell]))
    for path in ("mine", "sets/digits", "disk/sets/digits"):
        assert tmp_path / path in found


def test_a_path_that_no_container_can_be_given_is_refused_before_anything_is_sent(
    known: Catalog, tmp_path: Path
) -> None:
    (tmp_path / "a:b").mkdir()
    cell = Cell(known.tasks["knn"], known.datasets["digits"], known.model("pixels_8x8"), 0)
    entry = Cluster("here", runtime="apptainer", binds=(str(tmp_path / "a:b"),))
    with pytest.raises(Refusal, match="rename it, or link to it"):
        Work.asked(entry, known.store, [cell], among=[cell])


def absent(known: Catalog, cell: Cell, runtime: str = "docker") -> None:
    entry = Cluster("here", runtime=runtime)
    block(known.store, blocked(entry, known.store, [cell]))


def test_cells_without_their_image_are_blocked_until_it_is_there(known: Catalog) -> None:
    cell = Cell(known.tasks["knn"], known.datasets["digits"], known.model("pixels_8x8"), 0)
    folder = known.store.results / cell.key
    folder.mkdir(parents=True)
    attempt.fail(folder, key=cell.key, kind="out of memory", message="killed", at=1.0, memory_gb=4.0)
    absent(known, cell)
    state = status.states(known, [cell.key])[cell.key]
    assert (state.name, "launch.py build core" in state.reason) == ("blocked", True)
    assert attempt.history(folder)[0]["memory_gb"] == 4.0  # why it had failed is not lost
    assert not attempt.ended(known.store, cell.key, since=0.0)
    # Sent elsewhere since: the error is history.
    there = Cluster("there", scheduler="slurm")
    draft(known.store, there, arrays(there, bundles([cell], lambda _: 1.0)), "").create()
    assert status.states(known, [cell.key])[cell.key].name == "queued"
    time.sleep(0.01)  # what is sent to mend an error is later than that by a millisecond
    absent(known, cell)
    assert status.states(known, [cell.key])[cell.key].name == "blocked"
    known.store.images.mkdir()
    (known.store.images / "core.tar").touch()
    write_json(known.store.images / "core.tar.json", as_json(Image("core", "core.tar", "sha256:1")))
    assert status.states(known, [cell.key])[cell.key].name == "absent"


def test_a_result_of_another_image_is_stale_where_cells_run_in_images(known: Catalog) -> None:
    cell = Cell(known.tasks["knn"], known.datasets["digits"], known.model("pixels_8x8"), 0)
    known.store.images.mkdir(parents=True)
    for name, digest in (("core.sif", "sha256:s"), ("core.tar", "sha256:t")):
        (known.store.images / name).touch()
        write_json(known.store.images / f"{name}.json", as_json(Image("core", name, digest)))
    inside = Catalog(known.store, "apptainer")
    for digest, told in (("sha256:s", ""), ("sha256:t", ""), ("sha256:x", "another image"), ("", "outside its image")):
        made = {"facts": result.facts(cell), "image": digest, "finished": 0.0, "metrics": []}
        write_json(known.store.results / cell.key / "result.json", made)
        assert status.states(known)[cell.key].name == "done"
        state = status.states(inside)[cell.key]
        assert (state.name, told in state.reason) == ("stale" if told else "done", True)
