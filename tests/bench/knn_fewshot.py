"""Neighbours and episodes on cached features: seconds, and agreement with float64 brute force.

    python tests/bench/knn_fewshot.py [--features DIR]    # DIR holds features.npz, as linear.py --cache leaves it

Without features, on 100 clusters of 70 random points.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs.lib import episodes, metrics, neighbours
from suite import enough

KS = (10, 20, 100, 200)
T = 0.07


def brute(bank: np.ndarray, labels: np.ndarray, queries: np.ndarray, classes: int) -> dict[int, np.ndarray]:
    """Votes by a full float64 similarity matrix and a stable sort."""
    bank, queries = bank.astype(np.float64), queries.astype(np.float64)
    bank, queries = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (bank, queries))
    similarity = queries @ bank.T
    order = np.argsort(-similarity, axis=1, kind="stable")
    hot, votes = np.eye(classes)[labels], {}
    for k in KS:
        weight = np.exp(np.take_along_axis(similarity, order[:, :k], 1) / T)
        votes[k] = np.einsum("qn,qnk->qk", weight, hot[order[:, :k]])
    return votes


def clusters(dim: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    y = np.repeat(np.arange(100), 70)
    x = np.maximum(draw.normal(size=(100, dim))[y] + 5 * draw.normal(size=(7000, dim)), 0).astype(np.float32)
    return {"x": x, "y": y, "split": np.tile(np.repeat(np.arange(3), (40, 10, 20)), 100)}


def measure_neighbours(x: np.ndarray, y: np.ndarray, split: np.ndarray, device: str) -> None:
    bank, labels, queries, truth = x[split < 2], y[split < 2], x[split == 2], y[split == 2]
    classes = int(y.max()) + 1
    began = time.perf_counter()
    votes = neighbours.predict(bank, labels, queries, classes, KS, T, device=device)
    middle = time.perf_counter()
    exact = brute(bank, labels, queries, classes)
    print(f"knn: {len(bank)} x {len(queries)}, D={x.shape[1]}: ours {middle - began:.2f} s", end="; ")
    print(f"float64 brute force {time.perf_counter() - middle:.2f} s")
    for k in KS:
        differ = int((votes[k].argmax(1).numpy() != exact[k].argmax(1)).sum())
        worst = float(np.abs(votes[k].numpy() / np.maximum(exact[k], 1e-300) - 1)[exact[k] > 0].max())
        accuracy = 100 * metrics.top1(votes[k], torch.from_numpy(truth))
        print(f"  k={k:3}: {accuracy:6.2f} %, {differ} predictions differ (target 0), votes within {worst:.0e}")


def measure_episodes(x: np.ndarray, y: np.ndarray, device: str) -> None:
    for shots in (1, 5, 20, 50):
        plan = enough.episodes(np.bincount(y), shots=shots)
        if plan is None:
            print(f"few-shot K={shots}: not enough images")
            continue
        way, query, classes = plan
        began = time.perf_counter()
        found = episodes.accuracies(x, y, shots=shots, way=way, query=query, device=device)
        seconds = time.perf_counter() - began
        mean, low, high = (100 * value for value in metrics.mean_interval(found))
        print(
            f"few-shot K={shots:2}, {way}-way, {query} queries, {len(classes)} classes, 600 episodes, D={x.shape[1]}: "
            f"{seconds:.2f} s (target < 2)   {mean:.2f} % [{low:.2f}, {high:.2f}]"
        )


def measure_bootstrap() -> None:
    """Random scores of VOC's size: only the time counts."""
    random = torch.Generator().manual_seed(0)
    labels = (torch.rand(5000, 20, generator=random) < 0.07).long()
    scores = labels + torch.randn(5000, 20, generator=random)
    began = time.perf_counter()
    low, high = metrics.bootstrap(metrics.map11_statistic(scores, labels), 5000)
    seconds = time.perf_counter() - began
    print(f"bootstrap of map11, 1000 resamples of 5000 x 20 (random): {seconds:.2f} s (target < 5)", end=" ")
    print(f"[{low:.4f}, {high:.4f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    stored = np.load(args.features / "features.npz") if args.features else clusters(args.dim)
    x, y = np.ascontiguousarray(stored["x"][:, : args.dim]), stored["y"]
    print(f"{args.features or 'random clusters'}, seed 0, {torch.get_num_threads()} threads, {args.device}")
    measure_neighbours(x, y, stored["split"], args.device)
    measure_episodes(x, y, args.device)
    measure_bootstrap()


if __name__ == "__main__":
    main()
