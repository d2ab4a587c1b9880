"""Doctor: what may keep a grid from running here, one line a finding, each with its remedy."""

from __future__ import annotations

import getpass
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isinf
from pathlib import Path

from slurm import ground, package, partition, probe, scheduler
from slurm.array import arrays
from slurm.cluster import Cluster, asks
from slurm.partition import Nodes
from slurm.probe import Answer, Node
from slurm.runtime import Finding, Images, findings
from slurm.scheduler import Outage, call
from slurm.submission import Sent, draft
from suite.bundle import Ask, Bundle
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.store import Store, write_text
from suite.task import Resources, Task

COMMANDS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue")
ANSWER_SECONDS = 10.0  # a controller that takes longer is not one to send a grid to
SKEW_SECONDS = 2.0
STORE_GB, TMP_GB = 10.0, 1.0
LOCKS = {"held": "sees this machine's locks on the store", "free": "does not see this machine's locks on the store"}
REMEDIES = {  # a word of sbatch's refusal -> what to change
    "account": "`account` in the cluster's entry",
    "partition": "`partition` in the cluster's entry",
    "feature": "`constraint` in the cluster's entry",
    "qos": "`qos` in the cluster's entry",
    "wckey": "`wckey` in the cluster's entry",
    "gres": "`gres` in the cluster's entry",
}
OTHERWISE = "see `account`, `partition`, `qos`, `constraint`, `gres` and `lines` in the cluster's entry"
TMPDIR = "make room, or set TMPDIR in `setup` of the cluster's entry"
SCRATCH = "make room, or name another folder by `scratch` in the cluster's entry"
SHARED = "put it on a file system that compute nodes share: --store, or `store` in the cluster's entry"


@dataclass(frozen=True)
class Shape:
    """What some tasks ask for alike, and the array that would ask sbatch for it."""

    resources: Resources
    tasks: list[str]
    array: Sent

    def __str__(self) -> str:
        asked = self.resources
        nodes = f"{asked.nodes} nodes with " if asked.nodes > 1 else ""
        return f"{nodes}{_many(asked.gpus, 'GPU')}, {_many(asked.cpus, 'CPU')}, {asked.memory_gb:g} GB"


def examine(cluster: Cluster, store: Store, *, patience: float = 120.0) -> Iterator[Finding]:
    """All checks of a cluster and a store, as they are made; a compute node is waited for with `patience` (seconds)."""
    yield from _here(cluster, store)
    images = Images()
    try:
        images = Images.of(store, cluster.runtime)
        yield from images.findings()
    except Refusal as trouble:
        yield Finding(False, str(trouble), "launch.py build NAME makes it anew")
    yield from _ground(cluster, images)
    if cluster.scheduler != "slurm":
        cores, gpus = len(os.sched_getaffinity(0)), len(list(Path("/dev").glob("nvidia[0-9]*")))
        yield Finding(cores >= 1, f"{cores} of {os.cpu_count()} cores may be used; {cluster.slots} job(s) side by side")
        yield Finding(True, f"{gpus} GPUs" if gpus else "no GPU: everything runs on the CPU")
        return
    try:
        yield from _slurm(cluster, store, images, patience)
    except (Outage, Refusal, OSError) as trouble:
        yield Finding(False, str(trouble), "what comes after this was not looked at: mend it, then run doctor again")


def _here(cluster: Cluster, store: Store) -> Iterator[Finding]:
    """This machine, which has a scheduler's commands or runs the jobs itself."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(sys.version_info >= (3, 10), f"Python {version}", "use Python 3.10 or newer")
    if not (cluster.python or cluster.runtime):
        yield _packages("", probe.absent())
        yield from _wanting("", probe.wanting(), store)
    pandas = importlib.util.find_spec("pandas") is not None
    yield Finding(pandas, f"pandas {'is there' if pandas else 'is missing'}", "only `gather` needs it: make setup")
    why = probe.unwritable(store.root)
    told = f"{store.root} cannot be written: {why}" if why else f"{store.root} can be written"
    yield Finding(not why, told, "name another with --store")
    free = probe.free_gb(store.root if store.root.exists() else Path.cwd())
    told = f"{free:.0f} GB free in {store.root}"
    yield Finding(free > STORE_GB, told, "features of a large dataset take 10 GB a model")


def _ground(cluster: Cluster, images: Images) -> Iterator[Finding]:
    """This machine and the runtime: where a scheduler is asked for nodes, images are only built here."""
    local = cluster.scheduler != "slurm"
    if cluster.runtime or local:
        seen = ground.look(cluster.runtime, images.sample if local else "")
        yield from findings(seen, images, runs=local, builds=True)
    if cluster.runtime and local:
        tmp = probe.temporary(cluster.scratch)
        told = f"{tmp.gb:.0f} GB free for temporary files in {tmp.path}"
        told += f", which {tmp.trouble}" if tmp.trouble else ""
        yield Finding(not tmp.trouble and tmp.gb > TMP_GB, told, SCRATCH)


def _packages(where: str, absent: Sequence[str]) -> Finding:
    told = f"missing: {', '.join(absent)}" if absent else "all there"
    told = f"{where}packages of the jobs {told}"
    return Finding(not absent, told, "make setup, or give the cluster another `python`")


def _wanting(where: str, absent: Sequence[str], store: Store) -> Iterator[Finding]:
    """Packages that only some tasks need: the others run without."""
    needed = package.needed(Catalog(store).tasks.values())
    for name in absent:
        told = f"{where}{name} is not installed: cells of {', '.join(needed[name])} are blocked"
        yield Finding(True, f"{told}; {package.remedy([name])}")


def _slurm(cluster: Cluster, store: Store, images: Images, patience: float) -> Iterator[Finding]:
    """Slurm itself, then what it would take, then one of its nodes; no further where a step's ground is missing."""
    absent = [name for name in COMMANDS if shutil.which(name) is None]
    if absent:
        yield Finding(False, f"no {', '.join(absent)} on PATH", "run this on a login node, or load the module of Slurm")
        return
    try:
        told = call("scontrol", "show", "config", timeout=ANSWER_SECONDS)
    except (Outage, Refusal) as trouble:
        yield Finding(False, f"Slurm's controller does not answer: {trouble}", "ask the site; it may be a short outage")
        return
    config = dict(re.findall(r"^(\S+)\s*=\s*(.*?)\s*$", told, re.MULTILINE))
    yield Finding(True, f"Slurm {config.get('SLURM_VERSION', '?')} of {config.get('ClusterName', '?')} answers")
    if cluster.runtime in ground.SIF and os.geteuid() and config.get("ProctrackType") == "proctrack/linuxproc":
        told = "ProctrackType linuxproc signals what mounts your images, too: a program told to leave may die of it"
        yield Finding(True, f"{told}, and goes on from its last checkpoint")
    takes = scheduler.limits(cluster.window)
    yield Finding(True, f"job arrays of up to {takes.array} tasks, {takes.tasks} tasks in the queue at once")
    yield from _accounting(cluster, config)
    there = partition.parse(call("sinfo", "--noheader", "--all", "--exact", partition.FORMAT, timeout=ANSWER_SECONDS))
    nodes = partition.of(cluster.partition, there)
    if not nodes:
        names = ", ".join(sorted({one.partition for one in there})) or "none"
        told = f"no partition {cluster.partition}" if cluster.partition else "no partition is the site's default"
        yield Finding(False, f"{told}; there are: {names}", REMEDIES["partition"])
        return
    yield from _partition(cluster, nodes)
    taken = []
    for shape in _shapes(cluster, store):
        finding = _asked(cluster, store, shape, nodes)
        taken += [shape] if finding.well else []
        yield finding
    if taken and not probe.unwritable(store.root):
        yield from _probed(cluster, store, taken[0], images, patience)


def _accounting(cluster: Cluster, config: dict[str, str]) -> Iterator[Finding]:
    there = "slurmdbd" in config.get("AccountingStorageType", "")
    without = "no slurmdbd: none is needed, results and the queue tell all"
    yield Finding(True, "slurmdbd keeps accounts" if there else without)
    yield Finding(True, f"ended jobs stay in the queue for {config.get('MinJobAge', '?')} (MinJobAge)")
    if there and cluster.account:
        words = ("sacctmgr", "--noheader", "--parsable2", "show", "assoc", f"user={getpass.getuser()}")
        with suppress(Outage, Refusal):
            own = sorted(set(call(*words, "format=Account", timeout=ANSWER_SECONDS).split()))
            told = f"account {cluster.account} is{'' if cluster.account.lower() in own else ' not'} among yours"
            yield Finding(cluster.account.lower() in own, f"{told}: {', '.join(own) or 'none'}", REMEDIES["account"])


def _partition(cluster: Cluster, nodes: Sequence[Nodes]) -> Iterator[Finding]:
    name = ", ".join(sorted({one.partition for one in nodes}))
    up, count = sum(one.count for one in nodes if one.up), sum(one.count for one in nodes)
    most = max(nodes, key=lambda one: (one.gres.get("gpu", 0), one.cpus))
    gpus = _many(most.gres.get("gpu", 0), "GPU")
    told = f"partition {name}: {up} of {count} nodes up, of up to {gpus}, {_many(most.cpus, 'CPU')}, "
    yield Finding(up > 0, f"{told}{most.memory / 1024:.0f} GB", "ask the site when they come back, or name another")
    hours = max(one.hours for one in nodes)
    told = f"partition {name} sets no time limit" if isinf(hours) else f"partition {name} takes jobs of {hours:g} hours"
    if hours < cluster.hours:
        told += f", and the entry allows {cluster.hours:g}: longer ones would wait for ever"
    yield Finding(cluster.hours <= hours, told, f"hours={hours:g} in the cluster's entry")


def _many(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def _shapes(cluster: Cluster, store: Store) -> list[Shape]:
    """What the tasks ask for on this cluster, as a grid would, the smallest first."""
    alike: dict[Resources, list[Task]] = {}
    for task in Catalog(store).tasks.values():
        alike.setdefault(replace(asks(cluster, task.resources), minutes=0), []).append(task)
    shapes = []
    for resources, tasks in alike.items():
        bundle = Bundle(tasks[0].image, Ask(resources), (), max(task.resources.minutes for task in tasks))
        (array,) = draft(store, cluster, arrays(cluster, [bundle]), "").arrays
        shapes.append(Shape(resources, [task.name for task in tasks], array))
    return sorted(shapes, key=lambda one: (one.resources.nodes, one.resources.gpus, one.resources.cpus))


def _asked(cluster: Cluster, store: Store, shape: Shape, nodes: Sequence[Nodes]) -> Finding:
    """Whether a node has what tasks ask for, since Slurm takes a job that no node could run; then what sbatch says to
    the script that a grid would send."""
    from slurm.script import Script, parameters  # loads submitit, 0.2 s

    jobs = f"the jobs of {', '.join(shape.tasks)} ({shape})"
    if not any(group.fit(parameters(cluster, shape.array)) for group in nodes):
        told = f"no node has what it takes for {jobs}: they would wait for ever"
        return Finding(False, told, "`cpus_a_gpu`, `gb_a_gpu`, `gres` in the cluster's entry")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.sh"
        write_text(path, Script(cluster, store.logs / "doctor", shape.array).text)
        try:
            call("sbatch", "--test-only", str(path), timeout=60)
        except Refusal as refused:
            told = str(refused).replace("sbatch: ", "").replace("error: ", "")
            remedy = next((remedy for word, remedy in REMEDIES.items() if word in told.lower()), OTHERWISE)
            return Finding(False, f"sbatch does not take {jobs}: {told}", remedy)
    return Finding(True, f"sbatch takes {jobs}")


def _probed(cluster: Cluster, store: Store, shape: Shape, images: Images, patience: float) -> Iterator[Finding]:
    """What a short job on one of the nodes finds."""
    here, sent = probe.ahead(store.root), time.time()
    answer = probe.send(cluster, store, shape.array, patience, images.sample)
    if answer.node:
        yield from _node(answer.node, store, shape.resources)
        yield from findings(answer.node.ground, images, f"{answer.node.host}: ", runs=True, builds=False)
        yield _clocks(answer.node, here, sent, time.time())
    else:
        yield _unanswered(answer, store, patience)


def _unanswered(answer: Answer, store: Store, patience: float) -> Finding:
    where = answer.host or "the node"
    if answer.hopeless:
        return Finding(False, f"the probe would wait for ever: {answer.reason}", OTHERWISE)
    if answer.over and answer.log:
        told = f"the probe failed on {where}: {answer.log}"
        return Finding(False, told, "this checkout and the entry's `python` must be there too (`setup` loads modules)")
    if answer.over:
        told = f"the probe ended on {where} ({answer.state.lower()}), and nothing that it wrote came into {store.root}"
        return Finding(False, told, SHARED)
    if answer.state in ("", "PENDING", "CONFIGURING"):
        told = f"no node was free within {patience:.0f} s ({answer.reason or 'squeue says nothing of the probe'})"
        return Finding(True, f"{told}: compute nodes not looked at")
    told = f"the probe on {where} did not end within {patience:.0f} s ({answer.state.lower()})"
    return Finding(False, told, "a file system may hang there: ask the site, or keep that node out by `lines`")


def _node(node: Node, store: Store, asked: Resources) -> Iterator[Finding]:
    """What a compute node must have."""
    at = f"{node.host}: "
    yield Finding(True, f"{at}Python {node.python} ({node.executable})")
    same = node.checkout == probe.checkout()
    told = f"{at}{'the same checkout as' if same else 'another checkout than'} here"
    yield Finding(same, told, "put the checkout on a file system that compute nodes share")
    if not node.ground.runtime:
        yield _packages(at, node.absent)
        yield from _wanting(at, node.wanting, store)
    why = f"cannot be written: {node.unwritable}" if node.unwritable else "can be written"
    yield Finding(not node.unwritable, f"{at}{store.root} {why}", SHARED)
    told = at + LOCKS.get(node.lock, f"no locks on the store: {node.lock}")
    yield Finding(node.lock == "held", told, "have the store mounted with `flock`: else two jobs may do the same work")
    free = f"{at}{node.store_gb:.0f} GB free in the store, {node.tmp_gb:.0f} GB in {node.tmp}"
    free += f", which {node.tmp_trouble}" if node.tmp_trouble else ""
    roomy = node.store_gb > STORE_GB and node.tmp_gb > TMP_GB and not node.tmp_trouble
    yield Finding(roomy, free, SCRATCH if node.ground.runtime else TMPDIR)
    told = f"{at}{_many(asked.cpus, 'CPU')} asked for, {node.cores} of its {node.cpus} may be used"
    unbound = node.cores >= min(asked.cpus, node.cpus)
    yield Finding(unbound, told, "srun=False in the cluster's entry, or ask the site how it binds CPUs")
    told = f"{at}{_many(asked.gpus, 'GPU')} asked for, {node.gpus} in /dev"
    yield Finding(True, told if node.gpus else f"{told}: jobs run on the CPU")


def _clocks(node: Node, here: float, sent: float, seen: float) -> Finding:
    """States compare times of this machine, of the node and of files. The node's clock is compared with ours through
    the file server's, and must lie between when we sent the probe and when we had its answer."""
    apart = max(abs(here), abs(node.ahead), abs(here - node.ahead), sent - node.began, node.began - seen)
    told = f"clocks of this machine, {node.host} and the file server are {max(apart, 0):.1f} s apart"
    return Finding(apart <= SKEW_SECONDS, told, "states compare times: have the site set its clocks (NTP)")
