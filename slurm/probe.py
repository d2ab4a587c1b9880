"""Probe: a short job that tells what a compute node is like: sent from a login node, and run on the node.

    python -m slurm.probe FOLDER RUNTIME IMAGE SCRATCH     a folder of the store's logs/; of a cluster's entry; or ''

It says what it saw in one line of JSON, in its log, which the login node waits for in FOLDER.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from slurm import ground, package
from slurm.cluster import CHECKOUT, Cluster
from slurm.ground import Ground
from slurm.room import Place, place
from slurm.scheduler import ENDED, Outage, call
from slurm.submission import Sent, Task
from suite import catalog, task
from suite.entry import Refusal
from suite.store import Store, lock, write_text

JOB_PACKAGES = ("torch", "torchvision", "timm", "numpy", "PIL", "safetensors")
# Reasons of Slurm's for which a job waits until somebody changes it, or the cluster.
FOR_EVER: tuple[str, ...] = ("BadConstraints", "Invalid", "NotAllowed", "PartitionConfig", "PartitionNodeLimit")
FOR_EVER += ("PartitionTimeLimit", "JobHeld", "launch failed")
CACHE_SECONDS = 30.0  # how long a file system may hide from one machine what another has written


@dataclass(frozen=True)
class Node:
    """What the probe saw where it ran. `ahead` is by how many seconds the file server's clock is ahead of the node's,
    `lock` what became of the lock that the login node held: "held", "free", or why the node can't lock at all; `tmp`
    where jobs put temporary files, with the room in it and why they can't; `wanting` are packages that only some tasks
    need."""

    host: str
    python: str
    executable: str
    checkout: str
    absent: list[str]
    began: float
    ahead: float
    unwritable: str
    lock: str
    store_gb: float
    tmp: str
    tmp_gb: float
    gpus: int
    cores: int
    cpus: int
    tmp_trouble: str = ""
    ground: Ground = field(default_factory=Ground)
    wanting: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """How the probe ended: Slurm's state and reason, and the node's name; what it saw, or else its log's last line."""

    state: str
    reason: str = ""
    host: str = ""
    node: Node | None = None
    log: str = ""

    @property
    def over(self) -> bool:
        return self.state in ENDED or self.state == "COMPLETING"

    @property
    def hopeless(self) -> bool:
        return self.state == "PENDING" and any(word in self.reason for word in FOR_EVER)


def look(folder: Path, runtime: str, image: str, scratch: str) -> Node:
    """What this machine is like, with the store that `folder` is in, for a runtime, which starts an image."""
    store, tmp = folder.parent.parent, temporary(scratch)
    return Node(
        host=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        python=".".join(map(str, sys.version_info[:3])),
        executable=sys.executable,
        checkout=checkout(),
        absent=absent(),
        began=time.time(),
        ahead=ahead(folder),
        unwritable=unwritable(store),
        lock=locked(folder / "lock"),
        store_gb=free_gb(store),
        tmp=tmp.path,
        tmp_gb=tmp.gb,
        gpus=len(list(Path("/dev").glob("nvidia[0-9]*"))),
        cores=len(os.sched_getaffinity(0)),
        cpus=os.cpu_count() or 1,
        tmp_trouble=tmp.trouble,
        ground=ground.look(runtime, image),
        wanting=wanting(),
    )


def temporary(scratch: str) -> Place:
    """Where programs put temporary files on this machine: the entry's `scratch`, or else as TMPDIR says."""
    path = os.path.expandvars(scratch)
    if "$" in path:
        return Place("scratch", path, 0.0, trouble="names a variable that is not set")
    try:
        return place("scratch", path or tempfile.gettempdir())
    except OSError as error:  # no folder that Python could write to
        return Place("TMPDIR", os.environ.get("TMPDIR", "/tmp"), 0.0, trouble=error.strerror or str(error))


def absent() -> list[str]:
    """The jobs' packages that this Python does not have."""
    return [name for name in JOB_PACKAGES if importlib.util.find_spec(name) is None]


def wanting() -> list[str]:
    """The packages that this Python does not have of those that only some tasks need."""
    needed = package.needed(catalog.entries("suite.tasks", task.Task).values())
    return package.missing(sys.executable, needed)


def checkout() -> str:
    """A digest of this checkout's programs. Not git's word: a compute node may have no git, and a file be edited."""
    made = hashlib.sha256()
    for path in sorted(path for house in ("suite", "slurm", "jobs") for path in (CHECKOUT / house).rglob("*.py")):
        made.update(f"{path.relative_to(CHECKOUT)}\0".encode() + path.read_bytes())
    return made.hexdigest()[:12]


def unwritable(folder: Path) -> str:
    """Why nothing can be written into a folder; '' where a file could be written, read back and removed."""
    path, text = folder / f".doctor-{secrets.token_hex(4)}", secrets.token_hex(8)
    try:
        write_text(path, text)
        same = path.read_text() == text
        path.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return "" if same else "what was written reads back as something else"


def ahead(folder: Path) -> float:
    """By how many seconds the clock of a folder's file server is ahead of ours: 0 where a file's time lies between the
    times before and after it was written."""
    path = folder / f".clock-{secrets.token_hex(4)}"
    before = time.time()
    with open(path, "x") as file:
        file.write("x")
        file.flush()
        os.fsync(file.fileno())
        written = os.fstat(file.fileno()).st_mtime
    after = time.time()
    path.unlink()
    return min(written - before, 0.0) + max(written - after, 0.0)


def free_gb(folder: Path) -> float:
    return shutil.disk_usage(folder).free / 1e9


def locked(path: Path) -> str:
    """Whether a lock is "held" by somebody or "free"; or why there can be none."""
    try:
        with lock(path, wait=False) as mine:
            return "free" if mine else "held"
    except OSError as error:
        return error.strerror or str(error)


def send(cluster: Cluster, store: Store, array: Sent, patience: float, image: str = "") -> Answer:
    """Sends a probe that asks for what `array` asks for and starts an image, and waits for its answer. Afterwards
    neither a job nor a file of it is left. Outage or Refusal where sbatch takes no probe."""
    from slurm.script import Script  # loads submitit, which a node need not have

    folder = store.logs / f".doctor-{secrets.token_hex(4)}"
    # Slurm warns a job up to a minute before the grace that was asked for: the probe must be over by then.
    asked = array.asked | {"minutes": 3 + cluster.grace // 60}
    array = replace(array, name=folder.name[1:], asked=asked, tasks=[Task([], [])])
    words = [str(folder), cluster.runtime, image, cluster.scratch]
    script = Script(cluster, folder, array, command=["-m", "slurm.probe", *words])
    answer = Answer("")
    folder.mkdir(parents=True)
    try:
        with ExitStack() as held:
            with suppress(OSError):  # where nothing can be locked, the node will say so too
                held.enter_context(lock(folder / "lock"))
            job = script.send()
            answer = _wait(job, patience)
            return _read(folder, job, answer) if answer.over else answer
    finally:
        if not answer.over:
            with suppress(Outage, Refusal):
                call("scancel", f"--name={array.name}")  # by its name: a number may never have reached us
        shutil.rmtree(folder, ignore_errors=True)


def _wait(job: str, patience: float) -> Answer:
    """What Slurm says of a job when it has ended, or when patience has."""
    until, pause, answer = time.monotonic() + patience, 0.5, Answer("")
    while not (answer.over or answer.hopeless) and time.monotonic() < until:
        time.sleep(pause)
        pause = min(2 * pause, 5.0)
        try:
            told = call("squeue", "--noheader", f"--jobs={job}", "--states=all", "--format=%T|%r|%N").strip()
            state, reason, host = (told or "COMPLETED||").splitlines()[0].split("|")
            answer = Answer(state, reason, host)
        except Outage:
            continue
        except Refusal:  # Slurm has forgotten it
            answer = Answer("COMPLETED")
    return answer


def _read(folder: Path, job: str, answer: Answer) -> Answer:
    """With what the probe wrote, as soon as the file system shows it."""
    path, until = folder / f"{job}_0_0_log.out", time.monotonic() + CACHE_SECONDS
    while path.name not in os.listdir(folder) and time.monotonic() < until:
        time.sleep(1)
    lines = path.read_text(errors="replace").split("\n") if path.exists() else []
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("srun: ")]
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            told = json.loads(line)
            return replace(answer, node=Node(**{**told, "ground": ground.read(told["ground"])}))
    return replace(answer, log=lines[-1] if lines else "")


if __name__ == "__main__":
    print(json.dumps(asdict(look(Path(sys.argv[1]), *sys.argv[2:]))), flush=True)
