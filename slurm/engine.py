"""Engine: a job's way into an image on the machine it is on: the image ready to start, and nothing left afterwards."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from slurm.cluster import CHECKOUT, Cluster
from slurm.container import ENGINES, Inside, cores, enter, kept, mounts
from suite import packed
from suite.cell import Cell
from suite.entry import Refusal
from suite.image import Image
from suite.store import Store, lock

POLL_SECONDS = 0.5
LOAD_SECONDS = 1800.0
ASK_SECONDS = 60.0


@contextmanager
def entered(
    cluster: Cluster,
    store: Store,
    image: Image,
    cells: Iterable[Cell],
    *,
    name: str,
    memory_gb: float = 0.0,
    leave: Callable[[], object] = bool,
) -> Iterator[Inside]:
    """What the program over `cells` gets in `image`, on this machine and now. Refusal, with the reason, where there is
    no way in."""
    runtime = cluster.runtime
    if runtime in ENGINES:
        load(runtime, store, image, leave)
    base = os.path.expandvars(cluster.scratch) or tempfile.gettempdir()
    try:
        Path(base).mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="cells-", dir=base))
    except OSError as error:
        raise Refusal(f"no scratch folder in {base}: {error.strerror}; see `scratch` in the cluster's entry") from None
    here = inside(cluster, store, image, cells, scratch, name=f"{name}-{secrets.token_hex(3)}", memory_gb=memory_gb)
    _places(here)
    try:
        yield replace(here, user="") if runtime in ENGINES and _rootless(runtime) else here
    finally:
        if runtime in ENGINES:
            with suppress(Refusal):
                _ask(runtime, "rm", "--force", here.name)
        shutil.rmtree(scratch, ignore_errors=True)


def _places(here: Inside) -> None:
    """Where the job's own /tmp hides what is to be mounted below it, there must be a place for each mount."""
    own = here.scratch / "tmp"
    own.mkdir()
    for path in (Path(path) for path, _ in mounts(here.read, (*here.write, here.scratch))):
        if path.is_relative_to("/tmp"):
            place = own / path.relative_to("/tmp")
            (place if path.is_dir() else place.parent).mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                place.touch()


def inside(
    cluster: Cluster,
    store: Store,
    image: Image,
    cells: Iterable[Cell],
    scratch: Path,
    *,
    name: str,
    memory_gb: float = 0.0,
) -> Inside:
    """What the program over `cells` gets in `image` on a machine like this one; over none, what makes weights."""
    cells = list(cells)
    return Inside(
        image=image.digest if cluster.runtime in ENGINES else str(store.images / image.file),
        digest=image.digest,
        read=tuple(read(cluster, store, cells)),
        write=tuple(written(store, weights=not cells or any(cell.task.makes == "weights" for cell in cells))),
        folder=CHECKOUT,
        scratch=scratch,
        name=re.sub("[^A-Za-z0-9_.-]", "-", name),
        gpus=gpus(cluster.runtime, os.environ),
        cpus=cores(os.sched_getaffinity(0), os.cpu_count()),
        memory_gb=memory_gb,
        user=f"{os.getuid()}:{os.getgid()}",
        groups=tuple(sorted(set(os.getgroups()) - {os.getgid()})),
        passed=kept(os.environ),
        node=os.environ.get("SLURMD_NODENAME", ""),
    )


def check(cluster: Cluster, store: Store, cells: Iterable[Cell]) -> None:
    """Refusal for a path that a container cannot be given, before anything is sent."""
    scratch = Path(os.path.expandvars(cluster.scratch) or tempfile.gettempdir())
    enter(cluster.runtime, inside(cluster, store, Image("", "", ""), cells, scratch, name="check"), [])


def read(cluster: Cluster, store: Store, cells: Iterable[Cell]) -> Iterator[Path]:
    """What a program may read: this checkout, all data and weights of the store, what its cells name elsewhere, what
    links among these lead to, and what the entry adds."""
    named = [CHECKOUT, store.data, store.weights]
    for cell in cells:
        root = store.data / cell.dataset.path
        named += [root, packed.folder(root)]
        named += [store.weights / cell.model.weights.file] if cell.model.weights else []
    for path in dict.fromkeys([*named, *map(Path, cluster.binds)]):
        if path.exists():  # what is missing the program will say
            yield from _hops(path)


def written(store: Store, *, weights: bool = False) -> Iterator[Path]:
    """What a program may write: the store, its weights only if it makes some; and where folders of it are links, what
    they lead to."""
    yield store.root
    for path in (store.features, store.results, store.logs, *([store.weights] if weights else [])):
        if path.is_symlink() or path == store.weights:
            yield from _hops(path)


def _hops(path: Path) -> Iterator[Path]:
    """A path and all that a chain of links makes of it: inside, each link must find the next."""
    yield path
    while path.is_symlink():
        path = path.parent / os.readlink(path)
        yield path
    yield path.resolve()


def gpus(runtime: str, env: Mapping[str, str]) -> str:
    """Which of this machine's GPUs a container gets: their numbers, "all" or ''. Most runtimes see what the job sees;
    an engine, outside the job, must be told, in the host's numbers and not in those of the job."""
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        return ""
    if runtime not in ENGINES:
        return "all"
    if "SLURM_JOB_ID" in env:
        return env.get("SLURM_STEP_GPUS") or env.get("SLURM_JOB_GPUS", "")
    return env.get("CUDA_VISIBLE_DEVICES", "all")


def load(runtime: str, store: Store, image: Image, leave: Callable[[], object] = bool) -> None:
    """Brings an image from the store into this machine's engine, unless it is there. Refusal if it cannot, or if we
    are told to `leave` meanwhile: an image takes minutes."""
    file = store.images / image.file
    while not there(runtime, image.digest):
        with lock(Path(tempfile.gettempdir()) / f".images-{os.getuid()}.lock", wait=False) as mine:
            if mine:
                told = _polled(leave, runtime, "load", "--input", str(file))
                if not there(runtime, image.digest):
                    raise Refusal(f"{runtime} does not load {file}: {_last(told)}")
        if leave():
            raise Refusal(f"told to end while {runtime} loaded {file}")
        time.sleep(POLL_SECONDS)


def _polled(leave: Callable[[], object], *words: str) -> str:
    """What a command says that may take long, and is ended when we are to leave."""
    with tempfile.TemporaryFile("w+", errors="replace") as told:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=told, stderr=subprocess.STDOUT)
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            if leave():
                process.kill()
        told.seek(0)
        return told.read()


def version(runtime: str) -> str:
    """What a runtime says that it is, or '' where it is not there."""
    try:
        return " ".join(_ask(runtime, "--version").stdout.split())
    except Refusal:
        return ""


def identity(runtime: str, reference: str) -> str:
    """The id of an engine's image, "sha256:...". Refusal where there is none."""
    ran = _ask(runtime, "image", "inspect", "--format", "{{.Id}}", reference)
    if ran.returncode:
        raise Refusal(f"{runtime} has no image {reference}: {_last(ran.stderr)}")
    return f"sha256:{ran.stdout.strip().removeprefix('sha256:')}"


def printed(runtime: str, image: str, path: str) -> str:
    """What a file of an image holds. Refusal, with the runtime's last word, where it cannot be read."""
    if runtime == "pyxis":
        words = ["unsquashfs", "-cat", image, path.lstrip("/")]
    elif runtime in ENGINES:
        words = [runtime, "run", "--rm", "--network=none", image, "cat", path]
    else:
        words = [runtime, "exec", "--cleanenv", "--no-home", image, "cat", path]
    ran = _ask(*words, seconds=LOAD_SECONDS)
    if ran.returncode:
        raise Refusal(f"{runtime} cannot read {path} in it: {_last(ran.stderr)}")
    return ran.stdout


def there(runtime: str, reference: str) -> bool:
    """Whether an engine has an image."""
    return not _ask(runtime, "image", "inspect", reference).returncode


def source(runtime: str, reference: str) -> str:
    """A registry's image that an engine has, with the digest that the registry knows it by."""
    ran = _ask(runtime, "image", "inspect", "--format", '{{join .RepoDigests " "}}', reference)
    known = ran.stdout.split() if not ran.returncode else []
    return " ".join([reference, *(one.rpartition("@")[2] for one in known[:1] if "@" not in reference)])


def bridged(runtime: str) -> bool:
    """Whether an engine gives containers a network of their own."""
    return runtime == "podman" or not _ask(runtime, "network", "inspect", "bridge").returncode


def _rootless(runtime: str) -> bool:
    """Whether root in Docker's containers is this user outside."""
    return runtime == "docker" and "rootless" in _ask("docker", "info", "--format", "{{.SecurityOptions}}").stdout


def _ask(*words: str, seconds: float = ASK_SECONDS) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Refusal(f"{' '.join(words[:2])} did not answer within {seconds:.0f} s") from None
    except FileNotFoundError:
        raise Refusal(f"no {words[0]} on PATH: see `setup` in the cluster's entry, or launch.py doctor") from None


def _last(told: str) -> str:
    return (told.strip().splitlines() or ["no word"])[-1]
