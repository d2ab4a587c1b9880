"""How long the frame takes at 10,000 cells: planning, status, gather; each command as a process, from start to end.

python tests/bench/frame.py [--cells 10000]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from suite import architecture, plan, result
from suite.catalog import Catalog
from suite.grid import Grid
from suite.result import Metric, Outcome
from suite.store import Store, write_json

TASKS = ("linear", "knn", "fewshot", "finetune")
DATASETS = 25


def folders(root: Path) -> list[str]:
    """Small image folders of somebody's own."""
    for number in range(DATASETS):
        for split in ("train", "test"):
            for name in ("cat", "dog"):
                path = root / f"set{number}" / split / name / "0.png"
                path.parent.mkdir(parents=True)
                path.touch()
    return [f"imagefolder:{root}/set{number}" for number in range(DATASETS)]


def launch(store: Path, *words: str) -> float:
    """Seconds of one command."""
    began = time.monotonic()
    ran = subprocess.run([sys.executable, ROOT / "launch.py", "--store", store, *words], capture_output=True, text=True)
    if ran.returncode:
        sys.exit(ran.stdout + ran.stderr)
    return time.monotonic() - began


def fill(known: Catalog, asked: Grid) -> int:
    """Writes a result for every cell, as a job would."""
    cells = plan.plan(asked, known).cells
    known.record(cells)
    metrics = tuple(Metric(f"top1_k{k}", 0.5, 0.4, 0.6, 100, k == 20) for k in (10, 20, 100, 200))
    extraction = {"model": "m", "weights": "w" * 64, "images": 100, "images_per_second": 99.5, "waiting_share": 0.1}
    details = {"validation": {f"{10 ** (k / 4):.6g}": 0.123456 for k in range(-20, 25)}, "extraction": extraction}
    how = {"seconds": 12.3, "finished": time.time(), "commit": "c" * 40, "image": "", "device": "cpu"}
    for cell in cells:
        write_json(
            known.store.results / cell.key / "result.json", result.record(cell, Outcome(metrics, {}, details), **how)
        )
    return len(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    count = parser.parse_args().cells // (DATASETS * len(TASKS))
    with tempfile.TemporaryDirectory() as folder:
        store, sets = Path(folder) / "store", folders(Path(folder))
        models = [f"random_{name.replace(':', '-')}" for name in architecture.names()[:count]]
        words = (
            "grid",
            "--dry-run",
            "--tasks",
            ",".join(TASKS),
            "--models",
            ",".join(models),
            "--datasets",
            ",".join(sets),
        )
        rows = [
            ("launch.py --help", launch(store, "--help"), 0.3),
            ("plan (grid --dry-run)", launch(store, *words), 2.0),
        ]
        cells = fill(Catalog(Store(store)), Grid(tasks=TASKS, models=tuple(models), datasets=tuple(sets)))
        rows += [(f"status of {cells} finished cells", launch(store, "status"), 2.0)]
        rows += [("gather, first time", launch(store, "gather"), 10.0), ("gather again", launch(store, "gather"), 2.0)]
    print(f"{cells} cells; seconds of a whole process")
    for name, seconds, target in rows:
        print(f"  {name:32} {seconds:6.2f} s   target {target:5.1f} s   {'ok' if seconds < target else 'MISSED'}")


if __name__ == "__main__":
    main()
