"""Slurm: how long it takes to submit 2,000 cells, to see their states, and until a finished cell is seen.

python tests/bench/slurm.py [--cells 2000]          needs the testbed: make slurm-up

Every cell is an array task of its own (they are held, and cancelled at the end). What sbatch and squeue take by
themselves is measured in the same runs, by programs of their names in front of PATH that note each call and its time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from suite import fetch, result
from suite.store import Store

ENTRY = (
    "from dataclasses import replace\nfrom slurm.clusters.testbed import TESTBED\nHELD = replace(TESTBED, pack=0, {})\n"
)
NOTING = """#!/bin/bash
began=$(date +%s.%N)
{real} "$@"
code=$?
echo {name} $began $(date +%s.%N) >> {calls}
exit $code
"""


class Site:
    """A store, an entry, and Slurm's commands under watch."""

    def __init__(self, folder: Path, changes: str) -> None:
        self.store, self.entry, self.calls = Store(folder / "store"), folder / "held.py", folder / "calls"
        folder.mkdir()
        self.entry.write_text(ENTRY.format(changes))
        fetch.digits(self.store.data / "digits")
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("sbatch", "squeue", "sacct", "scontrol", "sacctmgr", "sinfo", "scancel"):
            text = NOTING.format(real=shutil.which(name), name=name, calls=self.calls)
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    def launch(self, *words: str) -> tuple[float, dict[str, list[float]]]:
        """Seconds of one command, and those of each call of Slurm's commands within it."""
        self.calls.unlink(missing_ok=True)
        command = [sys.executable, ROOT / "launch.py", "--store", self.store.root, "--cluster", self.entry, *words]
        began = time.monotonic()
        env = os.environ | {"PATH": f"{self.bin}:{os.environ['PATH']}"}
        ran = subprocess.run(command, capture_output=True, text=True, env=env)
        seconds = time.monotonic() - began
        if ran.returncode:
            sys.exit(ran.stdout + ran.stderr)
        calls: dict[str, list[float]] = {}
        for line in self.calls.read_text().splitlines() if self.calls.exists() else ():
            name, start, end = line.split()
            calls.setdefault(name, []).append(float(end) - float(start))
        return seconds, calls


def told(what: str, seconds: float, calls: dict[str, list[float]], limit: float) -> None:
    own = seconds - sum(map(sum, calls.values()))
    names = ", ".join(f"{len(spent)} {name} {sum(spent):.2f} s" for name, spent in calls.items()) or "no call of Slurm"
    verdict = "ok" if own < limit else "MISSED"
    print(f"  {what:34} {seconds:5.2f} s; Slurm's part: {names}; ours {own:.2f} s, target {limit:.1f} s: {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=2000)
    seeds = parser.parse_args().cells // 2
    if not shutil.which("scontrol") or subprocess.run(["scontrol", "ping"], capture_output=True).returncode:
        return print("not measured: needs the testbed, make slurm-up")
    with tempfile.TemporaryDirectory() as folder:
        held = Site(Path(folder) / "held", "lines=('--hold',)")
        models = ("--models", "pixels_8x8,random-32px_resnet18", "--datasets", "digits")
        words = ("grid", "--tasks", "finetune-short", *models, "--seeds", f"0-{seeds - 1}")
        print(f"{2 * seeds} cells, each an array task")
        told("grid", *held.launch(*words), 5.0)
        told("the same grid again", *held.launch(*words), 5.0)
        told("status, all queued", *held.launch("status"), 1.0)
        told("cancel, all", *held.launch("cancel"), 5.0)
        told("status, nothing queued", *held.launch("status"), 1.0)

        quick = Site(Path(folder) / "quick", "")
        waits = []
        for seed in range(5):
            quick.launch(
                "grid", "--tasks", "fewshot", "--models", "pixels_8x8", "--datasets", "digits", "--seeds", str(seed)
            )
            quick.launch("status", "--watch")
            found = result.read(quick.store.results, f"fewshot-v1/digits/pixels_8x8/{seed}")
            waits.append(time.time() - (found or {"finished": 0.0})["finished"])
        print(f"from a cell's end to its appearance in status --watch: {max(waits):.2f} s at most, of {len(waits)}")


if __name__ == "__main__":
    main()
