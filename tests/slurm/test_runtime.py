"""Runtime and ground: what each state of a machine is found to mean, and how a machine is looked at."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from slurm import ground, room, runtime
from slurm.ground import Ground, Start
from slurm.room import Place
from slurm.runtime import Finding, Images, findings
from suite import image
from suite.image import Image
from suite.store import Store, write_text

Machine = Callable[..., Path]


def built(**changes: Any) -> Images:
    """A store that has one image, of this checkout's recipe."""
    one: dict[str, Any] = {"name": "core", "file": "core.sif", "digest": "d", "recipe": image.recipe("core")}
    return Images("apptainer", {"core": Image(**one | {"bytes": 3_600_000_000, "cuda": "12.6"} | changes)})


NONE = Images("apptainer", {"core": None})
USER = Ground(
    "apptainer", there=["apptainer"], user="ada", version="apptainer version 1.4.5", squashfuse=True, subids=True,
    newuidmap=True, places=[Place("APPTAINER_TMPDIR", "/tmp", 60.0), Place("APPTAINER_CACHEDIR", "/c", 60.0)],
)  # fmt: skip
ENGINE = Ground("docker", there=["docker"], user="ada", version="docker 28.1", places=[Place("data-root", "/d", 60.0)])
PODMAN = Ground("podman", there=["podman"], user="ada", version="podman 4.3.1", subids=True, newuidmap=True)
ROOM = "APPTAINER_TMPDIR", "/tmp"


def bad(seen: Ground, images: Images = NONE, *, runs: bool = True, builds: bool = True) -> list[str]:
    found = [one for one in findings(seen, images, runs=runs, builds=builds) if not one.well]
    assert all(one.remedy and "{" not in one.remedy for one in found)
    return [f"{one.seen}; {one.remedy}" for one in found]


@pytest.mark.parametrize("seen", [USER, ENGINE, PODMAN, Ground("pyxis", there=["pyxis"]), Ground(there=["docker"])])
def test_a_good_ground_has_nothing_bad(seen: Ground) -> None:
    assert bad(seen) == []


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (replace(USER, there=["docker"]), ["no apptainer on PATH; there are: docker; load its module"]),
        (Ground("pyxis"), ["srun has no --container-image; ask the site for pyxis"]),
        (replace(USER, silent="cannot execute binary file"), ["apptainer is there, but does not answer: cannot exec"]),
        (replace(ENGINE, silent="Permission denied at unix:///s", owner="srw-rw---- root docker"),
         [r"docker .* denied at unix:///s \(srw-rw---- root docker\); ask the site: usermod -aG docker ada, .*DOCK"]),
        (replace(ENGINE, silent="permission denied", owner="srw------- root root"), [r"docker .* of group docker"]),
        (replace(ENGINE, silent="Cannot connect"), [r"docker .*: Cannot connect; start it .* or set DOCKER_HOST"]),
        (replace(PODMAN, silent="no answer within 10 s"), [r"podman .*: no answer within 10 s; see `podman info`"]),
        (replace(USER, lacks=["exec --no-home"]), [r"apptainer .* does not know: exec --no-home; load Apptainer 1\.2"]),
        (replace(USER, lacks=["build --build-arg"]), [r".*: build --build-arg, and cannot build.* launch\.py pull"]),
        (replace(USER, squashfuse=False), [r"no squashfuse: .* unpacked at every start; install squashfuse"]),
        (replace(USER, fuse="closed"), [r"/dev/fuse is closed for ordinary users: .*; ask the site: chmod 666 /dev"]),
        (replace(USER, fuse="absent"), [r"/dev/fuse is absent .*modprobe fuse"]),
        (replace(USER, userns="user.max_user_namespaces = 0"), [r"no user namespaces .*: user\.max_user_nam.*15000"]),
        (replace(PODMAN, userns="kernel.unprivileged_userns_clone = 0"), [r"no user names.*sysctl kernel\.unpriv.*=1"]),
        (replace(USER, userns="kernel.apparmor_restrict_unprivileged_userns = 1"), [r"no user.*apptainer's AppArmor"]),
        (replace(USER, start=Start(41.0, unpacked=True)), [r"an image is unpacked at every start, which took 41.0 s"]),
        (replace(USER, start=Start(60.0, True, "no answer within 60 s")), [r".* 60.0 s, and then: no answer .*; inst"]),
        (replace(USER, start=Start(0.1, trouble="bad image")), [r"an image does not start: bad image; .*apptainer ex"]),
        (replace(USER, start=Start(0.1, trouble="Failed to create user namespace")), [r".*; ask the site for user na"]),
        (replace(USER, fuse="closed", start=Start(0.1, trouble="no mount")),
         [r"an image does not start: no mount; mend what follows", r"/dev/fuse is closed"]),
        (replace(PODMAN, subids=False), [r"no lines for ada in /etc/subuid .* needs them; .* --add-subgids .* ada$"]),
        (replace(PODMAN, newuidmap=False), [r"no newuidmap on PATH: rootless Podman .*uidmap"]),
        (replace(USER, subids=False, version="singularity-ce version 4.1.1"), [r"no lines .*: only root could build"]),
        (replace(USER, places=[Place(*ROOM, 3.0)]),
         [r"3 GB free for images in /tmp \(APPTAINER_TMPDIR\); one takes 15 GB; set APPTAINER_TMPDIR to a folder"]),
        (replace(USER, places=[Place(*ROOM, 3.0, memory=True)]), [r"3 GB .* \(APPTAINER_TMPDIR, in memory\)"]),
        (replace(USER, places=[Place("APPTAINER_CACHEDIR", "/c", 7.0)]), [r"7 GB .*one takes 8 GB; set APPTAINER_CAC"]),
        (replace(USER, places=[Place(*ROOM, 99.0, trouble="is not there")]), [r"/tmp \(APPTAINER_TMPDIR\) is not th"]),
        (replace(ENGINE, places=[Place("data-root", "/d", 3.0)]), [r"3 GB .*; `data-root` in /etc/docker/daemon"]),
        (replace(PODMAN, places=[Place("graphroot", "/d", 3.0)]), [r"3 GB .*; `graphroot` in ~/\.config/containers/"]),
        (replace(ENGINE, driver="580.65"), [r"docker cannot give GPUs to containers; .*NVIDIA Container Toolkit"]),
        (replace(PODMAN, driver="580.65"), [r"podman cannot give GPUs to containers; .*nvidia-ctk cdi generate"]),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_found_with_its_remedy(seen: Ground, words: list[str]) -> None:
    found = bad(seen)
    assert len(found) == len(words), found
    assert all(re.match(word, one) for word, one in zip(words, found, strict=True)), found


@pytest.mark.parametrize(
    "seen",
    [
        replace(USER, root=True, squashfuse=False, fuse="closed", userns="user.max_user_namespaces = 0", subids=False),
        replace(USER, setuid=True, squashfuse=False, fuse="absent", userns="user.max_user_namespaces = 0"),
        replace(USER, squashfuse=False, fuse="closed", start=Start(0.2)),  # what happens counts, not what should
        replace(USER, subids=False),  # Apptainer makes do
        replace(ENGINE, squashfuse=False, fuse="absent", userns="user.max_user_namespaces = 0"),
    ],
    ids=str,
)
def test_what_is_not_needed_is_not_asked_for(seen: Ground) -> None:
    assert bad(seen) == []


def test_a_login_node_needs_what_builds_need() -> None:
    def login(images: Images, **changes: Any) -> list[str]:
        return bad(replace(USER, **changes), images, runs=False)

    assert login(NONE, fuse="closed", squashfuse=False) == []
    assert len(login(NONE, there=[])) == 1
    assert login(built(), there=[]) == []
    assert login(built(), lacks=["build --build-arg"]) == []
    assert len(login(NONE, lacks=["build --build-arg", "exec --nv"])) == 1


def test_a_compute_node_needs_what_jobs_need() -> None:
    node = replace(USER, places=[Place(*ROOM, 0.1)], subids=False, lacks=["build --build-arg"])
    assert bad(node, NONE, builds=False) == []
    assert len(bad(replace(node, there=[]), built(), builds=False)) == 1
    full = replace(ENGINE, places=[Place("data-root", "/d", 3.0)])  # an engine has images of its own
    assert len(bad(full, built(), builds=False)) == 1


@pytest.mark.parametrize(
    ("driver", "cuda", "images", "enough"),
    [
        ("550.54.15", "12.4", "12.6", True),  # minor versions run on the major version's first driver
        ("535.104", "", "12.6", True),
        ("550.54.15", "12.4", "13.0", False),
        ("550.54.15", "", "13.0", False),
        ("580.65.06", "", "13.0", True),
        ("580.65.06", "13.0", "12.6", True),
        ("470.82", "11.4", "12.6", False),
        ("", "12.4", "13.0", False),
    ],
)
def test_a_driver_runs_the_cuda_of_its_major_version(driver: str, cuda: str, images: str, enough: bool) -> None:
    found = bad(replace(USER, driver=driver, cuda=cuda), built(cuda=images))
    assert bool(found) is not enough
    if found:
        assert f"is too old for image core, which has CUDA {images}; ask the site for driver" in found[0]
        assert "launch.py build core" in found[0]


def test_without_a_driver_or_cuda_nothing_is_compared() -> None:
    assert bad(USER, built()) == []
    assert bad(replace(USER, driver="390.1"), built(cuda="")) == []


def test_images_that_are_there_absent_or_stale(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert list(Images.of(store, "").findings()) == []
    none = Images.of(store, "apptainer")
    assert none.missing
    absent = [one for one in none.findings() if "image core " in f"{one.seen} "]
    assert absent == [Finding(False, "no image core for apptainer", "launch.py build core, or launch.py pull core")]
    for recipe, words in (("another", "stale"), (image.recipe("core"), "core.sif, 3.6 GB, CUDA 12.6")):
        record = asdict(next(one for one in built().there.values() if one)) | {"recipe": recipe}
        write_text(store.images / "core.json", json.dumps(record))
        write_text(store.images / "core.sif", "")
        images = Images.of(store, "apptainer")
        (told,) = [one for one in images.findings() if one.seen.startswith("image core")]
        assert words in told.seen
        assert told.well is (words != "stale")
        assert images.sample == str(store.images / "core.sif")
    assert Images.of(store, "docker").there["core"] is None


# How a machine is looked at. The programs are stand-ins, but for the last tests.

APPTAINER = """case "$1" in
--version) echo apptainer version 1.4.5 ;;
buildcfg) echo LIBEXECDIR={folder}/libexec ;;
build) echo "  --build-arg strings  defines" ;;
exec) [ "$2" = --help ] && echo "  -e, --cleanenv  clean
  --no-home  none
  --no-mount strings  fewer
  -B, --bind stringArray a
  --nv enable
  --pwd string" ;;
esac"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with nothing but some shell programs."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("APPTAINER_TMPDIR", "APPTAINER_CACHEDIR", "SINGULARITY_TMPDIR", "SINGULARITY_CACHEDIR", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ground, "SYSTEM", str(tmp_path / "bin"))
    monkeypatch.setattr(ground, "NVIDIA", tmp_path / "version")
    monkeypatch.setattr(ground, "CDI", (tmp_path / "cdi",))

    def made(**programs: str) -> Path:
        (tmp_path / "bin").mkdir(exist_ok=True)
        for name, text in programs.items():
            path = tmp_path / "bin" / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        return tmp_path

    return made


def test_a_ground_survives_its_way_from_a_node(machine: Machine, tmp_path: Path) -> None:
    machine(apptainer=APPTAINER.replace("{folder}", str(tmp_path)), squashfuse="")
    seen = ground.look("apptainer", "image.sif")
    assert seen.start is not None
    assert len(seen.places) == 2
    assert ground.read(json.loads(json.dumps(asdict(seen)))) == seen
    assert ground.read(json.loads(json.dumps(asdict(Ground())))) == Ground()


def test_a_runtime_is_asked_what_it_knows(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = APPTAINER.replace("{folder}", str(tmp_path))
    machine(apptainer=program)
    seen = ground.look("apptainer")
    assert (seen.there, seen.version, seen.lacks) == (["apptainer"], "apptainer version 1.4.5", [])
    assert not (seen.setuid or seen.squashfuse or seen.newuidmap or seen.start or seen.driver or seen.cuda)
    machine(apptainer=program.replace("--build-arg", "--nothing").replace("--no-home", "--no-home-at-all"))
    assert ground.look("apptainer").lacks == ["exec --no-home", "build --build-arg"]
    own = tmp_path / "libexec/apptainer/bin"
    own.mkdir(parents=True)
    for name in ("squashfuse_ll", "starter-suid"):
        shutil.copy(tmp_path / "bin/apptainer", own / name)
    assert ground.look("apptainer").squashfuse
    assert not ground.look("apptainer").setuid
    (own / "starter-suid").chmod(0o4755)
    assert ground.look("apptainer").setuid
    machine(apptainer="echo no such library >&2; exit 1")
    assert ground.look("apptainer").silent == "no such library"


def test_where_builds_write(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(apptainer=APPTAINER, singularity=APPTAINER)

    def places(name: str = "apptainer") -> list[tuple[str, str, str]]:
        return [(one.name, one.path, one.trouble) for one in ground.look(name).places]

    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    cache = ("APPTAINER_CACHEDIR", f"{tmp_path}/.apptainer/cache", "")
    assert places() == [("APPTAINER_TMPDIR", "/tmp", ""), cache]
    monkeypatch.setenv("TMPDIR", f"{tmp_path}/no")
    assert places() == [("TMPDIR", f"{tmp_path}/no", "is not there"), cache]
    monkeypatch.setenv("SINGULARITY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("SINGULARITY_CACHEDIR", str(tmp_path))
    both = [("SINGULARITY_TMPDIR", str(tmp_path), ""), ("SINGULARITY_CACHEDIR", str(tmp_path), "")]
    assert places() == places("singularity") == both
    monkeypatch.setenv("APPTAINER_TMPDIR", "/tmp")
    assert places()[0] == ("APPTAINER_TMPDIR", "/tmp", "")
    assert places("singularity") == both


@pytest.mark.parametrize(
    ("program", "start"),
    [
        ("true", Start(0.0)),
        ("echo INFO: Converting SIF file to temporary sandbox... >&2", Start(0.0, unpacked=True)),
        ("echo 'FATAL:   no image' >&2; echo WARNING: more >&2; exit 255", Start(0.0, trouble="no image")),
        ("printf '\\033[91mERROR  : no namespace\\n\\033[0m' >&2; exit 1", Start(0.0, trouble="no namespace")),
        ("exit 3", Start(0.0, trouble="exit code 3")),
        ("echo INFO: Converting SIF file to temporary sandbox... >&2; /bin/sleep 60; true",
         Start(0.0, True, "no answer within 0 s")),
    ],
)  # fmt: skip
def test_an_image_is_started(program: str, start: Start, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "START_SECONDS", 0.4)
    folder = machine(apptainer=f'[ "$APPTAINER_TMPDIR" = "$SINGULARITY_TMPDIR" ] || exit 9\n{program}')
    began = time.monotonic()
    assert replace(ground.started("apptainer", "image.sif", str(folder)), seconds=0.0) == start
    assert time.monotonic() - began < 5
    assert [one.name for one in folder.iterdir()] == ["bin"]


def test_without_a_temporary_folder_no_image_starts(machine: Machine) -> None:
    folder = machine(apptainer="true")
    assert "no temporary folder" in ground.started("apptainer", "image.sif", str(folder / "no")).trouble


def test_what_hangs_ends_with_all_that_it_started(machine: Machine, tmp_path: Path) -> None:
    machine(slow=f"(/bin/sleep 1; /bin/touch {tmp_path}/late) & wait")
    assert ground.ask("slow", seconds=0.2).code == 124
    time.sleep(1.2)
    assert not (tmp_path / "late").exists()
    assert ground.ask("no-such-program").code == 127


DENIED = "echo 'permission denied at unix:///{socket}: Get \"http://x\": dial: denied' >&2; exit 1"


def test_an_engine_answers_or_says_why_not(machine: Machine, tmp_path: Path) -> None:
    machine(docker=f"echo '28.1|{tmp_path}'", nvidia_container_runtime_hook="")
    seen = ground.look("docker")
    assert (seen.version, seen.silent, seen.toolkit) == ("docker 28.1", "", True)
    assert [(one.name, one.path, one.trouble) for one in seen.places] == [("data-root", str(tmp_path), "")]
    machine(docker="echo '28.1|/no/such/place'")  # of another machine
    assert ground.look("docker").places == []
    (tmp_path / "socket").touch()
    (tmp_path / "socket").chmod(0o640)
    machine(docker=DENIED.replace("/{socket}", str(tmp_path / "socket")))
    denied = ground.look("docker")
    assert denied.silent == f"permission denied at unix://{tmp_path}/socket"
    assert denied.owner.startswith("-rw-r----- ")
    machine(docker="echo '|'; echo 'Cannot connect at unix:///no/socket. Is it running?' >&2")
    assert ground.look("docker").silent.startswith("Cannot connect at unix:///no/socket")
    assert ground.look("docker").owner == ""


def test_podman_has_gpus_where_they_are_described(machine: Machine, tmp_path: Path) -> None:
    machine(podman=f"echo '4.3.1|{tmp_path}'", nvidia_container_runtime_hook="")
    seen = ground.look("podman")
    assert (seen.version, seen.toolkit, seen.places[0].name) == ("podman 4.3.1", False, "graphroot")
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi/nvidia.yaml").touch()
    assert ground.look("podman").toolkit


def test_pyxis_is_what_srun_says(machine: Machine) -> None:
    machine(srun="echo '  --container-image=IMAGE'")
    assert ground.look("pyxis").there == ["pyxis"]
    machine(srun="echo '  --container=bundle'")
    assert ground.look("pyxis").there == []


NEW = "| NVIDIA-SMI 590.44    KMD Version: 590.44    CUDA UMD Version: 13.1     |"
OLD = "| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4     |"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19"


@pytest.mark.parametrize(
    ("module", "smi", "told"),
    [
        ("", "", ("", "")),
        ("", OLD, ("550.54.15", "12.4")),
        ("", NEW, ("", "13.1")),
        (OPEN, "", ("580.65.06", "")),
        (CLOSED, OLD, ("535.104.05", "12.4")),
        (CLOSED, "No devices were found", ("535.104.05", "")),
    ],
)
def test_a_gpu_driver_is_read(module: str, smi: str, told: tuple[str, str], machine: Machine) -> None:
    folder = machine(nvidia_smi=f"echo '{smi}'")
    if module:
        (folder / "version").write_text(module)
    assert ground.gpu() == told


def test_switches_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "SYSCTL", tmp_path)
    monkeypatch.setattr(ground, "PROFILES", tmp_path / "apparmor.d")
    assert ground._userns("apptainer") == ""
    write_text(tmp_path / ground.APPARMOR, "1\n")
    assert ground._userns("apptainer") == "kernel.apparmor_restrict_unprivileged_userns = 1"
    write_text(tmp_path / "apparmor.d/usr.bin.apptainer", "")
    assert ground._userns("apptainer") == ""
    write_text(tmp_path / "user/max_user_namespaces", "0\n")
    assert ground._userns("apptainer") == "user.max_user_namespaces = 0"
    assert {name.replace("/", ".") for name in (*ground.SWITCHES, ground.APPARMOR)} == set(runtime.SWITCH)


def test_ids_of_ones_own(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = (tmp_path / "subuid", tmp_path / "subgid")
    monkeypatch.setattr(ground, "SUBIDS", files)
    monkeypatch.setattr(ground, "_user", lambda: "ada")
    assert not ground._subids()
    files[0].write_text("adam:1:2\nada:100000:65536\n")
    assert not ground._subids()
    files[1].write_text(f"{os.getuid()}:100000:65536\n")
    assert ground._subids()
    machine(getsubids='[ "$*" = ada ]')  # a directory service knows better
    assert not ground._subids()
    machine(getsubids="true")
    assert ground._subids()


def test_fuse_is_open_closed_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "FUSE", tmp_path / "fuse")
    assert ground._fuse() == "absent"
    (tmp_path / "fuse").touch()
    assert ground._fuse() == ""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert ground._fuse() == "closed"


def test_room(tmp_path: Path) -> None:
    assert room.filesystem(Path("/proc/self")) == "proc"
    seen = room.place("X", str(tmp_path / "not/yet"))
    assert (seen.trouble, room.place("X", str(tmp_path / "no"), made=False).trouble) == ("", "is not there")
    free = shutil.disk_usage(tmp_path).free / 1e9
    assert seen.gb <= free + 1 if seen.memory else seen.gb == pytest.approx(free, abs=1)
    if room.filesystem(Path("/dev/shm")) == "tmpfs":
        assert room.place("X", "/dev/shm").memory


def test_memory_that_is_short_is_no_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(room, "filesystem", lambda _: "tmpfs")
    monkeypatch.setattr(Path, "read_text", lambda _: "MemTotal: 9 kB\nMemAvailable:  2000000 kB\n")
    assert room.place("X", str(tmp_path)).gb == 2.0


@pytest.mark.skipif(not shutil.which("apptainer"), reason="no apptainer on PATH")
def test_the_real_apptainer() -> None:
    seen = ground.look("apptainer")
    assert (seen.silent, seen.lacks) == ("", [])
    assert re.match(r"(apptainer|singularity)\S* version \d", seen.version)
    absent = ground.started("apptainer", "/no/such/image.sif", None)
    assert "no such file" in absent.trouble


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker on PATH")
def test_the_real_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    if subprocess.run(["docker", "version"], capture_output=True).returncode == 0:
        assert re.match(r"docker \d", ground.look("docker").version)
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such.sock")
    assert "/no/such.sock" in ground.look("docker").silent
