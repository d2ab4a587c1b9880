"""What tests of segmentation and of surface normals share: data sets and cells that are small in every way."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jobs.lib.workspace import Workspace
from suite import adhoc
from suite.catalog import Catalog
from suite.cell import Cell
from suite.result import Outcome

RESNET, SQUEEZENET = "random-32px_resnet18", "random-32px_squeezenet1_1"
COLOURS = np.array([(90, 90, 90), (230, 40, 40), (40, 60, 230), (60, 220, 60)], np.uint8)  # of classes; 0 is behind
CLASSES = 3
FACES = np.array([(0, -1, 0), (0, 1, 0), (0.9, 0, -0.43), (-0.9, 0, -0.43), (0, 0, -1)])  # of rooms
IMAGES = {"train": 6, "val": 2, "test": 4}

TRAINED: dict[str, Any] = {
    "output_stride": 8,
    "channels": 8,
    "dropout": 0.1,
    "norm": "batch",
    "precise_bn": 0,
    "batch": 4,
    "published_batch": 4,
    "learning_rate": 0.01,
    "least_rate": 0.0,
    "iterations": 6,
    "power": 0.9,
    "warmup": 2,
    "momentum": 0.9,
    "clip": 1.0,
    "precision": "float32",
    "longest_side": 256,
    "flip": False,
    "distorted": False,
    "test_longest_side": 256,
    "test_flip": False,
    "test_window": 0,
}
# By program.
TINY: dict[str, dict[str, Any]] = {
    "segmentation": {
        **TRAINED,
        "auxiliary_channels": 8,
        "convolutions": 1,
        "short_sides": (48,),
        "ratios": (1.0, 1.25),
        "crop": 48,
        "most_of_one": 0.75,
        "multiple": 1,
        "label_stride": 1,
        "test_short_sides": (48,),
    },
    "normals": {
        **TRAINED,
        "words": 6,
        "short_sides": (40,),
        "ratios": (1.0, 1.0),
        "crop": 0,
        "multiple": 8,
        "label_stride": 8,
        "test_short_sides": (40,),
    },
    "segmentation_linear": {
        "output_stride": 8,
        "pixels_an_image": 200,
        "c_values": 4,
        "c_max": 1e-1,
        "c_min": 1e-4,
        "multiple": 16,
        "test_short_sides": (45,),
        "test_longest_side": 256,
    },
}


def cell_of(known: Catalog, task: str, data: str, model: str = RESNET, seed: int = 0, **settings: Any) -> Cell:
    """The cell of a task on a folder, LAYOUT:ROOT, as another process finds it by its key, too, but for settings."""
    made = Cell(known.tasks[task], adhoc.dataset(data, known), known.model(model), seed)
    known.record([made])
    small = {**made.task.settings, **TINY[made.task.program], **settings}
    (known.store.results / made.key).mkdir(parents=True, exist_ok=True)
    return replace(made, task=replace(made.task, settings=small, checkpoint_seconds=0.0))


def run(known: Catalog, cell: Cell, workspace: Workspace | None = None) -> Outcome:
    program = importlib.import_module(f"jobs.{cell.task.program}")
    found: Outcome = program.run(cell, workspace or Workspace(known.store, cores=1))
    return found


def rectangles(
    root: Path, counts: Mapping[str, int] = IMAGES, classes: int = CLASSES, size: tuple[int, int] = (45, 70)
) -> str:
    """Flat rectangles before a plain background, the colour of a class each; every third image stands upright, and the
    last rows of each do not count. A folder of layout `masks`."""
    for split, count in counts.items():
        for folder in ("images", "masks"):
            (root / folder / split).mkdir(parents=True)
        for number in range(count):
            draw = np.random.default_rng([len(split), number])
            rows, columns = size[::-1] if number % 3 == 2 else size
            mask = np.zeros((rows, columns), np.uint8)
            half = columns // 2
            for one in range(1, CLASSES):
                height, width = draw.integers(rows // 2, rows), draw.integers(half // 2, half)
                top, left = draw.integers(rows - height), draw.integers(half - width) + half * (one - 1)
                mask[top : top + height, left : left + width] = one
            noise = draw.integers(-8, 9, (rows, columns, 3))
            Image.fromarray((COLOURS[mask] + noise).astype(np.uint8)).save(root / f"images/{split}/{number}.png")
            mask[-2:] = 255
            Image.fromarray(mask).save(root / f"masks/{split}/{number}.png")
    (root / "classes.txt").write_text("".join(f"class {number}\n" for number in range(classes)))
    return f"masks:{root}"


def rooms(root: Path, train: int = 6, test: int = 4, size: tuple[int, int] = (40, 56)) -> str:
    """Rooms of three flat faces; the colour of a face tells its normal. Those of the test are among those of training.
    A folder of layout `nyuv2`."""
    for split, count in (("train", train), ("test", test)):
        for folder in ("rgb", "normals"):
            (root / split / folder).mkdir(parents=True)
        (root / f"{split}.txt").write_text("".join(f"{number:04d}\n" for number in range(count)))
        for number in range(count):
            draw = np.random.default_rng(number)
            face = np.zeros(size, int) + draw.integers(len(FACES))
            face[:, draw.integers(20, 36) :] = draw.integers(len(FACES))
            face[draw.integers(18, 28) :] = draw.integers(len(FACES))
            normals = FACES[face] / np.linalg.norm(FACES[face], axis=2, keepdims=True)
            levels = np.round(127.5 * (normals + 1)).astype(np.uint8)
            Image.fromarray(levels).save(root / f"{split}/normals/{number:04d}.png")
            photo = 40 + levels * 0.6 + draw.integers(-8, 9, (*size, 3))
            Image.fromarray(photo.astype(np.uint8)).save(root / f"{split}/rgb/{number:04d}.png")
    return f"nyuv2:{root}"
