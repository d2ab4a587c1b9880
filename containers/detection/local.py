"""Brings detectron2's Python part into the environment of the Python that runs this, without a compiler.

    python local.py UV [PATH | ADDRESS]     a checkout, or a tar.gz of one; by default the Dockerfile's ARG DETECTRON2

What it needs comes from the image's locks, by UV. Its compiled operators are the image's alone. Where nobody named PATH
or ADDRESS, it may be out of reach: a line says so, and the exit code is 0.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import urllib.request
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
SITE = Path(sysconfig.get_path("purelib"))
NAME = "detectron2"
PATIENCE, LONG_PATIENCE = 6.0, 60.0  # seconds, for an address that nobody named, and for one that somebody did


class Missing(Exception):
    """Nothing that can be installed is there; says why."""


def main(uv: str, given: str = "") -> None:
    address = re.findall(r"^ARG DETECTRON2=(\S+)", (HERE / "Dockerfile").read_text(), re.MULTILINE)[0]
    pinned = re.findall(r"[0-9a-f]{40}", address)[0]
    version, commit = installed()
    if version and not given and not commit:
        return  # somebody else's
    try:
        # In the same file system, so that what is moved appears whole.
        with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=SITE) as folder:
            if given or commit != pinned:
                found = prepare(given or address, Path(folder), commit, LONG_PATIENCE if given else PATIENCE)
                needs(uv)
                version, commit = (place(Path(folder), found), found) if found is not None else (version, commit)
                other = "" if commit == pinned else f"; not the commit of the image, {pinned[:7]}"
                print(f"{NAME} {version} is installed, from {given or address}{other}")
            else:
                needs(uv)
    except Missing as why:
        if given:
            sys.exit(f"DETECTRON2={given}: {why}")
        stays = f"{version} stays" if version else "its cells stay blocked"
        print(f"{NAME} is not reachable at {address} ({why}): {stays}; make setup DETECTRON2=PATH brings it")


def installed() -> tuple[str, str]:
    """Version and commit of what is there; '' for both, or for the commit where this program did not bring it."""
    there = next(iter(metadata.distributions(name=NAME, path=[str(SITE)])), None)
    ours = (there.read_text("COMMIT") or "") if there else ""
    if there is None or (ours and not (SITE / NAME / "__init__.py").exists()):
        return "", ""
    return there.version, ours.strip()


def prepare(source: str, aside: Path, before: str, patience: float) -> str | None:
    """Copies the package from a path or an address to `aside`: its commit, '' where that is unknown; None where it is
    the one that was there `before`."""
    path = Path(source).expanduser()
    if re.match("https?://", source):
        if before and before in source:
            return None
        download(source, aside / "archive", patience)
        return unpack(aside / "archive", aside / NAME)
    if path.is_file():
        return unpack(path, aside / NAME)
    commit = of_checkout(path)
    if commit == before and re.fullmatch("[0-9a-f]+", commit):
        return None
    compiled = shutil.ignore_patterns("__pycache__", "*.so")  # for who knows which torch
    shutil.copytree(path / NAME, aside / NAME, ignore=compiled, ignore_dangling_symlinks=True)
    return commit


def download(address: str, path: Path, patience: float) -> None:
    os.environ.setdefault("RES_OPTIONS", "timeout:2 attempts:1")  # of the name's look-up, which takes no timeout
    try:
        with urllib.request.urlopen(address, timeout=patience) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except (OSError, ValueError) as error:
        raise Missing(f"{getattr(error, 'reason', '') or error}") from None


def unpack(archive: Path, target: Path) -> str:
    """Writes the package of an archive to `target`: the commit that git or GitHub noted in the archive, or ''."""
    try:
        with tarfile.open(archive) as tar:
            files = [one for one in tar.getmembers() if one.isfile()]
            (first,) = [one.name for one in files if re.fullmatch(rf"(\./)?([^/]+/)?{NAME}/__init__\.py", one.name)]
            top = first.removesuffix("__init__.py")
            for one in files:
                path = Path(one.name.removeprefix(top))
                content = tar.extractfile(one)
                if one.name.startswith(top) and ".." not in path.parts and content:
                    (target / path).parent.mkdir(parents=True, exist_ok=True)
                    (target / path).write_bytes(content.read())
            return str(tar.pax_headers.get("comment", ""))
    except (tarfile.TarError, EOFError, OSError, ValueError):
        raise Missing(f"no tar.gz of a checkout of {NAME}") from None


def of_checkout(folder: Path) -> str:
    """The commit of a checkout, '' where git does not know; with '-dirty' where the package's files differ from it."""
    if not folder.exists():
        raise Missing("no such file or folder")
    if not (folder / "setup.py").is_file() or not (folder / NAME / "__init__.py").is_file():
        raise Missing(f"no checkout of {NAME}: it has no setup.py with {NAME}/__init__.py beside it")
    if not (folder / ".git").exists() or not shutil.which("git"):
        return ""
    git = ["git", "-c", "safe.directory=*", "-C", str(folder)]
    head, changes = (
        subprocess.run([*git, *words], capture_output=True, text=True)
        for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", NAME])
    )
    return "" if head.returncode else head.stdout.strip() + ("-dirty" if changes.stdout else "")


def place(aside: Path, commit: str) -> str:
    """Moves what was prepared to where Python finds it, with what installers and `importlib.metadata` read."""
    number = re.findall(r'^__version__ = "([0-9.]+)"', (aside / NAME / "__init__.py").read_text(), re.MULTILINE)
    hash, dirty, _ = commit.partition("-")
    version = f"{number[0] if number else '0'}+{hash[:7] or 'unknown'}{'.changed' if dirty else ''}"
    about = aside / f"{NAME}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n")
    (about / "INSTALLER").write_text("containers/detection/local.py\n")
    (about / "COMMIT").write_text(f"{commit}\n")
    found = (path for top in (NAME, about.name) for path in (aside / top).rglob("*") if path.is_file())
    files = sorted(path.relative_to(aside) for path in found)
    (about / "RECORD").write_text("".join(f"{path},,\n" for path in [*files, f"{about.name}/RECORD"]))
    old = aside / "old"
    old.mkdir()
    for path in [SITE / NAME, *SITE.glob(f"{NAME}-*.dist-info")]:
        if path.exists():
            path.rename(old / path.name)
    for name in (NAME, about.name):
        (aside / name).rename(SITE / name)
    compileall.compile_dir(SITE / NAME, quiet=2)
    return version


def needs(uv: str) -> None:
    """What detectron2 imports, from hashed locks; they hold core's packages too, of the versions that are there."""
    locks = ["-r", str(HERE / "requirements.txt"), "-r", str(HERE / "source.txt")]
    build = ["--build-constraints", str(HERE.parent / "compile" / "build.txt")]
    words = [uv, "pip", "install", "-q", "--compile-bytecode", "--python", sys.executable, "--require-hashes"]
    if subprocess.run([*words, *build, *locks]).returncode:
        raise Missing("what it needs cannot be had from the package registry")


if __name__ == "__main__":
    main(*(word for word in sys.argv[1:] if word))
