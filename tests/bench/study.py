"""A whole study of frozen features, as a grid and as one process a cell that shares nothing.

    python tests/bench/study.py --models PATH:ARCHITECTURE,... --datasets LAYOUT:PATH,... [--tasks linear,fewshot,knn]

First `launch.py grid ... --pack 600 --wait` into an empty store; then every one of its cells again by a process of its
own (`python -m jobs KEY`), each in a store without features, as a folder of scripts does it. Both use all cores, and
both must give the same numbers, or the script ends with an error. By default three random networks on the digits.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
MODELS = "random_resnet18,random_mobilenet_v2,random_timm-test_resnet"


def ran(*words: str | Path) -> float:
    """Seconds that a command took; what it said is shown only where it failed."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, *map(str, words)], cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return time.monotonic() - began


def results(store: Path) -> dict[str, list[dict[str, object]]]:
    """Key -> metrics of all cells that are done."""
    found = sorted((store / "results").rglob("result.json"))
    return {one["key"]: one["metrics"] for one in (json.loads(path.read_text()) for path in found)}


def alone(key: str, whole: Path) -> tuple[float, list[dict[str, object]]]:
    """Seconds and metrics of one cell in a store of its own, which has what the whole one has, but nothing computed."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("data", "weights"):
            if (whole / name).is_dir():
                shutil.copytree(whole / name, Path(folder, name), symlinks=True)
        seconds = ran("-m", "jobs", key, "--store", folder)
        return seconds, results(Path(folder))[key]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--datasets", default="digits")
    parser.add_argument("--tasks", default="linear,fewshot,knn")
    parser.add_argument("--seeds", default="0")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        named = [
            word for name in ("tasks", "models", "datasets", "seeds") for word in (f"--{name}", getattr(args, name))
        ]
        together = ran("launch.py", "--store", store, "grid", *named, "--pack", "600", "--wait")
        made, apart = results(store), 0.0
        print(f"grid: {len(made)} cells in {together:.0f} s", flush=True)
        for number, (key, metrics) in enumerate(made.items(), 1):
            seconds, found = alone(key, store)
            apart += seconds
            if found != metrics:
                sys.exit(f"{key}: alone {found}, in the grid {metrics}")
            print(f"  {number}/{len(made)} {key}: {seconds:.1f} s alone", flush=True)
        print(
            f"{len(made)} cells: grid {together:.0f} s, one process a cell {apart:.0f} s: {apart / together:.1f} times"
        )


if __name__ == "__main__":
    main()
