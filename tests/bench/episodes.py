"""Few-shot episodes on features that are extracted once, and as published: through the network anew in every episode.

    python tests/bench/episodes.py [--architecture resnet18] [--images 1000] [--measured 3]

Both have 600 episodes of 5 classes with 5 supports and 15 queries each, on made-up photos of ten classes that are
decoded already. Of the published way a few episodes are measured, and their mean is taken 600 times; ours is measured
whole. The accuracies of the measured episodes must agree.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs.lib import backbone, episodes, images
from suite import catalog

EPISODES, WAY, SHOTS, QUERY, CLASSES = 600, 5, 5, 15, 10


@torch.inference_mode()
def features(network: torch.nn.Module, pixels: np.ndarray, rows: np.ndarray, made_by: object) -> np.ndarray:
    """N x D of some images."""
    blocks = [rows[start : start + 64] for start in range(0, len(rows), 64)]
    return np.concatenate([network(images.normalise(torch.from_numpy(pixels[b]), made_by)).numpy() for b in blocks])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--measured", type=int, default=3)
    args = parser.parse_args()
    model = catalog.random_init(args.architecture)
    network, size = backbone.build(model), model.input.size
    draw = np.random.default_rng(0)
    labels = np.arange(args.images) % CLASSES
    pixels = draw.integers(0, 256, (args.images, 3, size, size), dtype=np.uint8)

    began = time.monotonic()
    x = features(network, pixels, np.arange(args.images), model.input)
    once = time.monotonic() - began
    found = episodes.accuracies(x, labels, shots=SHOTS, way=WAY, query=QUERY, episodes=EPISODES)
    ours = time.monotonic() - began

    began = time.monotonic()
    for number in range(args.measured):
        drawn = episodes._draw(episodes._members(labels, SHOTS + QUERY), WAY, SHOTS + QUERY, 0, number)
        x = features(network, pixels, drawn.ravel(), model.input).reshape(*drawn.shape, -1)
        prototypes, queries = x[:, :SHOTS].mean(1), x[:, SHOTS:].reshape(WAY * QUERY, -1)
        distances = ((queries[:, None] - prototypes) ** 2).sum(-1)
        right = float((distances.argmin(1) == np.arange(WAY).repeat(QUERY)).mean())
        assert abs(right - float(found[number])) < 1e-6, (number, right, float(found[number]))
    theirs = (time.monotonic() - began) / args.measured * EPISODES
    print(
        f"{model.name}, {args.images} images: {EPISODES} episodes {ours:.1f} s ({once:.1f} of it the features), ",
        end="",
    )
    print(f"features in every episode {theirs:.0f} s ({args.measured} measured): {theirs / ours:.0f} times")


if __name__ == "__main__":
    main()
