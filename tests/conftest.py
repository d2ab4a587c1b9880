"""What tests share: a store with the digits, and the command line as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from suite import fetch
from suite.catalog import Catalog
from suite.store import Store

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))

BEDS = ("tests/slurm/", "tests/containers/")
Launch = Callable[..., subprocess.CompletedProcess[str]]


class Apart(LoadScopeScheduling):
    """What uses this machine's one Slurm and its container engines runs in one process and, being most, begins at once:
    it waits a lot, and meanwhile the other process of `make test` computes."""

    def _split_scope(self, nodeid: str) -> str:
        return "testbeds" if nodeid.startswith(BEDS) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Apart:
    return Apart(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What computes gives way to the tests that have Slurm and the engines, which are one long row."""
    if "PYTEST_XDIST_WORKER" in os.environ and not item.nodeid.startswith(BEDS) and os.nice(0) == 0:
        os.nice(10)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real photos and weights; tests that need them are skipped where they are not."""
    if not (SHARED / "weights").is_dir():
        pytest.skip(f"no real photos at {SHARED}; set SHARED_DATA")
    return SHARED


@pytest.fixture
def known(tmp_path: Path) -> Catalog:
    """The catalog over a fresh store that has the digits."""
    store = Store(tmp_path / "store")
    fetch.digits(store.data / "digits")
    return Catalog(store)


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """launch.py on this test's store, as a process."""

    def run(*words: object, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "launch.py"), "--store", str(tmp_path / "store"), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | more, cwd=tmp_path)

    return run


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Of torch: more would wait for each other where two tests run at a time."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
