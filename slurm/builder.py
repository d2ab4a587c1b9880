"""Builder: the commands of Apptainer and of Docker's engines that make an image, or bring one, to a file."""

from __future__ import annotations

import csv
import io
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from slurm import engine
from slurm.container import ENGINES
from suite import checkpoint
from suite.entry import Refusal
from suite.image import CONTAINERS

SHOWN = 15  # last lines of what failed
QUICK = "-comp zstd -Xcompression-level 1"  # a seventh of gzip's time, and smaller
ROOT = "root file system"
PLAIN = ("--progress=plain",)
TIDY = ("--force-rm",)  # Docker's old builder leaves a container where a step failed
# How a site reaches its registries: told to the stage that brings packages, and not left in an image.
CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
INDICES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
# What a builder needs of our environment: a recipe's commands would see all of it.
KEPT = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", *PROXIES)
KEPT_PREFIXES = (
    "APPTAINER",
    "SINGULARITY",
    "DOCKER_",
    "CONTAINER",
    "BUILDAH_",
    "REGISTRY_",
    "STORAGE_",
    "XDG_",
    "DBUS_",
)
LOOPBACK = re.compile(r"\w+://(localhost|127\.)")  # registries there have no certificate
NONE: Mapping[str, str] = {}

Tell = Callable[[str], None]  # is told every line as it comes


def build(run: Log, runtime: str, name: str, base: str, words: Mapping[str, str], aside: Path) -> str:
    """Builds an image of containers/ to the file `aside`: its digest. Of `words`, the build arguments, those that are
    folders here are handed to the builder."""
    for given in (base, *words.values()):
        local = "://" not in given and re.search(r"^[./~]|\.(sif|tar|tar\.\w+)$", given)
        if local and not Path(given).exists():
            raise Refusal(f"{given}: no such file")
    make = _by_engine if runtime in ENGINES else _by_apptainer
    with _context() as folder:
        return make(run, runtime, name, base, _handed(folder, words), folder, aside)


def pull(run: Log, runtime: str, source: str, aside: Path) -> str:
    """Brings what is published at `source` to `aside`: its digest."""
    file = Path(source.removeprefix("file://"))
    remote = "://" in source and not source.startswith("file://")
    if not remote and not file.is_file():
        raise Refusal(f"{source}: neither a file nor an address such as docker://REGISTRY/IMAGE or oras://...")
    if runtime in ENGINES:
        if remote and not source.startswith("docker://"):
            raise Refusal(f"{source}: {runtime} takes docker://REGISTRY/IMAGE, or a tar")
        reference = source.removeprefix("docker://") if remote else _loaded(run, runtime, file)
        if remote:
            plain = ["--tls-verify=false"] if runtime == "podman" and LOOPBACK.match(source) else []
            run(runtime, "pull", *plain, reference)
        run(runtime, "save", "--output", str(aside), reference)
        return engine.identity(runtime, reference)
    plain = ["--no-https"] if LOOPBACK.match(source) else []
    if remote and runtime == "pyxis":
        run("enroot", "import", "--output", str(aside), source)
    elif remote and not source.startswith("docker://"):
        run(runtime, "pull", *plain, str(aside), source)
    elif not remote and tarfile.is_tarfile(file) and _kind(file) == ROOT:
        raise Refusal(f"{source}: a root file system is no image; launch.py build --base {source} makes one of it")
    elif remote or tarfile.is_tarfile(file):
        origin = source if remote else f"{_kind(file)}:{file.absolute()}"
        run(runtime, "build", *_quick(runtime), *plain, str(aside), origin)
    else:
        shutil.copyfile(file, aside)
    return f"sha256:{checkpoint.sha256(aside)}"


def known_as(runtime: str, base: str) -> str:
    """What a base was, with its digest where one can be known."""
    path = Path(base)
    if path.is_file():
        return f"{path.name} sha256:{checkpoint.sha256(path)}"
    reference = base.removeprefix("docker://")
    return engine.source(runtime, reference) if runtime in ENGINES and not path.exists() else reference


def step(line: str) -> bool:
    """Whether a builder's line says that something new begins."""
    return bool(re.match(r"(Step|STEP) \d|#\d+ \[|INFO: |\+ ", line))


class Log:
    """Runs commands: every line goes into a log and is told; the last ones are the words of a Refusal."""

    def __init__(self, path: Path, tell: Tell) -> None:
        self.path, self.tell = path, tell

    def __enter__(self) -> Log:
        self.file = open(self.path, "w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __call__(self, *words: str, cwd: Path | None = None) -> None:
        env = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
        env |= {"LC_ALL": "C.UTF-8"} | ({} if _buildx() else {"DOCKER_BUILDKIT": "0"})
        self.file.write(f"$ {shlex.join(words)}\n")
        last: deque[str] = deque(maxlen=SHOWN)
        if shutil.which(words[0]) is None:
            raise Refusal(f"no {words[0]} on PATH; see: launch.py doctor")
        with subprocess.Popen(
            words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        ) as process:  # fmt: skip
            try:
                for line in process.stdout or ():
                    line = re.sub(r"\x1b\[[0-9;]*m", "", line.rstrip())
                    print(line, file=self.file, flush=True)
                    if line.strip():
                        last.append(line)
                        self.tell(line)
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            lines = self.path.read_text(errors="replace").splitlines()
            why = next((line for line in lines if re.match(r"(Error|ERROR|FATAL)\b", line)), "")
            shown = last if not why or why in last else [why, "...", *last]
            told = "\n".join(f"  {line}" for line in shown)
            away = re.search(r"no such host|dial tcp|Could not resolve", "\n".join(lines))
            hint = "\nno image registry in reach? Start from a root file system: --base FILE.tar" if away else ""
            raise Refusal(f"{' '.join(words[:2])} failed:\n{told}\nall of it: {self.path}{hint}")


@contextmanager
def _context() -> Iterator[Path]:
    """What a builder is handed: a copy of containers/, and how this site reaches its registries."""
    for left in Path(tempfile.gettempdir()).glob("image-[0-9]*-*"):  # of a launcher that was killed
        if left.stat().st_uid == os.getuid() and not Path(f"/proc/{left.name.split('-')[1]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"image-{os.getpid()}-") as temporary:
        folder = Path(temporary) / "containers"
        shutil.copytree(CONTAINERS, folder, ignore=shutil.ignore_patterns("__pycache__", "testbed", ".*", "*~"))
        lines = {name: os.environ[name] for name in (*PROXIES, *INDICES) if os.environ.get(name)}
        bundle = next((os.environ[name] for name in CERTIFICATES if os.path.isfile(os.environ.get(name, ""))), "")
        if bundle and not (folder / "ca.crt").exists():
            shutil.copyfile(bundle, folder / "ca.crt")
            lines |= dict.fromkeys(CERTIFICATES, "/build/ca.crt")
        site = folder / "site.env"
        own = site.read_text() if site.exists() else ""  # a file of the user's has the last word
        if lines:
            text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in lines.items())
            site.write_text(text + own)
        yield folder


def _handed(folder: Path, words: Mapping[str, str]) -> dict[str, str]:
    handed = dict(words)
    for key, value in words.items():
        if value and Path(value).is_dir():
            ignored = shutil.ignore_patterns(".git", "__pycache__")
            shutil.copytree(value, folder / "sources" / key, ignore=ignored, symlinks=True)
            handed[key] = f"/build/sources/{key}"
    return handed


def _by_apptainer(
    run: Log, runtime: str, name: str, base: str, words: dict[str, str], folder: Path, aside: Path
) -> str:
    own = [*_quick(runtime), *(["--fakeroot"] if os.geteuid() and runtime == "singularity" else [])]
    if base and Path(base).exists():
        # Under a plain name: what a path holds would be read by shells and parsers on its way.
        kind, at = _kind(Path(base)), folder.parent
        start = at / f"base-{checkpoint.sha256(Path(base))[:12] if Path(base).is_file() else 'folder'}"
        start.symlink_to(Path(base).absolute())
        if kind == ROOT:
            unpack = f'    tar -C "${{APPTAINER_ROOTFS:-$SINGULARITY_ROOTFS}}" -xf {start.name}\n'
            (at / "base.def").write_text(f"Bootstrap: scratch\n%setup\n{unpack}")
            run(runtime, "build", *own, f"{start.name}.sif", "base.def", cwd=at)
            kind, start = "localimage", start.with_name(f"{start.name}.sif")
        words |= {"BOOTSTRAP": kind, "BASE": str(start)}
    elif base:
        words |= {"BASE": base.removeprefix("docker://")}
    given = [word if word == "--build-arg" else _csv(word) for word in _arguments(words)]
    run(runtime, "build", *own, *given, str(aside), f"{name}/{name}.def", cwd=folder)
    return f"sha256:{checkpoint.sha256(aside)}"


def _by_engine(run: Log, runtime: str, name: str, base: str, words: dict[str, str], folder: Path, aside: Path) -> str:
    if base:
        words |= {
            "BASE": _imported(run, runtime, Path(base)) if Path(base).exists() else base.removeprefix("docker://")
        }
    tag, file = f"transfer-suite/{name}:{words['RECIPE']}", folder.parent / "id"
    own = list(PLAIN if _buildx() else TIDY) if runtime == "docker" else []
    # An engine without a bridge (as started without iptables) reaches registries through the host's network.
    own += [] if engine.bridged(runtime) else ["--network=host"]
    named = ["--file", f"{name}/Dockerfile", "--tag", tag, "--iidfile", str(file)]
    # Engines know these, and forget them; by name alone, since a proxy's address may hold a password.
    named += [word for key in PROXIES if os.environ.get(key) for word in ("--build-arg", key)]
    run(runtime, "build", *own, *named, *_arguments(words), ".", cwd=folder)
    run(runtime, "save", "--output", str(aside), tag)
    return f"sha256:{file.read_text().strip().removeprefix('sha256:')}"


def _arguments(words: Mapping[str, str]) -> list[str]:
    return [word for key, value in words.items() for word in ("--build-arg", f"{key}={value}")]


def _csv(value: str) -> str:
    """A build argument as Apptainer reads it: as a line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([value])
    return line.getvalue()


def _imported(run: Log, runtime: str, base: Path) -> str:
    """An engine's name for a base that is a file."""
    kind = _kind(base)
    if kind == "localimage":
        raise Refusal(f"{base}: {runtime} starts from a root file system's tar or from REGISTRY/IMAGE, not from a SIF")
    if kind != ROOT:
        return _loaded(run, runtime, base)
    name = f"transfer-suite/base:{checkpoint.sha256(base)[:12]}"
    if not engine.there(runtime, name):  # imported again it is another image, and nothing built on it counts
        run(runtime, "import", str(base), name)
    return name


def _loaded(run: Log, runtime: str, file: Path) -> str:
    """Loads a file into an engine: the name, or the id, of what was in it."""
    run(runtime, "load", "--input", str(file))
    found = re.findall(r"^Loaded image(?: ID|\(s\))?: (\S+)$", run.path.read_text(), re.MULTILINE)
    if not found:
        raise Refusal(f"{runtime} does not say what it has loaded from {file}; see {run.path}")
    return str(found[-1])


def _kind(file: Path) -> str:
    """What a file is, in Apptainer's words; ROOT for a tar of a root file system."""
    if file.is_dir() or not tarfile.is_tarfile(file):
        return "localimage"
    with tarfile.open(file) as members:
        names = {os.path.normpath(member.name) for _, member in zip(range(100), members, strict=False)}
    if "manifest.json" in names or any(re.fullmatch(r"\w{64}/layer\.tar", name) for name in names):
        return "docker-archive"
    return "oci-archive" if "oci-layout" in names else ROOT


def _quick(runtime: str) -> list[str]:
    """Options that make a SIF sooner, where the runtime has them."""
    told = subprocess.run([runtime, "build", "--help"], capture_output=True, text=True).stdout
    return ["--mksquashfs-args", QUICK] if "--mksquashfs-args" in told else []


def _buildx() -> bool:
    try:
        return not subprocess.run(["docker", "buildx", "version"], capture_output=True, timeout=20).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False
