"""Runtime: what a machine's ground means for the container runtime of a cluster's entry: findings, with the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from slurm.container import ENGINES
from slurm.ground import SIF, Ground
from slurm.room import Place
from suite import image
from suite.image import Image
from suite.store import Store

# The core image takes 6 GB unpacked and 4 GB packed; a build holds both, and what it installs from.
BUILD_GB, IMAGE_GB = 15.0, 8.0
DRIVERS = {11: 450, 12: 525, 13: 580}  # CUDA -> the oldest driver of its minor versions: NVIDIA, CUDA Compatibility

PRESENCE = "load its module (`setup` in the cluster's entry, for jobs), or set `runtime` to another"
RELEASE = "load Apptainer 1.2, SingularityCE 4.0 or newer"
SETUID = "or an installation of {runtime} with setuid"
OPEN = {
    "absent": f"ask the site for the kernel's fuse module (modprobe fuse), {SETUID}",
    "closed": f"ask the site: chmod 666 /dev/fuse, {SETUID}",
}
SWITCH = {
    "user.max_user_namespaces": f"ask the site: sysctl user.max_user_namespaces=15000, {SETUID}",
    "kernel.unprivileged_userns_clone": f"ask the site: sysctl kernel.unprivileged_userns_clone=1, {SETUID}",
    "kernel.apparmor_restrict_unprivileged_userns": f"ask the site for {{runtime}}'s AppArmor profile, {SETUID}",
}
WORDS = {  # of a start that failed, where nothing else tells why -> what to do
    "user namespace": f"ask the site for user namespaces of ordinary users, {SETUID}",
    "/dev/fuse": OPEN["closed"],
}
BY_HAND = "start it by hand: {runtime} exec IMAGE true"
SQUASHFUSE = f"install squashfuse (squashfuse_ll on PATH, or in {{runtime}}'s libexec), {SETUID}"
SUBIDS = "ask the site: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
MOVES = {
    "data-root": "`data-root` in /etc/docker/daemon.json, or: docker system prune",
    "graphroot": "`graphroot` in ~/.config/containers/storage.conf, or: podman system prune",
}
TOOLKIT = {
    "docker": "ask the site for the NVIDIA Container Toolkit",
    "podman": "ask the site: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
}


@dataclass(frozen=True)
class Finding:
    """A check: whether it went well, what was seen, and what to do if not."""

    well: bool
    seen: str
    remedy: str = ""


@dataclass(frozen=True)
class Images:
    """What a store has for a runtime: image -> what is there, or None. `sample` is a file that Apptainer can start."""

    runtime: str = ""
    there: Mapping[str, Image | None] = field(default_factory=dict)
    sample: str = ""

    @classmethod
    def of(cls, store: Store, runtime: str) -> Images:
        """Refusal for a record that is none."""
        there = {name: image.current(store, name, runtime) for name in image.names()} if runtime else {}
        files = [str(store.images / one.file) for one in there.values() if one] if runtime in SIF else []
        return cls(runtime, there, (files or [""])[0])

    @property
    def missing(self) -> bool:
        return any(one is None or one.stale for one in self.there.values())

    def findings(self) -> Iterator[Finding]:
        some = any(self.there.values())
        for name, one in self.there.items():
            if one is None:  # who has some may not want all
                told, get = f"no image {name} for {self.runtime}", f"launch.py build {name}, or launch.py pull {name}"
                yield Finding(some, f"{told}: its tasks are blocked until {get}" if some else told, get)
            elif one.stale:
                told = f"image {name} is stale: {one.file} was made from another recipe than this checkout's"
                yield Finding(False, told, f"launch.py build {name}")
            else:
                cuda = f", CUDA {one.cuda}" if one.cuda else ""
                yield Finding(True, f"image {name}: {one.file}, {one.bytes / 1e9:.1f} GB{cuda}")


def findings(ground: Ground, images: Images, at: str = "", *, runs: bool, builds: bool) -> Iterator[Finding]:
    """What a machine's ground means, each seen `at` it, where jobs run, or images are built, or both."""
    for one in _findings(ground, images, runs, builds):
        remedy = one.remedy.format(runtime=ground.runtime, user=ground.user)
        yield Finding(one.well, at + one.seen, remedy)


def _findings(ground: Ground, images: Images, runs: bool, builds: bool) -> Iterator[Finding]:
    missing = builds and images.missing
    needed = runs or missing
    if not ground.runtime:
        yield Finding(True, f"container runtime: {', '.join(ground.there) or 'none'}")
    elif ground.runtime not in ground.there:
        yield _absent(ground, needed)
    elif ground.silent:
        yield _silent(ground, needed)
    else:
        yield Finding(True, f"container runtime: {ground.version or 'srun takes --container-image'}")
        yield from _release(ground, runs, missing)
        if runs:
            yield from _start(ground)
            yield from _gpus(ground, {name: one.cuda for name, one in images.there.items() if one})
        yield from _users(ground, missing)
        if builds or ground.runtime in ENGINES:  # which keep their images on each machine
            yield from (_room(one, builds) for one in ground.places)


def _absent(ground: Ground, needed: bool) -> Finding:
    others = f"; there are: {', '.join(ground.there)}" if ground.there else ""
    if ground.runtime == "pyxis":
        remedy = "ask the site for pyxis, or set `runtime` in the cluster's entry to another"
        return Finding(not needed, f"srun has no --container-image{others}", remedy)
    unneeded = "" if needed else ", and none is needed here: all images are there"
    return Finding(not needed, f"no {ground.runtime} on PATH{unneeded}{others}", PRESENCE)


def _silent(ground: Ground, needed: bool) -> Finding:
    told = f"{ground.runtime} is there, but does not answer: {ground.silent}"
    told += f" ({ground.owner})" if ground.owner else ""
    if ground.runtime in SIF:
        return Finding(not needed, told, f"{PRESENCE}; see `{ground.runtime} --version`")
    if "permission denied" in ground.silent.lower() and ground.owner:
        group = ground.owner.split()[-1]
        way = "a socket of group docker" if group == "root" else f"usermod -aG {group} {{user}}, and log in again"
        return Finding(not needed, told, f"ask the site: {way}; or set DOCKER_HOST to another engine's")
    if ground.runtime == "podman":
        return Finding(not needed, told, "see `podman info`; after a change of subuid: podman system migrate")
    return Finding(not needed, told, "start it (systemctl start docker), or set DOCKER_HOST to its socket")


def _release(ground: Ground, runs: bool, missing: bool) -> Iterator[Finding]:
    """What is needed is looked for in what the runtime says of itself: version numbers differ from fork to fork."""
    running = [one for one in ground.lacks if one.startswith("exec")]
    building = [one for one in ground.lacks if one.startswith("build")]
    if running and runs:
        yield Finding(False, f"{ground.version} does not know: {', '.join(running)}", RELEASE)
    if building and missing:
        told = f"{ground.version} does not know: {', '.join(building)}, and cannot build images"
        yield Finding(False, told, f"{RELEASE}, or get them by: launch.py pull NAME")


def _start(ground: Ground) -> Iterator[Finding]:
    """How images start: as one did, or else as what is there lets expect. Root and setuid need none of it."""
    start, causes = ground.start, [] if ground.root or ground.setuid else list(_causes(ground))
    if start and not start.trouble and not start.unpacked:
        yield Finding(True, f"an image starts in {start.seconds:.1f} s")
        return
    if start and start.unpacked:
        ended = f", and then: {start.trouble}" if start.trouble else ""
        told = f"an image is unpacked at every start, which took {start.seconds:.1f} s{ended}"
        yield Finding(False, told, SQUASHFUSE)
    elif start:
        remedy = next((remedy for word, remedy in WORDS.items() if word in start.trouble), BY_HAND)
        remedy = "mend what follows" if causes else remedy
        yield Finding(False, f"an image does not start: {start.trouble}", remedy)
    yield from causes


def _causes(ground: Ground) -> Iterator[Finding]:
    """What keeps an ordinary user from starting an image as a file."""
    if ground.runtime in (*SIF, "podman") and ground.userns:
        told = f"no user namespaces for ordinary users: {ground.userns}"
        yield Finding(False, told, SWITCH[ground.userns.split(" = ")[0]])
    if ground.runtime in SIF and not ground.squashfuse and not (ground.start and ground.start.unpacked):
        yield Finding(False, "no squashfuse: images would be unpacked at every start", SQUASHFUSE)
    if ground.runtime in SIF and ground.fuse:
        yield Finding(
            False, f"/dev/fuse is {ground.fuse} for ordinary users: images cannot be mounted", OPEN[ground.fuse]
        )


def _users(ground: Ground, missing: bool) -> Iterator[Finding]:
    """User ids of one's own, which builds want and rootless Podman cannot do without."""
    if ground.root or ground.runtime not in (*SIF, "podman") or (ground.subids and ground.newuidmap):
        return
    told = "no newuidmap on PATH" if ground.subids else f"no lines for {ground.user} in /etc/subuid and /etc/subgid"
    remedy = "ask the site for newuidmap and newgidmap (package uidmap)" if ground.subids else SUBIDS
    if ground.runtime == "podman":
        yield Finding(False, f"{told}: rootless Podman needs them", remedy)
    elif missing and ground.version.startswith("apptainer"):
        yield Finding(True, f"{told}: builds run with this user's id alone, in which installing packages may fail")
    elif missing:
        yield Finding(False, f"{told}: only root could build", f"{remedy}; or get images by: launch.py pull NAME")


def _room(place: Place, builds: bool) -> Finding:
    """Whether images find room. A file system in memory is room, too, where there is enough memory."""
    need = BUILD_GB if builds and not place.name.endswith("CACHEDIR") else IMAGE_GB
    where = f"{place.path} ({place.name}{', in memory' if place.memory else ''})"
    remedy = MOVES.get(place.name, f"set {place.name} to a folder on a disk with {need:g} GB free")
    if place.trouble:
        return Finding(False, f"{where} {place.trouble}: images are made there", remedy)
    return Finding(place.gb >= need, f"{place.gb:.0f} GB free for images in {where}; one takes {need:g} GB", remedy)


def _gpus(ground: Ground, cuda: Mapping[str, str]) -> Iterator[Finding]:
    """Whether programs of an image can use the GPUs. A driver runs all minor versions of the CUDA that it knows."""
    if not (ground.driver or ground.cuda):
        return
    if ground.runtime in ENGINES and not ground.toolkit:
        yield Finding(False, f"{ground.runtime} cannot give GPUs to containers", TOOLKIT[ground.runtime])
    told = " ".join([f"GPU driver {ground.driver or '?'}", *([f"(CUDA {ground.cuda})"] if ground.cuda else [])])
    for name, version in cuda.items():
        major = _major(version)
        if not major:
            continue
        least = DRIVERS.get(major, 0)
        enough = _major(ground.cuda) >= major if ground.cuda else _major(ground.driver) >= least
        remedy = f"ask the site for driver {least} or newer" if least else "ask the site for a newer driver"
        remedy += f", or build {name} with a torch for an older CUDA: launch.py build {name}"
        relation = "runs" if enough else "is too old for"
        yield Finding(enough, f"{told} {relation} image {name}, which has CUDA {version}", remedy)


def _major(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0
