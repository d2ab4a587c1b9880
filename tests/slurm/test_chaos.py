"""One short round of tests/bench/chaos.py: a grid ends done, once, with the undisturbed numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.usefixtures("testbed")
def test_a_round_of_chaos() -> None:
    words = ("--rounds", "1", "--datasets", "6", "--strikes", "6", "--seed", "7")
    command = [sys.executable, str(ROOT / "tests/bench/chaos.py"), *words]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 of 1 rounds without a fault" in ran.stdout
