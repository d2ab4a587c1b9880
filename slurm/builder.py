"""Builder: the commands of Apptainer and of Docker's engines that make an image, or bring one, to a file."""

from __future__ import annotations

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
KEPT = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR", *PROXIES)
KEPT_PREFIXES = ("APPTAINER", "SINGULARITY", "DOCKER_", "CONTAINER", "BUILDAH_", "REGISTRY_")
NONE: Mapping[str, str] = {}

Tell = Callable[[str], None]  # is told every line as it comes


def build(run: Log, runtime: str, name: str, base: str, words: Mapping[str, str], aside: Path) -> str:
    """Builds an image of containers/ to the file `aside`: its digest. Of `words`, the build arguments, those that are
    folders here are handed to the builder."""
    if re.search(r"^[./~]|\.(sif|tar|gz|zst)$", base) and not Path(base).exists():
        raise Refusal(f"--base {base}: no such file")
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
            run(runtime, "pull", reference)
        run(runtime, "save", "--output", str(aside), reference)
        return engine.identity(runtime, reference)
    plain = ["--no-https"] if re.match(r"\w+://(localhost|127\.)", source) else []
    if remote and runtime == "pyxis":
        run("enroot", "import", "--output", str(aside), source)
    elif remote and not source.startswith("docker://"):
        run(runtime, "pull", *plain, str(aside), source)
    elif remote or tarfile.is_tarfile(file):
        origin = source if remote else f"{_kind(file)}:{file.absolute()}"
        run(runtime, "build", *_quick(runtime), *plain, str(aside), origin)
    else:
        shutil.copyfile(file, aside)
    return f"sha256:{checkpoint.sha256(aside)}"


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
            told = "\n".join(f"  {line}" for line in last)
            raise Refusal(f"{' '.join(words[:2])} failed:\n{told}\nall of it: {self.path}")


@contextmanager
def _context() -> Iterator[Path]:
    """What a builder is handed: a copy of containers/, and how this site reaches its registries."""
    with tempfile.TemporaryDirectory(prefix="image-") as temporary:
        folder = Path(temporary) / "containers"
        shutil.copytree(CONTAINERS, folder, ignore=shutil.ignore_patterns("__pycache__", "testbed"))
        lines = {name: os.environ[name] for name in (*PROXIES, *INDICES) if os.environ.get(name)}
        bundle = next((os.environ[name] for name in CERTIFICATES if os.path.isfile(os.environ.get(name, ""))), "")
        if bundle:
            shutil.copyfile(bundle, folder / "ca.crt")
            lines |= dict.fromkeys(CERTIFICATES, "/build/ca.crt")
        if lines:
            text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in lines.items())
            (folder / "site.env").write_text(text)
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
        kind, start = _kind(Path(base)), str(Path(base).absolute())
        if kind == ROOT:
            unpack = '    tar -C "${APPTAINER_ROOTFS:-$SINGULARITY_ROOTFS}" -xf base.tar\n'
            at = folder.parent  # a recipe copies what lies in its own
            (at / "base.def").write_text(f"Bootstrap: scratch\n%setup\n{unpack}")
            (at / "base.tar").symlink_to(start)
            run(runtime, "build", *own, "base.sif", "base.def", cwd=at)
            kind, start = "localimage", str(at / "base.sif")
        words |= {"BOOTSTRAP": kind, "BASE": start}
    elif base:
        words |= {"BASE": base.removeprefix("docker://")}
    run(runtime, "build", *own, *_arguments(words), str(aside), f"{name}/{name}.def", cwd=folder)
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
    proxies = {key: os.environ[key] for key in PROXIES if os.environ.get(key)}  # engines know these, and forget them
    run(runtime, "build", *own, *named, *_arguments(words | proxies), ".", cwd=folder)
    run(runtime, "save", "--output", str(aside), tag)
    return f"sha256:{file.read_text().strip().removeprefix('sha256:')}"


def _arguments(words: Mapping[str, str]) -> list[str]:
    return [word for key, value in words.items() for word in ("--build-arg", f"{key}={value}")]


def _imported(run: Log, runtime: str, base: Path) -> str:
    """An engine's name for a base that is a file."""
    kind = _kind(base)
    if kind == "localimage":
        raise Refusal(f"{base}: {runtime} starts from a root file system's tar or from REGISTRY/IMAGE, not from a SIF")
    if kind != ROOT:
        return _loaded(run, runtime, base)
    name = f"transfer-suite/base:{checkpoint.sha256(base)[:12]}"
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
    if "manifest.json" in names:
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
