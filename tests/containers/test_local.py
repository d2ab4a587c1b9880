"""detectron2 in the local environment: from a checkout, an archive, an address; and where there is none."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import venv
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from conftest import ROOT

NOWHERE = "http://127.0.0.1:9"  # discard: nobody listens there


class Setup:
    """A copy of the recipe with another default address, an environment, a uv that does nothing, and a checkout."""

    def __init__(self, folder: Path) -> None:
        (folder / "detection").mkdir(parents=True)
        self.program = shutil.copy(ROOT / "containers/detection/local.py", folder / "detection")
        self.recipe, self.uv, self.checkout = folder / "detection/Dockerfile", folder / "uv", folder / "checkout"
        self.uv.write_text('#!/bin/sh\ncd "${0%/*}" && echo "$*" >> asked && exit $(cat refused 2>/dev/null)\n')
        self.uv.chmod(0o755)
        self.asked, self.refused = folder / "asked", folder / "refused"
        venv.create(folder / "venv")
        self.python = folder / "venv/bin/python"
        (self.checkout / "detectron2/data").mkdir(parents=True)
        (self.checkout / "setup.py").touch()
        (self.checkout / "detectron2/__init__.py").write_text('__version__ = "0.6"\n')
        (self.checkout / "detectron2/data/catalog.py").write_text("HERE = 1\n")
        (self.checkout / "detectron2/_C.so").touch()
        (self.checkout / ".gitignore").write_text("*.so\n__pycache__/\n")
        self.git("init", "-q")
        self.commit = self.committed()
        self.pin(self.commit)

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        ran = subprocess.run(["git", "-C", self.checkout, *who, *words], capture_output=True, text=True, check=True)
        return ran.stdout.strip()

    def committed(self) -> str:
        self.git("add", "setup.py", "detectron2/*.py", "detectron2/data")
        self.git("commit", "-q", "--allow-empty", "-m", "one")
        return self.git("rev-parse", "HEAD")

    def pin(self, commit: str) -> None:
        self.recipe.write_text(f"ARG DETECTRON2={NOWHERE}/{commit}.tar.gz\n")

    def __call__(self, given: object = "") -> CompletedProcess[str]:
        return subprocess.run([self.python, self.program, self.uv, str(given)], capture_output=True, text=True)

    def told(self, given: object = "") -> str:
        ran = self(given)
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout

    def has(self) -> str:
        program = "import detectron2.data.catalog; from importlib.metadata import version; print(version('detectron2'))"
        ran = subprocess.run([self.python, "-c", program], capture_output=True, text=True, cwd="/")
        return ran.stdout.strip()


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path / "a b")


def test_a_checkout(setup: Setup) -> None:
    assert setup.told(setup.checkout) == f"detectron2 0.6+{setup.commit[:7]} is installed, from {setup.checkout}\n"
    assert setup.has() == f"0.6+{setup.commit[:7]}"
    assert "--require-hashes" in setup.asked.read_text()
    (site,) = setup.python.parent.parent.glob("lib/python3*/site-packages")
    names = {path.name for path in site.iterdir()}
    assert names == {"detectron2", f"detectron2-0.6+{setup.commit[:7]}.dist-info"}
    assert not list(site.rglob("*.so"))
    assert (site / f"detectron2-0.6+{setup.commit[:7]}.dist-info/COMMIT").read_text().strip() == setup.commit
    before = (site / "detectron2").stat().st_ino
    assert setup.told(setup.checkout) and setup.told() == ""  # there already, and what the recipe names
    assert (site / "detectron2").stat().st_ino == before

    (setup.checkout / "detectron2/data/catalog.py").write_text("HERE = 2\n")
    told = setup.told(setup.checkout)
    assert told.endswith(f"; not the commit of the image, {setup.commit[:7]}\n") and ".changed is" in told
    new = setup.committed()
    assert f"0.6+{new[:7]} is installed" in setup.told(setup.checkout)
    assert len(list(site.glob("detectron2-*"))) == 1
    assert f"0.6+{new[:7]} stays; make setup" in setup.told()  # the recipe's is out of reach


def test_an_archive_knows_its_commit(setup: Setup, tmp_path: Path) -> None:
    setup.git("archive", "--prefix=detectron2-main/", f"--output={tmp_path}/a.tar.gz", "HEAD")
    setup.told(tmp_path / "a.tar.gz")
    assert setup.has() == f"0.6+{setup.commit[:7]}"
    with tarfile.open(tmp_path / "plain.tar.gz", "w:gz") as tar:
        tar.add(setup.checkout, "x", filter=lambda one: None if ".git" in one.name else one)
    assert "0.6+unknown is installed" in setup.told(tmp_path / "plain.tar.gz")


def test_out_of_reach_is_one_line_and_no_failure(setup: Setup) -> None:
    told = setup.told()
    address = f"{NOWHERE}/{setup.commit}.tar.gz"
    assert told == (
        f"detectron2 is not reachable at {address} ([Errno 111] Connection refused): its cells stay blocked; "
        "make setup DETECTRON2=PATH brings it\n"
    )
    assert not setup.asked.exists() and setup.has() == ""


def test_what_was_asked_for_and_is_not_there_is_an_error(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "page.tar.gz").write_text("<html>Sign in</html>")
    (tmp_path / "other").mkdir()
    for given, told in {
        tmp_path / "gone": "no such file or folder",
        tmp_path / "other": "no checkout of detectron2: it has no setup.py with detectron2/__init__.py beside it",
        tmp_path / "page.tar.gz": "no tar.gz of a checkout of detectron2",
        f"{NOWHERE}/x.tar.gz": "[Errno 111] Connection refused",
    }.items():
        ran = setup(given)
        assert (ran.returncode, ran.stderr) == (1, f"DETECTRON2={given}: {told}\n")
    setup.refused.write_text("1")
    assert "what it needs cannot be had" in setup(setup.checkout).stderr
    assert setup.has() == ""
