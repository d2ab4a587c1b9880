"""What a few minutes of pre-training give over random weights: k-NN accuracy of both, seed by seed.

    python tests/bench/learn.py [RECIPE_ARCHITECTURE ...] [--data DATASET] [--seeds 1,2,3]

--data is spelled as for `launch.py grid --datasets`: cifar:/data/cifar-10-batches-py, imagefolder:/data/mine, or the
embedded digits. For every seed the network is measured as it begins and as pre-training has left it, on the data set's
test images with its training images as the bank (the task `knn`); training never sees a label or a test image. A method
has learnt where the mean gain over the seeds is more than twice its standard error, and every product is above every
random network. A minute each on a thousand small images, but for mae-short_timm-test_vit, which takes ten.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a thread that waits for another does not count as work

import argparse
import io
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs import knn, pretrain
from jobs.lib.workspace import Workspace
from suite import adhoc, fetch, plan, product
from suite.catalog import Catalog
from suite.cell import Cell
from suite.model import Model
from suite.store import Store

USUAL = [f"{recipe}-short_timm-test_resnet" for recipe in ("simclr", "moco-v2", "byol", "rotation")]


def voted(known: Catalog, workspace: Workspace, model: Model, data: str) -> float:
    """k-NN's top-1 on the test images, in percent."""
    found = knn.run(Cell(known.task("knn"), known.dataset(data), model, 0), workspace)
    return 100 * next(metric.value for metric in found.metrics if metric.headline)


def measured(name: str, seed: int, asked: argparse.Namespace) -> tuple[float, float, float]:
    """Top-1 of the random network and of the product, in percent, and minutes of pre-training."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        known = Catalog(Store(Path(folder)))
        known.store.weights.mkdir(parents=True)
        if asked.data in fetch.EMBEDDED:
            known.store.data.mkdir()
            fetch.EMBEDDED[asked.data](known.store.data / asked.data)
        data = adhoc.dataset(asked.data, known)
        known.named[data.name] = data
        workspace, spelled = Workspace(known.store, cores=asked.cores), f"{name}@{data.name}~{seed}"
        made = known.model(spelled)
        before = voted(known, workspace, replace(made, name="random", weights=None, recipe=None), data.name)
        began = time.perf_counter()
        pretrain.run(product.maker(made, known), workspace)
        minutes = (time.perf_counter() - began) / 60
        return before, voted(known, workspace, known.model(spelled), data.name), minutes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=USUAL, metavar="RECIPE_ARCHITECTURE")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--cores", type=int, default=0, help="0: all")
    asked = parser.parse_args()
    seeds = plan.numbers(asked.seeds)
    print(f"k-NN's top-1 in percent on {asked.data}, seeds {', '.join(map(str, seeds))}")
    for name in asked.names:
        rows = np.array([measured(name, seed, asked) for seed in seeds])
        random, ours, minutes = rows.T
        gain = ours - random
        told = "  ".join(f"{a:.1f} -> {b:.1f}" for a, b, _ in rows) + f"   gain {gain.mean():.1f}"
        if len(gain) > 1:
            error = gain.std(ddof=1) / len(gain) ** 0.5
            learnt = gain.mean() > 2 * error and ours.min() > random.max()
            told += f" +- {error:.1f}   {'ok' if learnt else 'MISSED'}"
        else:
            told += ", of one seed: no spread to hold it against"
        print(f"  {name:32} {told}   {minutes.mean():.1f} min each", flush=True)


if __name__ == "__main__":
    main()
