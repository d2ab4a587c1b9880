"""Chaos: a grid of 200 short cells on the testbed while, at random, programs and jobs are killed, preempted and
requeued, a node goes down and comes back, slurmctld is killed and restarted, and the launcher dies while it sends.

After the last `grid` every cell must be done once, with the numbers of an undisturbed run, and nothing may have been
computed more often than the retries that are on record. Every round is a store of its own and prints its seed:

    python tests/bench/chaos.py [--rounds 20] [--seed 1] [--datasets 20]

Needs the testbed (make slurm-up), and root, as that does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from suite import attempt, fetch, result
from suite.store import Store

ENTRY = (
    "from dataclasses import replace\nfrom slurm.clusters.testbed import TESTBED\nCHAOS = replace(TESTBED, pack=0)\n"
)
TASKS = ("--tasks", "linear,fewshot,knn", "--models", "pixels_8x8", "--seeds", "0-4")  # k-NN has one seed: 11 cells
PATIENCE_SECONDS = 600.0


class Round:
    """One store, one seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.store, self.draw = folder, Store(folder / "store"), random.Random(seed)
        self.struck: Counter[str] = Counter()
        self.entry = folder / "chaos.py"
        folder.mkdir(parents=True)
        self.entry.write_text(ENTRY)

    def launch(self, *words: str, path: str = "") -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            str(ROOT / "launch.py"),
            "--store",
            str(self.store.root),
            "--cluster",
            str(self.entry),
        ]
        env = os.environ | ({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})
        return subprocess.run([*command, *words], capture_output=True, text=True, env=env)

    def grid(self, sets: str, path: str = "") -> subprocess.CompletedProcess[str]:
        return self.launch("grid", *TASKS, "--datasets", sets, path=path)

    # What befalls it. Each says whether it found something to strike.

    def kill_program(self) -> bool:
        beats = [json.loads(path.read_text()) for path in self.store.results.rglob("heartbeat.json")]
        return bool(beats) and _kill(self.draw.choice(beats)["pid"])

    def kill_job(self) -> bool:
        found = subprocess.run(["pgrep", "-f", f"slurm.job {self.store.logs}"], capture_output=True, text=True)
        own = [pid for pid in map(int, found.stdout.split()) if _name(pid).startswith("python")]
        return bool(own) and _kill(self.draw.choice(own))

    def preempt(self) -> bool:
        return self._to_a_job("scancel", "--signal=USR2")

    def requeue(self) -> bool:
        return self._to_a_job("scontrol", "requeue")

    def node_down(self) -> bool:
        node = f"n{self.draw.randrange(4)}"
        self._node(node, "down")
        time.sleep(self.draw.uniform(0, 3))
        self._node(node, "resume")
        return True

    def restart_controller(self) -> bool:
        """Stopped, or killed: then it forgets what it had not written down yet, up to five seconds of it."""
        pids = subprocess.run(["pgrep", "-x", "slurmctld"], capture_output=True, text=True).stdout.split()
        killed = self.draw.random() < 0.3
        for pid in map(int, pids):
            os.kill(pid, signal.SIGKILL if killed else signal.SIGTERM)
        while any(Path(f"/proc/{pid}/exe").exists() for pid in map(int, pids)):
            time.sleep(0.1)
        time.sleep(self.draw.uniform(0, 2))
        subprocess.run([ROOT / "slurm/testbed/up"], check=True, capture_output=True)
        return True

    def _to_a_job(self, *command: str) -> bool:
        jobs = subprocess.run(["squeue", "-h", "-t", "R", "-o", "%A"], capture_output=True, text=True).stdout.split()
        return bool(jobs) and subprocess.run([*command, self.draw.choice(jobs)], capture_output=True).returncode == 0

    def _node(self, node: str, state: str) -> None:
        words = ("scontrol", "update", f"nodename={node}", f"state={state}", "reason=chaos")
        subprocess.run(words[: 5 if state == "down" else 4], capture_output=True)

    def run(self, sets: str, strikes: int) -> list[str]:
        """Submits, strikes, submits until all is done: what is wrong at the end."""
        for accepted in (True, False):
            if self.draw.random() < 0.5:
                self.struck[f"launcher killed {'after' if accepted else 'before'} sbatch took it"] += 1
                self.grid(sets, path=str(_deadly(self.folder / f"bin{accepted}", accepted)))
        self.grid(sets)
        actions: list[Callable[[], bool]] = [
            self.kill_program, self.kill_job, self.preempt, self.requeue, self.node_down, self.restart_controller,
        ]  # fmt: skip
        for _ in range(strikes):
            time.sleep(self.draw.uniform(0.2, 2))
            for _ in range(30):  # until one finds something to strike
                if (action := self.draw.choice(actions))():
                    self.struck[action.__name__] += 1
                    break
                time.sleep(0.2)
            if self.draw.random() < 0.3:
                self.launch("status") if self.draw.random() < 0.5 else self.grid(sets)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not re.fullmatch(r"(\d+) cells: \1 done\n", (told := self.grid(sets)).stdout):
            if time.monotonic() > deadline:
                return [f"not done after {PATIENCE_SECONDS:.0f} s: {told.stdout} {told.stderr}"]
            for node in range(4):
                self._node(f"n{node}", "resume")
            time.sleep(2)
        return []

    def numbers(self) -> dict[str, object]:
        return {key: _read(self.store, key)["metrics"] for key in result.keys(self.store.results)}

    def wasted(self) -> tuple[int, int, list[str]]:
        """(cells begun more than once, retries on record, what is wrong about them), from the programs' own logs."""
        logs = "".join(path.read_text(errors="replace") for path in self.store.logs.glob("*/*.log"))
        begun = Counter(re.findall(r"^(\S+): begun$", logs, re.MULTILINE))
        finished = Counter(re.findall(r"^(\S+): \S+ [\d.]+ in [\d.]+ s$", logs, re.MULTILINE))
        noted = {key: len(attempt.history(self.store.results / key)) for key in begun}
        wrong = [f"{key}: computed {n} times" for key, n in finished.items() if n > 1]
        wrong += [f"{key}: begun {n}x, {noted[key]} retries" for key, n in begun.items() if n > 1 + noted[key]]
        return sum(n - 1 for n in begun.values()), sum(noted.values()), wrong


def _read(store: Store, key: str) -> dict[str, object]:
    found = result.read(store.results, key)
    assert found, key
    return found


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def _deadly(folder: Path, accepted: bool) -> Path:
    """A folder with an sbatch that kills the launcher, after Slurm has taken the job or before."""
    folder.mkdir()
    send = f'{shutil.which("sbatch")} "$@" > /dev/null' if accepted else "true"
    (folder / "sbatch").write_text(f"#!/bin/bash\n{send}\nkill -9 $PPID\n")
    (folder / "sbatch").chmod(0o755)
    return folder


def photos(folder: Path, count: int) -> str:
    """`count` image folders, each with other scans of digits: the --datasets that names them."""
    digits = folder / "digits"
    fetch.digits(digits)
    for number in range(count):
        for split, size in (("train", 12), ("test", 8)):
            for label in sorted((digits / split).iterdir()):
                to = folder / f"set{number}" / split / label.name
                to.mkdir(parents=True)
                for image in random.Random(number).sample(sorted(label.iterdir()), size):
                    shutil.copy(image, to)
    return ",".join(f"imagefolder:{folder}/set{number}" for number in range(count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the others count on from it")
    parser.add_argument("--datasets", type=int, default=20, help="11 cells each")
    parser.add_argument("--strikes", type=int, default=8, help="what befalls the grid in each round")
    asked = parser.parse_args()
    if not shutil.which("scontrol") or subprocess.run(["scontrol", "ping"], capture_output=True).returncode:
        return print("not measured: chaos needs the testbed, make slurm-up")
    bad = 0
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        sets = photos(Path(folder) / "photos", asked.datasets)
        calm = Round(Path(folder) / "calm", 0)
        began = time.monotonic()
        if wrong := calm.run(sets, strikes=0):
            sys.exit(f"the undisturbed run: {wrong}")
        undisturbed = calm.numbers()
        print(f"undisturbed: {len(undisturbed)} cells in {time.monotonic() - began:.0f} s", flush=True)
        for seed in range(asked.seed, asked.seed + asked.rounds):
            one = Round(Path(folder) / f"round{seed}", seed)
            began = time.monotonic()
            wrong = one.run(sets, asked.strikes)
            found = one.numbers() if not wrong else {}
            again, noted, waste = one.wasted()
            wrong += waste + [f"{key}: other numbers" for key in found if found[key] != undisturbed[key]]
            wrong += [f"{len(found)} cells of {len(undisturbed)}"] if len(found) != len(undisturbed) else []
            told = ", ".join(f"{name} {n}" for name, n in one.struck.items() if n)
            seconds = time.monotonic() - began
            print(f"seed {seed}: {len(found)} done in {seconds:.0f} s; begun again {again}, retries {noted}; {told}")
            print("\n".join(f"  WRONG {line}" for line in wrong[:20]) or "  all as undisturbed", flush=True)
            bad += bool(wrong)
    print(f"{asked.rounds - bad} of {asked.rounds} rounds without a fault")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
