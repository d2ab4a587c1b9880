"""Container: the command that runs a program inside an image, for every runtime: pure functions.

Inside, paths are what they are outside. Only what is named here is there: no home, no variables of the host but those
that say which GPUs and which network to use, and nothing to write to but the store and a scratch folder.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from slurm.array import ranges
from slurm.cluster import Cluster
from suite.entry import Refusal

PYTHON = "/opt/venv/bin/python"  # in every image
ENGINES = ("docker", "podman")  # a container of theirs is no child of ours: it outlives who started it
NETWORK = ("NCCL_", "GLOO_", "UCX_", "FI_", "OMPI_MCA_")  # a site's settings of how processes reach each other
PASSED = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "TZ")


@dataclass(frozen=True)
class Inside:
    """What a program gets inside. `image` is a file of the runtime's format, or an engine's id of an image.

    `gpus` are their numbers on the host ("0,3"), "all", or "" for none; `cpus` ("0-3"), `memory_gb`, `user` ("UID:GID")
    and `groups` are told to engines, which would not know them otherwise; `name` is the container's.
    """

    image: str
    digest: str
    read: tuple[Path, ...]
    write: tuple[Path, ...]
    folder: Path
    scratch: Path
    name: str = ""
    gpus: str = ""
    cpus: str = ""
    memory_gb: float = 0.0
    user: str = ""
    groups: tuple[int, ...] = ()
    passed: Mapping[str, str] = field(default_factory=dict)
    node: str = ""


def command(
    cluster: Cluster,
    keys: Sequence[str],
    store: Path,
    commit: str,
    *,
    more: Sequence[str] = (),
    inside: Inside | None = None,
) -> list[str]:
    """The one command that crosses from the host to the program, which is `inside` an image or on the host itself."""
    words = ["-m", "jobs", *keys, "--store", str(store), "--commit", commit, *more]
    if inside is None:
        return [cluster.python or sys.executable, *words]
    tether = ["--tether"] if cluster.runtime in ENGINES else []
    return enter(cluster.runtime, inside, [*words, "--image", inside.digest, *tether])


def enter(runtime: str, here: Inside, argv: Sequence[str]) -> list[str]:
    """The command that runs the image's Python with `argv`. Refusal for a path that a runtime cannot be told."""
    ways = {"apptainer": _apptainer, "singularity": _apptainer, "docker": _docker, "podman": _podman, "pyxis": _pyxis}
    return [*ways[runtime](runtime, here), *_environment(runtime, here), PYTHON, *argv]


def kept(env: Mapping[str, str]) -> dict[str, str]:
    """Of the host's variables those that a program needs inside."""
    return {name: value for name, value in sorted(env.items()) if name in PASSED or name.startswith(NETWORK)}


def mounts(read: Iterable[Path], write: Iterable[Path]) -> list[tuple[str, str]]:
    """(path, "ro" or "rw"), parents first, without what is within one that is mounted alike. Where a path is to be read
    and written, it is written."""
    modes = dict.fromkeys(read, "ro") | dict.fromkeys(write, "rw")
    found: dict[Path, str] = {}
    for path in sorted(modes, key=lambda one: (len(one.parts), one)):
        above = next((found[parent] for parent in path.parents if parent in found), "")
        if above != modes[path]:
            found[path] = modes[path]
    return [(str(path), mode) for path, mode in found.items()]


def _apptainer(runtime: str, here: Inside) -> list[str]:
    binds = [f"--bind={_plain(path)}:{path}:{mode}" for path, mode in mounts(here.read, _written(here))]
    tmp = f"--bind={here.scratch}/tmp:/tmp:rw"  # the host's would let in what others have left there
    own = ["--cleanenv", "--no-home", "--no-mount=tmp", *(["--nv"] if here.gpus else [])]
    return [runtime, "exec", *own, tmp, *binds, f"--pwd={here.folder}", here.image]


def _docker(runtime: str, here: Inside) -> list[str]:
    # "device=0,3" in quotes: the option's value is a line of CSV.
    gpus = "all" if here.gpus == "all" else f'"device={here.gpus}"'
    return _engine(runtime, here, [f"--gpus={gpus}"] if here.gpus else [])


def _podman(runtime: str, here: Inside) -> list[str]:
    ordinary = here.user and not here.user.startswith("0:")
    own = ["--userns=keep-id", "--group-add=keep-groups"] if ordinary else []
    here = replace(here, groups=()) if ordinary else here  # theirs are kept as they are
    gpus = [f"--device=nvidia.com/gpu={gpu}" for gpu in here.gpus.split(",") if gpu]
    return _engine(runtime, here, [*own, *gpus])


def _engine(runtime: str, here: Inside, more: Sequence[str]) -> list[str]:
    """Whose processes see the host's processes, network and shared memory, as those of all other runtimes do: a
    heartbeat names its process, ranks meet, and NCCL and data loaders share memory."""
    shared = ["--pid=host", "--uts=host", "--ipc=host", "--network=host"]
    limits = [f"--memory={here.memory_gb:g}g"] if here.memory_gb else []
    limits += [f"--cpuset-cpus={here.cpus}"] if here.cpus else []
    who = [f"--user={here.user}", *(f"--group-add={group}" for group in here.groups)] if here.user else []
    binds = [_mount(path, mode) for path, mode in mounts(here.read, _written(here))]
    own = ["--rm", "--interactive", f"--name={here.name}", "--read-only", "--tmpfs=/tmp", "--pull=never"]
    return [runtime, "run", *own, *shared, *who, *limits, *more, *binds, f"--workdir={here.folder}", here.image]


def _pyxis(runtime: str, here: Inside) -> list[str]:
    binds = ",".join(f"{_plain(path)}:{path}:{mode}" for path, mode in mounts(here.read, _written(here)))
    where = [f"--nodelist={here.node}"] if here.node else []
    step = ["srun", "--overlap", "--nodes=1", "--ntasks=1", "--cpu-bind=none", *where]
    container = [f"--container-image={here.image}", f"--container-mounts={binds}", "--no-container-mount-home"]
    return [*step, *container, "--no-container-remap-root", f"--container-workdir={here.folder}"]


def _written(here: Inside) -> tuple[Path, ...]:
    return (*here.write, here.scratch)


def _environment(runtime: str, here: Inside) -> list[str]:
    """Set by a program of the image: every runtime has rules of its own for what a variable's value may hold."""
    # An engine shows only the GPUs that it was told, and counts them anew.
    unwanted = {"CUDA_VISIBLE_DEVICES"} if runtime in ENGINES else set()
    scratch, cache = here.scratch, here.scratch / "cache"
    path = "PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"
    fixed = {
        "HOME": scratch,
        "TMPDIR": scratch,
        "XDG_CACHE_HOME": cache,
        "TORCH_HOME": cache / "torch",
        "HF_HOME": cache / "huggingface",
        "TRITON_CACHE_DIR": cache / "triton",
        "TORCHINDUCTOR_CACHE_DIR": cache / "inductor",
        "MPLCONFIGDIR": cache / "matplotlib",
        "USER": "user",  # who has no entry in the image's /etc/passwd has no other name
        "LANG": "C.UTF-8",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    passed = {name: value for name, value in here.passed.items() if name not in unwanted}
    words = [f"{name}={value}" for name, value in {**fixed, **passed}.items()]
    # What a user of Apptainer has set for all images is not for these.
    clean = [word for name in ("PYTHONPATH", "PYTHONHOME", "LD_PRELOAD") for word in ("-u", name)]
    return ["/usr/bin/env", *clean, *(["-i", path] if runtime == "pyxis" else []), *words]


def _plain(path: str) -> str:
    """A path that can stand between colons and commas."""
    if ":" in path or "," in path:
        raise Refusal(f"{path}: a container cannot be given a path with ':' or ','; rename it, or link to it")
    return path


def _mount(path: str, mode: str) -> str:
    """--mount's line of CSV, which takes quotes and spaces; --volume would make a folder where there is none."""
    line = io.StringIO()
    fields = ["type=bind", f"source={_plain(path)}", f"target={path}", *(["readonly"] if mode == "ro" else [])]
    csv.writer(line, lineterminator="").writerow(fields)
    return f"--mount={line.getvalue()}"


def cores(allowed: set[int], there: int | None) -> str:
    """The cores that a process may use, "0-2,5"; '' where these are all of the machine's."""
    return "" if len(allowed) == there else ranges(sorted(allowed))
