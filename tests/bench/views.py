"""Views of pre-training a second on one core, beside the pipelines that other toolboxes have, by recipe.

    python tests/bench/views.py [--data FOLDER_OF_PHOTOS] [--images 24] [--rounds 7]

All begin with decoded photos (PIL's; ours makes an array of each first) and end with a normalised float batch, on one
thread, with the same probabilities and strengths, in turn within each round; ratios are medians over the rounds. Peers:

    PIL       torchvision's transforms on PIL images with PIL's blur: solo-learn's pipeline, and lightly's in substance
    tensors   torchvision's transforms v2 on uint8 tensors, with its own blur
    lightly   lightly.transforms, where it can be imported; for that, into a folder of its own:
              pip install --no-deps --target L lightly lightly-utils lightning-utilities pytorch_lightning
              PYTHONPATH=L python tests/bench/views.py

The target is for PIL and lightly, which are what people train with; tensors are shown. Times are of the CPU, which the
machine's other work disturbs less. The column "threads" is what a core gives when all of them make views in threads of
one process, as in training, as a part of what one gives alone; it is of the clock, and means nothing on a busy machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs.lib import machine
from jobs.lib.images import normalise, opened
from jobs.lib.loader import Loader
from jobs.pretrain.lib.views import View, Views
from suite.index import IMAGE_EXTENSIONS
from suite.model import Input

Spec = Mapping[str, Any]
Run = Callable[[Sequence[Image.Image]], object]
INPUT = Input()
TARGET = 1.5

COLOURS = {"jitter_p": 0.8, "grey": 0.2}
SIMCLR = {**COLOURS, "jitter": (0.8, 0.8, 0.8, 0.2), "blur": 0.5}
BYOL = {**COLOURS, "jitter": (0.4, 0.4, 0.2, 0.1), "area": (0.08, 1.0), "interpolation": "bicubic"}
SWAV = {**SIMCLR, "interpolation": "bicubic"}
RECIPES: dict[str, tuple[Spec, ...]] = {
    "simclr": ({**SIMCLR, "count": 2, "area": (0.08, 1.0)},),
    "mocov2": ({**COLOURS, "count": 2, "area": (0.2, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1), "blur": 0.5},),
    "byol": ({**BYOL, "blur": 1.0}, {**BYOL, "blur": 0.1, "solarise": 0.2}),
    "swav": ({**SWAV, "count": 2, "area": (0.14, 1.0)}, {**SWAV, "count": 6, "size": 96, "area": (0.05, 0.14)}),
    "mae": ({"area": (0.2, 1.0), "interpolation": "bicubic"},),
}
LIGHTLY = {
    "simclr": "SimCLRTransform",
    "mocov2": "MoCoV2Transform",
    "byol": "BYOLTransform",
    "swav": "SwaVTransform",
    "mae": "MAETransform",
}


class Blur:
    """PIL's, with a random radius."""

    def __init__(self, sigma: tuple[float, float]) -> None:
        self.sigma = sigma

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(float(np.random.uniform(*self.sigma))))


def composed(spec: Spec, tensors: bool) -> v2.Compose:
    """torchvision's transforms of one view, on PIL images or on tensors."""
    view = View(**spec)
    mode = v2.InterpolationMode(view.interpolation)
    steps: list[Any] = [v2.PILToTensor()] if tensors else []
    steps.append(v2.RandomResizedCrop(view.size, view.area, view.ratio, mode, antialias=True))
    steps.append(v2.RandomHorizontalFlip(view.flip))
    if any(view.jitter):
        steps.append(v2.RandomApply([v2.ColorJitter(*view.jitter)], view.jitter_p))
    if view.grey:
        steps.append(v2.RandomGrayscale(view.grey))
    if view.blur:
        kernel = int(0.1 * view.size) | 1
        steps.append(v2.RandomApply([v2.GaussianBlur(kernel, view.sigma) if tensors else Blur(view.sigma)], view.blur))
    if view.solarise:
        steps.append(v2.RandomSolarize(128, view.solarise))
    steps += [] if tensors else [v2.PILToTensor()]
    return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(INPUT.mean, INPUT.std)])


def ours(specs: Sequence[Spec]) -> Run:
    views, draw = Views(specs), np.random.default_rng(0)

    def run(photos: Sequence[Image.Image]) -> object:
        made = [views(np.array(photo), draw) for photo in photos]
        return [normalise(torch.stack(of_one), INPUT) for of_one in zip(*made, strict=True)]

    return run


def torchvisions(specs: Sequence[Spec], tensors: bool) -> Run:
    steps = [composed(spec, tensors) for spec in specs for _ in range(spec.get("count", 1))]
    return lambda photos: [torch.stack([step(photo) for photo in photos]) for step in steps]


def lightlys(name: str) -> Run | None:
    try:
        from lightly import transforms
    except ImportError:
        return None
    made = getattr(transforms, LIGHTLY[name])()

    def run(photos: Sequence[Image.Image]) -> object:
        return [torch.stack(of_one) for of_one in zip(*map(made, photos), strict=True)]

    return run


def photos(folder: Path | None, count: int) -> list[Image.Image]:
    """Photos of a folder, or smooth noise, 500 x 375."""
    if folder:
        paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_EXTENSIONS]
        return [opened(path) for path in paths[:: max(1, len(paths) // count)][:count]]
    draw = np.random.default_rng(0)
    coarse = [Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)) for _ in range(count)]
    return [image.resize((500, 375), Image.Resampling.BICUBIC) for image in coarse]


def seconds(run: Run, seen: Sequence[Image.Image]) -> float:
    """Of the CPU, in all threads of this process."""
    began = time.process_time()
    run(seen)
    return time.process_time() - began


def in_threads(specs: Sequence[Spec], seen: Sequence[Image.Image], loader: Loader, cores: int) -> tuple[float, float]:
    """Seconds of one thread, and of `cores` of them with as much each: views alone."""
    views, arrays = Views(specs), [np.array(photo) for photo in seen]

    def make(row: int) -> list[torch.Tensor]:
        return views(arrays[row % len(arrays)], np.random.default_rng(row))

    began = time.perf_counter()
    for row in range(len(arrays)):
        make(row)
    alone = time.perf_counter() - began
    began = time.perf_counter()
    list(loader.batches(make, range(cores * len(arrays)), cores * len(arrays)))
    return alone, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    seen, cores = photos(asked.data, asked.images), machine.cores()
    loader = Loader(cores, torch.device("cpu"))
    torch.set_num_threads(1)
    source = asked.data or "smooth noise, 500 x 375"
    print(f"views/s on one core, {len(seen)} photos ({source}), median of {asked.rounds} rounds; ratio ours/peer")
    print(f"  recipe      ours     PIL  ratio  tensors  ratio  lightly  ratio  {cores} threads   target {TARGET}")
    for name, specs in RECIPES.items():
        print(f"  {name:8}{row(name, specs, seen, asked.rounds, loader, cores)}", flush=True)


def row(name: str, specs: Sequence[Spec], seen: Sequence[Image.Image], rounds: int, loader: Loader, cores: int) -> str:
    """What the table says of one recipe."""
    runs = {"ours": ours(specs), "PIL": torchvisions(specs, False), "tensors": torchvisions(specs, True)}
    if lightly := lightlys(name):
        runs["lightly"] = lightly
    for run in runs.values():
        run(seen[:4])
    times = [{peer: seconds(run, seen) for peer, run in runs.items()} for _ in range(rounds)]
    threads = [one / every for one, every in (in_threads(specs, seen, loader, cores) for _ in range(rounds))]
    views = len(seen) * sum(spec.get("count", 1) for spec in specs)
    told, met = f"{views / statistics.median(taken['ours'] for taken in times):8.0f}", True
    for peer, width in (("PIL", 8), ("tensors", 9), ("lightly", 9)):
        if peer not in runs:
            told += f"{'-':>{width}}{'-':>7}"
            continue
        ratio = statistics.median(taken[peer] / taken["ours"] for taken in times)
        told += f"{views / statistics.median(taken[peer] for taken in times):{width}.0f}{ratio:7.2f}"
        met = met and (ratio >= TARGET or peer == "tensors")
    return f"{told}{statistics.median(threads):11.2f}   {'ok' if met else 'MISSED'}"


if __name__ == "__main__":
    main()
