"""Trials side by side, beside as many separate runs of the plain loop: the cost of a search's trainings.

    python tests/bench/heads.py [--rows 100000] [--dimension 2048] [--classes 1000] [--trials 30] [--features DIR]

The plain loop is one classifier in float32: torch's linear layer, cross-entropy and SGD, features of unit length on the
device, a look at every loss. Both are measured for some steps, in turns, and extrapolated by the number of steps of
`--epochs` epochs; ours is asked for `--at-once` trials together, and reads and converts the features once for each
such batch, which is measured whole. The first ratio is of training alone. The published loop also looks at all
validation images, a fifth of all, after every epoch, ours at the end: the second ratio counts that. Ratios are of
medians, of the clock and, on a CPU, of the processor's time, which other work on the machine disturbs less. The
products alone, in float32 and as ours are, say what the machine's arithmetic leaves to be had.

With --features (features.npz, as linear.py --cache leaves it) it also says what products in bfloat16 change in the
validation accuracy of every trial.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a thread that waits for another does not count as work

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs.lib import heads, machine, seeds
from jobs.lib.heads import Feed, Heads
from jobs.lib.rows import Rows
from jobs.lib.search import Search

TARGET = 10.0
BATCH, MOMENTUM = 1024, 0.9
SPACE = {"rate": (1e-1, 1e2), "decay": (1e-12, 1e-4)}


def asked(trials: int) -> list[tuple[float, float]]:
    """Rates and decays as the search draws them at random."""
    search = Search(SPACE, trials=trials, startup=trials, at_once=1, multivariate=True, seed=0)
    return [(trial["rate"], trial["decay"]) for trial in search.ask()]


def clusters(rows: int, dimension: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Features that are hard to tell apart, as float16."""
    draw, x = np.random.default_rng(0), np.empty((rows, dimension), np.float16)
    y = draw.integers(0, classes, rows)
    centres = draw.normal(size=(classes, dimension)).astype(np.float32)
    for start in range(0, rows, 8192):
        noise = draw.standard_normal((len(y[start : start + 8192]), dimension), np.float32)
        x[start : start + 8192] = np.maximum(centres[y[start : start + 8192]] + 3 * noise, 0)
    return x, y


def plain(x: torch.Tensor, y: torch.Tensor, classes: int, pairs: list[tuple[float, float]]) -> Iterator[None]:
    """The plain loop, a step at a time; a new run from time to time."""
    while True:
        for rate, decay in pairs:
            layer = nn.Linear(x.shape[1], classes).to(x.device)
            sgd = torch.optim.SGD(layer.parameters(), lr=rate, momentum=MOMENTUM, weight_decay=decay)
            for chosen in torch.randperm(len(x), device=x.device).split(BATCH)[:20]:
                loss = nn.functional.cross_entropy(layer(x[chosen]), y[chosen])
                sgd.zero_grad()
                loss.backward()
                sgd.step()
                if not math.isfinite(loss.item()):
                    raise ValueError("the plain loop diverges")
                yield


def validated(x: torch.Tensor, y: torch.Tensor, classes: int) -> Iterator[None]:
    """The plain loop's look at validation images, a batch at a time."""
    layer = nn.Linear(x.shape[1], classes).to(x.device)
    while True:
        with torch.no_grad():
            (layer(x[:BATCH]).topk(min(5, classes), 1).indices == y[:BATCH, None]).sum().item()
        yield


def bare(x: torch.Tensor, classes: int, heads: int) -> Iterator[None]:
    """The two products of a step of so many heads, of B x D features, and nothing else."""
    weights = torch.randn(heads, x.shape[1], classes, device=x.device).to(x.dtype)
    gradient = torch.randn(heads, len(x), classes, device=x.device).to(x.dtype)
    turned = x.T.contiguous()
    while True:
        for head in range(heads):
            x @ weights[head], turned @ gradient[head]
        yield


def side_by_side(made: Heads, feed: Feed) -> Iterator[None]:
    while True:
        for x, y in feed.batches(made.done // feed.steps):
            made.step(x, y, 1.0)
            yield


def timed(work: Callable[[], object], device: torch.device) -> np.ndarray:
    """(seconds of the clock, of the processor)."""
    began = np.array([time.perf_counter(), time.process_time()])
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return np.array([time.perf_counter(), time.process_time()]) - began


def measure(args: argparse.Namespace, device: torch.device) -> None:
    x, y = clusters(args.rows, args.dimension, args.classes)
    rows, pairs = Rows((x, None)).normalised("l2"), asked(args.trials)
    kept = torch.from_numpy(np.concatenate([rows[start : start + 8192] for start in range(0, len(x), 8192)]))
    theirs = plain(kept.to(device), torch.from_numpy(y).to(device), args.classes, pairs)
    how = {"seed": 0, "device": device, "products": args.products}
    feeds: list[Feed] = []

    def fill() -> None:
        feeds.append(Feed(rows, y, batch=BATCH, **how))
        next(feeds[0].batches(0))  # reads and converts all

    filled = timed(fill, device)
    made = Heads(args.dimension, args.classes, pairs[: args.at_once], momentum=MOMENTUM, **how)
    ours, feed = side_by_side(made, feeds[0]), feeds[0]
    looks = validated(kept.to(device), torch.from_numpy(y).to(device), args.classes)
    x_bare = kept[:BATCH].to(device)
    wide = bare(x_bare, args.classes, args.at_once)
    narrow = bare(x_bare.to(getattr(torch, args.products)), args.classes, args.at_once)
    turns = {"plain": theirs, "ours": ours, "look": looks, "wide": wide, "narrow": narrow}
    for one in turns.values():
        for _ in range(2):
            next(one)  # warm-up
    taken: dict[str, list[np.ndarray]] = {name: [] for name in turns}
    for _ in range(args.steps):
        for name, one in turns.items():
            times = args.at_once if name == "plain" else 1
            taken[name].append(timed(lambda one=one, times=times: [next(one) for _ in range(times)], device) / times)
    plain_step, our_step, look, wide_step, narrow_step = (
        np.array([median(part) for part in zip(*each, strict=True)]) for each in taken.values()
    )
    steps, batches = args.epochs * feed.steps, math.ceil(args.trials / args.at_once)
    apart, together = args.trials * steps * plain_step, batches * (steps * our_step + filled)
    looking = args.trials * math.ceil(args.rows / 4 / BATCH) * look  # once
    print(f"N={args.rows}, D={args.dimension}, {args.classes} classes, {args.trials} trials x {args.epochs} epochs of")
    print(
        f"{feed.steps} steps; {args.at_once} at once, products in {args.products}; {device}, {torch.get_num_threads()}"
    )
    print(f"threads. Measured: {args.steps} steps each in turns; totals are extrapolated from them.")
    print(f"{'':38} {'clock':>12} {'processor':>12}")
    for name, row, unit in (
        ("plain loop, a step", 1e3 * plain_step, "ms"),
        ("ours, a step of a head", 1e3 * our_step / args.at_once, "ms"),
        ("ours, features once", filled, "s"),
        (f"{args.trials} plain runs, extrapolated", apart / 3600, "h"),
        ("ours, extrapolated", together / 3600, "h"),
        ("float32's products, a step of a head", 1e3 * wide_step / args.at_once, "ms"),
        (f"{args.products}'s", 1e3 * narrow_step / args.at_once, "ms"),
        ("ratio of the products alone", wide_step / narrow_step, ""),
        (f"ratio (target {TARGET:.0f})", apart / together, ""),
        ("ratio with validation", (apart + args.epochs * looking) / (together + looking), ""),
    ):
        print(f"{name:38} {row[0]:9.3f} {unit:2} {row[1]:9.3f} {unit:2}")


def compare(folder: Path, args: argparse.Namespace, device: torch.device) -> None:
    """Validation accuracy of every trial with products in float32 and in bfloat16, trained on the same batches."""
    stored = np.load(folder / "features.npz")
    x, y, split = stored["x"].astype(np.float16), stored["y"], stored["split"]
    train, val = (np.flatnonzero(split == number) for number in range(2))
    found = {}
    for products in ("float32", "bfloat16"):
        how = {"seed": 0, "device": device, "products": products}
        feed = Feed(Rows((x, train)).normalised("l2"), y[train], batch=BATCH, **how)
        made = Heads(x.shape[1], int(y.max()) + 1, asked(args.trials), momentum=MOMENTUM, **how)
        heads.train(made, feed, epochs=args.epochs, cosine="plain")
        found[products] = 100 * np.array(made.accuracies(Rows((x, val)).normalised("l2"), y[val]))
    exact, rounded = found["float32"], found["bfloat16"]
    differ, spread = rounded - exact, 100 * np.sqrt(0.25 / len(val))
    print(f"real features, {len(train)} x {x.shape[1]}, {len(val)} validation images, {args.trials} trials:")
    print(
        f"  best trial: {exact.max():.2f} % in float32 (number {exact.argmax()}), {rounded.max():.2f} % in bfloat16",
        end="",
    )
    print(f" (number {rounded.argmax()})")
    print(
        f"  a trial differs by {differ.mean():+.2f} points in the mean, by {np.abs(differ).max():.2f} at most;", end=""
    )
    print(f" so many images have a standard error of up to {spread:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--at-once", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=8, help="measured of each")
    parser.add_argument("--products", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--device", default="")
    parser.add_argument("--features", type=Path, help="folder with features.npz: what bfloat16 changes")
    args = parser.parse_args()
    device = torch.device(args.device or machine.device())
    if device.type == "cpu":
        machine.keep_memory()
    torch.manual_seed(seeds.number(0, "bench"))
    measure(args, device)
    if args.features:
        compare(args.features, args, device)


if __name__ == "__main__":
    main()
