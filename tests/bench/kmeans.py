"""k-means of a million rows into ten thousand clusters: peak memory, time, and scikit-learn's beside it.

    python tests/bench/kmeans.py            # an iteration at full size: minutes on two cores
    python tests/bench/kmeans.py --quick    # the same of a tenth of the rows and of the clusters

First one iteration (two assignments and one mean) runs in a process of its own, whose peak memory is told; what part of
it is the rows themselves too. Then ours and scikit-learn's Lloyd go ten iterations from the same random rows at a size
that both can do, in turns, --repeats times.
"""

import argparse
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs.pretrain.lib.kmeans import kmeans, means

GB = 1 << 30
ITERATIONS = 10


def rows_of(count: int, dimension: int) -> torch.Tensor:
    """Unit vectors, as whitened features are, of many overlapping blobs."""
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(count, dimension, generator=draw)
    centres = torch.randn(1000, dimension, generator=draw)
    for at in range(0, count, 10_000):
        rows[at : at + 10_000] += centres[torch.randint(1000, (min(10_000, count - at),), generator=draw)]
        rows[at : at + 10_000] /= rows[at : at + 10_000].norm(dim=1, keepdim=True)
    return rows


def peak() -> float:
    """Of this process, in GB; Linux counts in KB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB


def large(count: int, dimension: int, clusters: int) -> None:
    """In a process of its own: one iteration and its peak memory."""
    began = peak()
    rows = rows_of(count, dimension)
    with_rows, at = peak(), time.perf_counter()
    found = kmeans(rows, clusters, 0, iterations=1)
    seconds, at = time.perf_counter() - at, time.perf_counter()
    means(rows, found.labels, found.centroids)
    print(f"{count:,} x {dimension} into {clusters:,}, {torch.get_num_threads()} threads, float32, CPU")
    rate = 4 * count * dimension * clusters / 1e9 / seconds
    print(f"  two assignments, means, inertia: {seconds:.1f} s ({rate:.0f} GFLOP/s), ", end="")
    print(f"of it means {time.perf_counter() - at:.1f} s; every further iteration is half of it")
    print(f"  peak memory {peak():.2f} GB (target < 8), of it {began:.2f} the program's and ", end="")
    print(f"{with_rows - began:.2f} the rows'; all distances would be {4 * count * clusters / GB:.1f}")


def beside(count: int, dimension: int, clusters: int, repeats: int) -> None:
    """Ours and scikit-learn's, in turns."""
    rows = rows_of(count, dimension)
    first = rows[np.random.default_rng(0).choice(count, clusters, replace=False)]
    ours, theirs, apart = [], [], []
    for _ in range(repeats):
        at = time.perf_counter()
        one = kmeans(rows, clusters, 0, iterations=ITERATIONS, first=first)
        middle = time.perf_counter()
        other = KMeans(clusters, init=first.numpy(), n_init=1, max_iter=ITERATIONS, tol=0, algorithm="lloyd")
        other.fit(rows.numpy())
        ours.append((middle - at) / ITERATIONS)
        theirs.append((time.perf_counter() - middle) / other.n_iter_)
        apart.append(abs(one.inertia / other.inertia_ - 1))
    same = float((one.labels.numpy() == other.labels_).mean())
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(f"{count:,} x {dimension} into {clusters:,}, {ITERATIONS} iterations, {repeats} times, in turns")
    print(f"  seconds an iteration: ours {median(ours):.2f}, scikit-learn {median(theirs):.2f}; ", end="")
    print(f"ratio {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"  inertia differs by {max(apart):.1e} of it (target < 1e-4); {100 * same:.2f} % of labels are the same")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    size = (100_000, 256, 1000) if args.quick else (1_000_000, 256, 10_000)
    if args.alone:
        return large(*size)
    subprocess.run([sys.executable, __file__, "--alone", *(["--quick"] if args.quick else [])], check=True)
    warnings.simplefilter("ignore", ConvergenceWarning)
    beside(*((20_000, 64, 100) if args.quick else (100_000, 256, 1000)), args.repeats)


if __name__ == "__main__":
    main()
