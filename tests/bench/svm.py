"""The SVMs of one layer, all classes, costs and folds, against scikit-learn's LinearSVC, one fit at a time.

    python tests/bench/svm.py [--images 5011] [--dimension 8192] [--classes 20] [--threads 1] [--tolerance 1e-4]

Both do what the protocol does for a layer: 19 costs x 3 folds x classes, then a fit of each class on all images. All
of ours are run; of scikit-learn's, which has 2,000 iterations at most as published, one class's, whose seconds count
for every class. The features are drawn: positive, with a spectrum that falls off. Prints, last,

    result: RATIO times less time; mean average precision apart by DIFFERENCE
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score
from sklearn.svm import LinearSVC

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs import svm as program
from jobs.lib import svm
from suite.tasks.svm import SVM


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("images", 5011), ("dimension", 8192), ("classes", 20), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--tolerance", type=float, default=SVM.settings["tolerance"])
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    x, y = features(asked.images, asked.dimension, asked.classes)
    settings = {**SVM.settings, "tolerance": asked.tolerance}
    folds = program._folds(torch.from_numpy(y), settings["folds"], 0)
    rows = svm.UnitRows((x, None))

    begun = time.perf_counter()
    points = ours(rows, torch.from_numpy(y), folds, settings)
    spent = time.perf_counter() - begun
    print(f"ours: {spent:.1f} s, all {asked.classes} classes", flush=True)

    begun = time.perf_counter()
    expected = theirs(rows[:].astype(np.float64), y[:, 0], folds[:, 0].numpy(), settings)
    once = time.perf_counter() - begun
    print(f"scikit-learn: {once:.1f} s, one class", flush=True)
    apart = np.abs(points[:, 0].numpy() - expected).max()
    print(f"result: {asked.classes * once / spent:.1f} times less time; mean average precision apart by {apart:.5f}")


def features(images: int, dimension: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images x dimension, float32, and 0/1 labels of which some 8 % are 1."""
    random = np.random.default_rng(0)
    hidden = random.normal(size=(images, 100)) * np.linspace(2, 0.1, 100)
    x = (hidden @ random.normal(size=(100, dimension))).astype(np.float32) * np.float32(0.3)
    x += random.normal(size=x.shape).astype(np.float32)
    scores = hidden @ random.normal(size=(100, classes)) + 5 * random.normal(size=(images, classes))
    return np.maximum(x - np.float32(0.5), 0), (scores > np.quantile(scores, 0.92, axis=0)).astype(np.int64)


def ours(rows: svm.UnitRows, y: torch.Tensor, folds: torch.Tensor, settings: dict[str, object]) -> torch.Tensor:
    """Average precision, costs x classes, and the last fits, which are not looked at."""
    times = svm.product(rows)
    problem = svm.problem(y, 2.0)
    points = program._validate(times, y, *problem, folds, settings)
    best = torch.tensor(sorted(SVM.settings["costs"])).double()[points.argmax(0)]
    svm.fit(times, *problem, best, tolerance=float(str(settings["tolerance"])))
    return points


def theirs(x: np.ndarray, y: np.ndarray, folds: np.ndarray, settings: dict[str, object]) -> np.ndarray:
    """The same of one class, a fit at a time."""
    costs = sorted(SVM.settings["costs"])
    points = np.zeros(len(costs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for n, cost in enumerate(costs):
            for fold in range(SVM.settings["folds"]):
                held = folds == fold
                made = LinearSVC(C=cost, class_weight={1: 2, 0: 1}, tol=1e-4, max_iter=2000, dual=True)
                scores = made.fit(x[~held], y[~held]).decision_function(x[held])
                points[n] += average_precision_score(y[held], scores) / SVM.settings["folds"]
        LinearSVC(C=costs[points.argmax()], class_weight={1: 2, 0: 1}, tol=1e-4, max_iter=2000, dual=True).fit(x, y)
    return points


if __name__ == "__main__":
    main()
