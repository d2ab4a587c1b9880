"""Linear probes from features that are larger than memory: the most memory that they take, and what a pass costs.

    python tests/bench/stream.py [--gigabytes 5.2] [--memory-gb 0.5] [--room-gb 2.5] [--folder DIR]

It writes synthetic float16 features (by default those of ImageNet-1K, 1,281,167 x 2,048 = 5.2 GB, or as much as a fifth
of what is free in --folder), and then, each in a process of its own: reads the file once from its beginning to its end;
trains SGD heads for a part of an epoch; and fits L2-regularised logistic regression for a few iterations. These two may
keep --memory-gb of features, and stream the rest. A process may have no more than --room-gb of memory of its own beyond
its imports (RLIMIT_DATA; what is mapped from the file does not count, as the system takes it back where it is needed).
Peaks are of that memory; a pass is the time for as many rows as the file has, all that is done with them included.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

FULL = 1_281_167
GB = 2**30
CLASSES = {"heads": 1000, "logistic": 20}


def write(path: Path, rows: int, dimension: int) -> None:
    """Non-negative features, each of one of 1,000 classes in the order of the file, as an extraction leaves them."""
    draw = np.random.default_rng(0)
    centres = draw.random((1000, dimension), np.float32)
    noise = draw.standard_exponential((4096, dimension), np.float32)
    x = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(rows, dimension))
    for start in range(0, rows, 4096):
        stop = min(start + 4096, rows)
        label = np.arange(start, stop) * 1000 // rows
        x[start:stop] = centres[label] + np.roll(noise, start // 4096, 1)[: stop - start]
    x.flush()


def forget(path: Path) -> None:
    """Of the file nothing is left in the system's cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def status(name: str) -> int:
    """Bytes of a line of /proc/self/status."""
    return int(re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024


class Peak:
    """The most anonymous memory that this process has while it is open, beyond what it had before."""

    def __enter__(self) -> Peak:
        self.before, self.most, self._over = status("RssAnon"), 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, status("RssAnon") - self.before)


def plain(path: Path, args: argparse.Namespace) -> tuple[float, str]:
    """Passes, and what they were."""
    block = bytearray(16 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(block):
            pass
    return 1.0, "a plain read of the file"


def heads(path: Path, args: argparse.Namespace) -> tuple[float, str]:
    import torch

    from jobs.lib import heads
    from jobs.lib.rows import Rows

    x = np.load(path, mmap_mode="r")
    labels = np.arange(len(x)) * 1000 // len(x)
    how = {"seed": 0, "device": torch.device("cpu"), "products": args.products}
    feed = heads.Feed(Rows((x, None)).normalised("l2"), labels, batch=1024, memory=int(args.memory_gb * GB), **how)
    made = heads.Heads(x.shape[1], 1000, [(1.0, 1e-6)] * args.heads, momentum=0.9, **how)
    steps = max(1, min(args.steps, feed.steps))
    for _, (rows, y) in zip(range(steps), feed.batches(0), strict=False):
        made.step(rows, y, 1.0)
    read = min(-(-steps * feed.batch // feed.window) * feed.window, len(x)) / len(x)
    return (
        read,
        f"{args.heads} heads of 1000 classes, {steps} of {feed.steps} steps, shuffled in blocks: {feed.in_blocks}",
    )


def logistic(path: Path, args: argparse.Namespace) -> tuple[float, str]:
    from jobs.lib import logistic

    class Counting:
        """The rows, which counts how many are read."""

        def __init__(self, x: np.ndarray) -> None:
            self.x, self.shape, self.read = x, x.shape, 0

        def __len__(self) -> int:
            return len(self.x)

        def __getitem__(self, asked: slice) -> np.ndarray:
            block = self.x[asked]
            self.read += len(block)
            return block

    x = Counting(np.load(path, mmap_mode="r"))
    classes = CLASSES["logistic"]
    y = np.arange(len(x)) * classes // len(x)
    memory = int(args.memory_gb * GB)
    fit = logistic.fit(x, y, classes, 1e-4, max_iterations=args.iterations, memory=memory)  # type: ignore[arg-type]
    return x.read / len(x), f"logistic regression of {classes} classes, {fit.iterations} iterations"


WORK: dict[str, Callable[[Path, argparse.Namespace], tuple[float, str]]] = {
    "plain": plain,
    "heads": heads,
    "logistic": logistic,
}


def child(name: str, args: argparse.Namespace) -> None:
    """One measurement, printed as JSON."""
    if name != "plain":
        from jobs.lib import heads, logistic  # noqa: F401  # what they import is no part of the peak
    room = status("VmData") + int(args.room_gb * GB)
    resource.setrlimit(resource.RLIMIT_DATA, (room, room))
    forget(args.file)
    with Peak() as peak:
        began = time.perf_counter()
        passes, what = WORK[name](args.file, args)
        seconds = time.perf_counter() - began
    told = {"what": what, "seconds": seconds, "passes": passes, "own": peak.most / GB, "resident": status("VmHWM") / GB}
    print("FOUND", json.dumps(told), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--gigabytes", type=float, help="of the file, 10^9 bytes; default: 5.2, or a fifth of the disk")
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--memory-gb", type=float, default=0.5, help="features that may be kept")
    parser.add_argument("--room-gb", type=float, default=2.5, help="memory of its own that a process may have")
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--products", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--steps", type=int, default=120, help="of the heads")
    parser.add_argument("--iterations", type=int, default=3, help="of the logistic regression, at each value of C")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=WORK, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args)
        return
    free = shutil.disk_usage(args.folder).free
    size = min(FULL * args.dimension * 2, free // 5) if args.gigabytes is None else int(args.gigabytes * 1e9)
    rows = max(size // (2 * args.dimension), 2000)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "features.npy"
        write(path, rows, args.dimension)
        size = path.stat().st_size
        print(f"{rows} x {args.dimension} float16, {size / 1e9:.2f} GB; {args.memory_gb:g} GB of it may be kept, and a")
        print(f"process may have {args.room_gb:g} GB of its own beyond its imports")
        again, base = [*sys.argv[1:], "--file", str(path), "--child"], 0.0
        for name in WORK:
            ran = subprocess.run([sys.executable, __file__, *again, name], capture_output=True, text=True)
            if ran.returncode:
                sys.exit(f"{name}: {ran.stderr[-2000:]}")
            found = json.loads(ran.stdout.split("FOUND ")[1])
            each = found["seconds"] / found["passes"]
            base = base or each
            print(f"  {found['what']}")
            print(
                f"    {found['passes']:.2f} passes, {each:.2f} s a pass ({each / base:.1f} x the plain read); peak"
                f" {found['own']:.3f} GB of its own, {found['resident']:.3f} GB resident with what is mapped"
            )


if __name__ == "__main__":
    main()
