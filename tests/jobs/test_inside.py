"""What a program in a container makes sure of."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

from jobs.lib import inside
from jobs.lib.failure import BadImage, kind
from jobs.lib.workspace import Workspace
from suite.store import Store

TETHERED = """
import sys, time
from jobs.lib import inside
inside.tether()
print("begun", flush=True)
time.sleep(60)
"""


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "manifest.json"
    monkeypatch.setattr(inside, "MANIFEST", path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p.startswith((sys.prefix, sys.base_prefix, str(ROOT)))])
    return path


def test_packages_of_the_image(manifest: Path) -> None:
    manifest.write_text(json.dumps({"prefix": sys.prefix, "recipe": "abc"}))
    assert inside.recipe() == "abc"


def test_packages_of_the_host(manifest: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="this is none of the images") as none:
        inside.recipe()
    assert kind(none.value) == "bad image"
    manifest.write_text(json.dumps({"prefix": "/opt/venv", "recipe": "abc"}))
    with pytest.raises(BadImage, match=r"torch comes from .*, not from the image's /opt/venv"):
        inside.recipe()
    manifest.write_text(json.dumps({"prefix": sys.prefix, "recipe": "abc"}))
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    with pytest.raises(BadImage, match=r"packages of .*/site-packages may take the place .*PYTHONPATH"):
        inside.recipe()


def test_outside_nothing_is_asked(tmp_path: Path) -> None:
    assert Workspace(Store(tmp_path)).recipe == ""


def test_a_program_ends_with_who_started_it() -> None:
    program = [sys.executable, "-c", TETHERED]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdin and process.stdout
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.3)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(10) == inside.EX_ORPHANED
