"""Ground: what a machine offers to a container runtime, as plain facts: all is looked at, nothing is judged."""

from __future__ import annotations

import getpass
import grp
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slurm.room import Place, place

RUNTIMES = ("apptainer", "singularity", "docker", "podman", "enroot")
SIF = ("apptainer", "singularity")
ANSWER_SECONDS, START_SECONDS = 10.0, 60.0
OPTIONS = {"exec": ("--cleanenv", "--no-home", "--no-mount", "--bind", "--nv", "--pwd"), "build": ("--build-arg",)}
INFO = {"docker": "{{.ServerVersion}}|{{.DockerRootDir}}", "podman": "{{.Version.Version}}|{{.Store.GraphRoot}}"}
SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # where Apptainer looks, too, after PATH
FUSE, NVIDIA, CDI = Path("/dev/fuse"), Path("/proc/driver/nvidia/version"), (Path("/etc/cdi"), Path("/var/run/cdi"))
SUBIDS, PROFILES, SYSCTL = (Path("/etc/subuid"), Path("/etc/subgid")), Path("/etc/apparmor.d"), Path("/proc/sys")
# Settings of the kernel with which an ordinary user has no user namespaces; the last one spares who has a profile.
SWITCHES = {"user/max_user_namespaces": "0", "kernel/unprivileged_userns_clone": "0"}
APPARMOR = "kernel/apparmor_restrict_unprivileged_userns"


@dataclass(frozen=True)
class Start:
    """How an image started: in how many seconds, whether it was unpacked for that, and what went wrong."""

    seconds: float
    unpacked: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class Ground:
    """What there is for `runtime`, the entry's. `silent` is why it does not answer, `owner` whose its socket is;
    `lacks` the commands and options that it does not know; `userns` the setting that denies user namespaces; `fuse`
    is "", "closed" or "absent"; `driver` the GPU driver's version and `cuda` the highest CUDA that it says it runs."""

    runtime: str = ""
    there: list[str] = field(default_factory=list)
    user: str = ""
    root: bool = False
    version: str = ""
    lacks: list[str] = field(default_factory=list)
    silent: str = ""
    owner: str = ""
    setuid: bool = False
    squashfuse: bool = False
    fuse: str = ""
    userns: str = ""
    subids: bool = False
    newuidmap: bool = False
    places: list[Place] = field(default_factory=list)
    start: Start | None = None
    driver: str = ""
    cuda: str = ""
    toolkit: bool = False


@dataclass(frozen=True)
class Reply:
    """What a command answered: 124 where it did not in time, 127 where it could not be started."""

    code: int
    told: str = ""
    errors: str = ""

    @property
    def trouble(self) -> str:
        """The line that says what went wrong."""
        plain = re.sub(r"\x1b\[[\d;]*m", "", self.errors or self.told)  # without colours
        lines = [line.strip() for line in plain.splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith(("FATAL", "ERROR", "Error"))]
        return re.sub(r"^(FATAL|ERROR)\s*:\s*", "", (fatal or lines or [f"exit code {self.code}"])[-1])


def ask(*words: str, seconds: float | None = None, **more: str) -> Reply:
    """Runs a command; when this returns, it and what it started have ended, or hang in the kernel."""
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", env={**os.environ, "LC_ALL": "C", **more}, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return Reply(127, errors=error.strerror or str(error))
    seconds = ANSWER_SECONDS if seconds is None else seconds
    try:
        told, errors = process.communicate(timeout=seconds)
        return Reply(process.returncode, told, errors)
    except subprocess.TimeoutExpired:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        errors = ""
        with suppress(subprocess.TimeoutExpired):
            _, errors = process.communicate(timeout=1)
        return Reply(124, errors=f"{errors}\nERROR: no answer within {seconds:.0f} s")


def look(runtime: str, image: str = "") -> Ground:
    """What this machine offers to a runtime. An `image`, a SIF, is started once."""
    there = [name for name in RUNTIMES if shutil.which(name)]
    if not runtime:
        return Ground(there=there)
    if runtime == "pyxis" and "--container-image" in ask("srun", "--help").told:
        there.append("pyxis")
    driver, cuda = gpu()
    ground = Ground(runtime, there, _user(), _root(), driver=driver, cuda=cuda, toolkit=_toolkit(runtime))
    if runtime not in there or runtime == "pyxis":
        return ground
    ground = replace(ground, userns=_userns(runtime), subids=_subids(), newuidmap=bool(_which("newuidmap")))
    return _sif(ground, image) if runtime in SIF else _engine(ground)


def read(told: Mapping[str, Any]) -> Ground:
    """The ground that `dataclasses.asdict` and JSON have made this of."""
    start = Start(**told["start"]) if told["start"] else None
    return Ground(**{**told, "places": [Place(**one) for one in told["places"]], "start": start})


def _sif(ground: Ground, image: str) -> Ground:
    """Apptainer and SingularityCE, which work without a daemon, and by the rights that their installation gives."""
    runtime = ground.runtime
    reply = ask(runtime, "--version")
    if reply.code:
        return replace(ground, silent=reply.trouble)
    lacks = []
    for verb, options in OPTIONS.items():
        known = set(re.findall(r"(?<!\S)--[a-z-]+", ask(runtime, verb, "--help").told))
        lacks += [f"{verb} {option}" for option in options if option not in known]
    settings = dict(re.findall(r"^(\w+)=(.*)$", ask(runtime, "buildcfg").told, re.MULTILINE))
    programs = [Path(settings.get("LIBEXECDIR", "/usr/libexec"), name, "bin") for name in SIF]
    own = os.pathsep.join(map(str, programs))
    starter = shutil.which("starter-suid", path=own)
    names = [name.upper() for name in dict.fromkeys((runtime, *SIF))]
    tmp = place(*_set([*(f"{name}_TMPDIR" for name in names), "TMPDIR"], "/tmp"), made=False)
    cache = place(*_set([f"{name}_CACHEDIR" for name in names], os.path.expanduser(f"~/.{runtime}/cache")))
    return replace(
        ground,
        version=" ".join(reply.told.split()),
        lacks=lacks,
        setuid=bool(starter and os.stat(starter).st_mode & stat.S_ISUID),
        squashfuse=bool(_which("squashfuse_ll", own) or _which("squashfuse", own)),
        fuse=_fuse(),
        places=[tmp, cache],
        start=started(runtime, image, None if tmp.trouble else tmp.path) if image else None,
    )


def started(runtime: str, image: str, tmp: str | None) -> Start:
    """Starts a SIF as jobs do. What is unpacked for that goes into a folder of its own, since a runtime that is killed
    while unpacking leaves all of it behind."""
    command = (runtime, "exec", "--cleanenv", "--no-home", "--pwd=/", image, "true")
    try:
        with tempfile.TemporaryDirectory(prefix="doctor-", dir=tmp, ignore_cleanup_errors=True) as folder:
            began = time.monotonic()
            reply = ask(*command, seconds=START_SECONDS, **{f"{name.upper()}_TMPDIR": folder for name in SIF})
            seconds = time.monotonic() - began
    except OSError as error:
        return Start(0.0, trouble=f"no temporary folder: {error}")
    unpacked = "to temporary sandbox" in reply.errors
    return Start(round(seconds, 2), unpacked, reply.trouble if reply.code else "")


def _engine(ground: Ground) -> Ground:
    """Docker, a daemon behind a socket, and Podman, which answers for itself."""
    reply = ask(ground.runtime, "info", "--format", INFO[ground.runtime])
    version, _, root = reply.told.strip().partition("|")
    if reply.code or not version:
        socket = re.search(r"unix://(/[^\s:]+?)[.:]?(\s|$)", reply.errors)
        return replace(
            ground, silent=reply.trouble.split(': Get "')[0], owner=_owner(Path(socket[1])) if socket else ""
        )
    setting = "data-root" if ground.runtime == "docker" else "graphroot"
    # An engine's folder is open to the engine alone, and may be another machine's.
    places = [place(setting, root, closed=True)] if os.path.isdir(root) else []
    return replace(ground, version=f"{ground.runtime} {version}", places=places)


def gpu() -> tuple[str, str]:
    """The version of the GPU driver, and the highest CUDA that it says it runs; '' for what is not told."""
    told = NVIDIA.read_text() if NVIDIA.exists() else ""
    driver = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\d+[\d.]*)", told)
    header = ask("nvidia-smi").told if shutil.which("nvidia-smi") else ""
    driver = driver or re.search(r"Driver Version:\s*(\d+[\d.]*)", header)
    cuda = re.search(r"CUDA (?:UMD )?Version:\s*(\d+[\d.]*)", header)
    return driver[1] if driver else "", cuda[1] if cuda else ""


def _toolkit(runtime: str) -> bool:
    """Whether an engine can give GPUs to containers: Docker by a hook, Podman by a description of devices."""
    described = any(path.glob("*.*") for path in CDI if path.is_dir())
    return described if runtime == "podman" else bool(_which("nvidia-container-runtime-hook") or described)


def _set(names: list[str], otherwise: str) -> tuple[str, str]:
    """The first variable that is set, with its value; or the first, with what holds where none is."""
    return next(((name, os.environ[name]) for name in names if os.environ.get(name)), (names[0], otherwise))


def _which(name: str, *folders: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", ""), SYSTEM]))


def _fuse() -> str:
    if not FUSE.exists():
        return "absent"
    return "" if os.access(FUSE, os.R_OK | os.W_OK) else "closed"


def _userns(runtime: str) -> str:
    settings = dict(SWITCHES)
    if not (PROFILES.is_dir() and list(PROFILES.glob(f"*{runtime}*"))):
        settings[APPARMOR] = "1"
    for name, value in settings.items():
        with suppress(OSError):
            if (SYSCTL / name).read_text().strip() == value:
                return f"{name.replace('/', '.')} = {value}"
    return ""


def _user() -> str:
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return str(os.getuid())


def _root() -> bool:
    """Root of the machine, and not only of a user namespace, who may do no more than an ordinary user."""
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def _subids() -> bool:
    """Whether this user has further user and group ids; getsubids knows of those in a directory service, too."""
    user, uid = _user(), os.getuid()
    if shutil.which("getsubids"):
        return not (ask("getsubids", user).code or ask("getsubids", "-g", user).code)
    lines = [path.read_text().splitlines() if path.exists() else [] for path in SUBIDS]
    return all(any(line.startswith((f"{user}:", f"{uid}:")) for line in one) for one in lines)


def _owner(path: Path) -> str:
    """Whose a socket is, as `ls -l` would say it."""
    try:
        seen = path.stat()
    except OSError:
        return ""
    user, group = str(seen.st_uid), str(seen.st_gid)
    with suppress(KeyError):
        user, group = pwd.getpwuid(seen.st_uid).pw_name, grp.getgrgid(seen.st_gid).gr_name
    return f"{stat.filemode(seen.st_mode)} {user} {group}"
