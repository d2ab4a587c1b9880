"""Labelled: images of which each pixel has a label, as a network is trained on them and tested with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from jobs.lib import images
from jobs.lib.augment import distorted
from jobs.lib.failure import BadData
from suite.index import Split
from suite.model import Input

VOID = 255  # the label of pixels that do not count
TRIES = 10  # crops that are looked at until one has several classes
Read = Callable[[Path], np.ndarray]  # a label file -> height x width uint8: class numbers, or VOID


@dataclass(frozen=True)
class View:
    """`image` is 3 x h x w uint8, RGB; `labels` h x w uint8, of the same pixels."""

    image: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Shown:
    """One image of the test at all its sizes, each 3 x h x w uint8; `size` is the height and width that it has."""

    images: list[Tensor]
    size: tuple[int, int]


class LabelledViews:
    """The images of one split."""

    def __init__(self, root: Path, split: Split, read: Read) -> None:
        self.root, self.split, self._read = root, split, read

    def __len__(self) -> int:
        return len(self.split.items)

    def counts(self, row: int) -> bool:
        return True

    def broad(self, row: int) -> bool:
        return True  # sizes are not known before images are read, and crops are square

    def train(self, row: int, draw: np.random.Generator, settings: Mapping[str, Any]) -> View:
        """An image at one of its `short_sides` times a number between two `ratios`; of it a square of `crop` pixels
        (0: all), in which no class has more than `most_of_one`; `flip`ped half of the time, its colours `distorted`."""
        image, labels = self.image(row), self.labels(row)
        ratio = draw.uniform(*settings["ratios"])
        short, longest = draw.choice(settings["short_sides"]) * ratio, settings["longest_side"] * ratio
        to = resized(image.size, short, longest, most_enlarged(settings) * ratio)
        pixels = np.asarray(image.resize(to, Image.Resampling.BILINEAR))
        labels = np.asarray(Image.fromarray(labels).resize(to, Image.Resampling.NEAREST))
        if settings["crop"]:
            place = _crop(labels, settings["crop"], settings["most_of_one"], draw)
            pixels, labels = pixels[place], labels[place]
        if settings["flip"] and draw.random() < 0.5:
            pixels, labels = pixels[:, ::-1], labels[:, ::-1]
        if settings["distorted"]:
            pixels = distorted(pixels, draw)
        return View(torch.from_numpy(pixels.transpose(2, 0, 1).copy()), torch.from_numpy(labels.copy()))

    def still(self, row: int, settings: Mapping[str, Any]) -> View:
        """An image at the first of its sizes for the test, with its labels."""
        image = self.image(row)
        to = sizes(image.size, settings)[0]
        labels = np.array(Image.fromarray(self.labels(row)).resize(to, Image.Resampling.NEAREST))
        return View(_tensor(image.resize(to, Image.Resampling.BILINEAR)), torch.from_numpy(labels))

    def test(self, row: int, settings: Mapping[str, Any]) -> Shown:
        """An image at every one of its sizes."""
        image = self.image(row)
        made = [image.resize(to, Image.Resampling.BILINEAR) for to in sizes(image.size, settings)]
        return Shown([_tensor(one) for one in made], image.size[::-1])

    def check(self, row: int, whole: bool) -> None:
        """BadData where labels are no classes or not of the image's size or, `whole`, it cannot be decoded."""
        path = self.root / self.split.items[row]
        width, height = self.image(row).size if whole else images.looked_at(path, lambda image: image.size)
        labels = self.labels(row)
        if labels.shape != (height, width):
            told = f"{labels.shape[1]} x {labels.shape[0]}"
            raise BadData(f"{self.label_file(row)} is {told}, but {path.name} is {width} x {height}")

    def image(self, row: int) -> Image.Image:
        return images.opened(self.root / self.split.items[row])

    def labels(self, row: int) -> np.ndarray:
        """Height x width uint8."""
        return self._read(self.label_file(row))

    def label_file(self, row: int) -> Path:
        return self.root / str(self.split.labels[row])


class Legend:
    """Reads masks whose pixels hold the published value of a class, or one that does not count."""

    def __init__(self, values: Sequence[int], void: Sequence[int]) -> None:
        self._known = np.zeros(2**16, bool)
        self._known[[*values, *void]] = True
        self._classes = np.full(2**16, VOID, np.uint8)
        self._classes[list(values)] = np.arange(len(values))

    def __call__(self, path: Path) -> np.ndarray:
        """BadData where the file is no such mask."""
        image = images.looked_at(path, Image.Image.copy)
        if image.mode not in ("P", "L", "1", "I;16", "I"):
            raise BadData(f"{path} is {image.mode}; expected a mask of one channel, with the number of a class a pixel")
        values = np.asarray(image).astype(np.int64)
        odd = values[(values < 0) | (values >= 2**16)]
        if not odd.size:
            odd = values[~self._known[values]]
        if odd.size:
            found = ", ".join(map(str, np.unique(odd)[:5]))
            raise BadData(f"{path}: {odd.size} of {values.size} pixels have values that are no class ({found})")
        return self._classes[values]


def pixels(views: Sequence[Tensor], made_by: Input, multiple: int, device: torch.device, *, least: int = 0) -> Tensor:
    """Images 3 x h x w uint8 -> N x 3 x H x W float32, normalised, then padded with zeros on the right and below to the
    largest, to a multiple, and to `least` pixels."""
    rows, columns = (max(least, *(view.shape[side] for view in views)) for side in (1, 2))
    shape = (len(views), 3, -(-rows // multiple) * multiple, -(-columns // multiple) * multiple)
    made = torch.zeros(shape, device=device)
    for place, view in zip(made, views, strict=True):
        place[:, : view.shape[1], : view.shape[2]] = images.normalise(view[None].to(device), made_by)[0]
    return made


def labels(views: Sequence[View], size: Sequence[int], stride: int, device: torch.device) -> Tensor:
    """N x ceil(H / stride) x ceil(W / stride) int64 for images that were padded to H x W = `size`: every stride-th."""
    made = torch.full((len(views), *size), VOID, dtype=torch.uint8)
    for place, view in zip(made, views, strict=True):
        place[: view.labels.shape[0], : view.labels.shape[1]] = view.labels
    return made[:, ::stride, ::stride].to(device).long()


def sizes(size: tuple[int, int], settings: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Widths and heights of an image for the test."""
    longest, most = settings["test_longest_side"], most_enlarged(settings)
    return [resized(size, short, longest, most) for short in settings["test_short_sides"]]


def most_enlarged(settings: Mapping[str, Any]) -> float:
    """How many times its size an image is made at most; protocols that were published know no limit."""
    return float(settings.get("most_enlarged", math.inf))


def resized(size: tuple[int, int], short: float, longest: float, most: float = math.inf) -> tuple[int, int]:
    """Width and height with that shorter side, if the longer one doesn't get too long, nor any too large."""
    scale = min(short / min(size), longest / max(size), most)
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _crop(labels: np.ndarray, side: int, most: float, draw: np.random.Generator) -> tuple[slice, slice]:
    """A square of that side (less where there is less), in which no class has more than a part of what counts, if one
    is found soon."""
    rows, columns = (max(length - side, 0) for length in labels.shape)
    for _ in range(TRIES):
        top, left = int(draw.integers(rows + 1)), int(draw.integers(columns + 1))
        place = slice(top, top + side), slice(left, left + side)
        counts = np.bincount(labels[place].ravel(), minlength=VOID + 1)[:VOID]
        if most >= 1 or (np.count_nonzero(counts) > 1 and counts.max() < most * counts.sum()):
            break
    return place
