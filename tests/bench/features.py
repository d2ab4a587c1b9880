"""Feature extraction beside the bare forward pass, and decoding on all cores beside one.

    python tests/bench/features.py [--architecture mobilenet_v2] [--images FOLDER_OF_PHOTOS]

First with input that is decoded already: the whole of `features.extract` (batches, normalisation, checks, writing to
disk) against network(batch) alone, same batch size, same cores, taken in turn. Then, where --images names a folder of
photos, from files: images a second, the share of waiting for data, and how decoding gains from more threads.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs.lib import backbone, features, machine
from jobs.lib.images import Images, prepare
from jobs.lib.loader import Loader
from suite import catalog
from suite.index import IMAGE_EXTENSIONS
from suite.store import read_json

BATCH, ROUNDS = 64, 5


class Decoded(Images):
    """Photos that are in memory, of the size that the network wants."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__(Path(), [str(i) for i in range(count)], [0] * count)
        self.pixels = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.pixels[row % BATCH]


def bare(network: torch.nn.Module, size: int, batches: int) -> float:
    """Seconds of the forward pass alone."""
    x = torch.randn(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        began = time.monotonic()
        for _ in range(batches):
            network(x)
    return time.monotonic() - began


def extraction(one: backbone.Backbone, images: Images) -> tuple[float, dict[str, float]]:
    """Seconds of a whole extraction, and its manifest."""
    loader = Loader(machine.cores(), torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        features.extract(Path(folder) / "split", one, images, "float32", loader, BATCH)
        return time.monotonic() - began, read_json(Path(folder) / "split/manifest.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="mobilenet_v2")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--batches", type=int, default=6)
    asked = parser.parse_args()
    model = catalog.random_init(asked.architecture)
    one = backbone.Backbone(model, backbone.build(model).to(memory_format=torch.channels_last), "bench", "")
    size, count = model.input.size, asked.batches * BATCH
    bare(one.network, size, 2)
    pairs = [(bare(one.network, size, asked.batches), extraction(one, Decoded(count, size))[0]) for _ in range(ROUNDS)]
    ratio = statistics.median(whole / alone for alone, whole in pairs)
    alone, whole = (count / statistics.median(column) for column in zip(*pairs, strict=True))
    cores = torch.get_num_threads()
    print(
        f"{asked.architecture}, {size} px, batches of {BATCH}, {cores} cores, median of {ROUNDS} pairs, input decoded"
    )
    print(f"  bare forward {alone:.1f} images/s, extraction {whole:.1f} images/s")
    print(f"  time / bare forward {ratio:.3f}   target < 1.10   {'ok' if ratio < 1.1 else 'MISSED'}")
    if asked.images:
        from_files(one, asked.images)


def from_files(one: backbone.Backbone, folder: Path) -> None:
    paths = [str(p.relative_to(folder)) for p in sorted(folder.rglob("*")) if p.suffix.lower() in IMAGE_EXTENSIONS]
    images = Images(folder, paths, [0] * len(paths))
    _, manifest = extraction(one, images)
    told = f"{manifest['images_per_second']:.1f} images/s, {100 * manifest['waiting_share']:.0f} % waiting for data"
    print(f"  from {len(paths)} files: {told}")
    for threads in (1, torch.get_num_threads()):
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            began = time.monotonic()
            list(pool.map(lambda row: prepare(images[row], one.model.input), range(len(images))))
            print(f"  decode and resize, {threads} threads: {len(images) / (time.monotonic() - began):.0f} images/s")


if __name__ == "__main__":
    main()
