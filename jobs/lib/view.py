"""View: an image of a detection set as a detector sees it: resized, maybe flipped, with its things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from pycocotools import mask as codes

from jobs.lib import images
from jobs.lib.failure import BadData
from suite.index import Split, Thing
from suite.model import Input

LEAST = 1e-5  # pixels, of the side of a box that is trained on


@dataclass(frozen=True)
class View:
    """`image` is 3 x h x w uint8, RGB; `boxes` n x 4 (left, top, right, bottom, in its pixels), `labels` n class
    numbers; `masks` of each thing its polygons or an h x w array, or None where none are wanted. `size` is the width
    and height of the image that it was made from."""

    image: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    masks: list[Any] | None
    size: tuple[int, int]

    def pixels(self, made_by: Input) -> torch.Tensor:
        """3 x h x w float32, 0 to 255, channels in the model's order."""
        pixels = self.image.float()
        return pixels if made_by.channels == "RGB" else pixels.flip(0)


def moments(made_by: Input) -> tuple[list[float], list[float]]:
    """Mean and deviation of such pixels, as the model's entry has them."""
    mean, std = ([255 * one for one in values] for values in (made_by.mean, made_by.std))
    return (mean, std) if made_by.channels == "RGB" else (mean[::-1], std[::-1])


class Views:
    """The images of one split. Training leaves out crowds; `masks` says whether masks are wanted."""

    def __init__(self, root: Path, split: Split, masks: bool = False) -> None:
        self.root, self.split, self.masks = root, split, masks

    def __len__(self) -> int:
        return len(self.split.items)

    def things(self, row: int) -> list[Thing]:
        """What is trained on in an image: difficult things too, as everybody does, and no crowds."""
        found: list[Any] = self.split.labels[row]  # type: ignore[assignment]
        return [thing for thing in found if not thing.crowd and not (self.masks and thing.mask is None)]

    def counts(self, row: int) -> bool:
        return bool(self.things(row))

    def broad(self, row: int) -> bool:
        width, height = self.split.sizes[row]
        return width > height

    def train(self, row: int, draw: np.random.Generator, settings: Mapping[str, Any]) -> View:
        """An image at one of its `short_sides`, flipped left to right half of the time."""
        short = int(draw.choice(settings["short_sides"]))
        flipped = settings["flip"] and draw.random() < 0.5
        return self._made(row, short, settings["longest_side"], flipped, self.things(row))

    def test(self, row: int, short: int, longest: int) -> View:
        """An image at its size for the test, without its things."""
        return self._made(row, short, longest, False, [])

    def check(self, row: int, whole: bool) -> None:
        """BadData where an image is not of the size that its annotation says or, `whole`, cannot be decoded."""
        if whole:
            self._image(row)
        else:
            self._require_size(row, images.size(self.root / self.split.items[row]))

    def _made(self, row: int, short: int, longest: int, flipped: bool, things: list[Thing]) -> View:
        image = self._image(row)
        width, height = image.size
        scale = min(short / min(width, height), longest / max(width, height))
        to = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
        if to != image.size:
            image = image.resize(to, Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        across, down = to[0] / width, to[1] / height
        boxes = torch.tensor([thing.box for thing in things], dtype=torch.float64).reshape(-1, 4)
        boxes = boxes * torch.tensor([across, down, across, down], dtype=torch.float64)
        boxes[:, 0::2].clamp_(0, to[0])
        boxes[:, 1::2].clamp_(0, to[1])
        if flipped:
            pixels = pixels.flip(-1)
            boxes = torch.stack([to[0] - boxes[:, 2], boxes[:, 1], to[0] - boxes[:, 0], boxes[:, 3]], 1)
        boxes = boxes.float()
        kept = ((boxes[:, 2:] - boxes[:, :2]) > LEAST).all(1).tolist()
        things = [thing for thing, one in zip(things, kept, strict=True) if one]
        masks = [_mask(thing.mask, to, across, down, flipped) for thing in things] if self.masks else None
        labels = torch.tensor([thing.label for thing in things], dtype=torch.int64)
        return View(pixels.contiguous(), boxes[kept], labels, masks, (width, height))

    def _image(self, row: int) -> Image.Image:
        path = self.root / self.split.items[row]
        image = images.opened(path, ImageOps.exif_transpose)
        self._require_size(row, image.size)
        return image

    def _require_size(self, row: int, size: tuple[int, int]) -> None:
        if self.split.sizes and size != tuple(self.split.sizes[row]):
            said = "{} x {}".format(*self.split.sizes[row])
            path = self.root / self.split.items[row]
            raise BadData(f"{path} is {size[0]} x {size[1]}, but its annotation says {said}")


def _mask(mask: Any, to: tuple[int, int], across: float, down: float, flipped: bool) -> Any:
    """A segmentation in a view: its polygons, or where it is a run-length code, the pixels."""
    if isinstance(mask, list):
        made = [np.asarray(polygon, np.float64).reshape(-1, 2) * (across, down) for polygon in mask]
        if flipped:
            made = [np.stack([to[0] - polygon[:, 0], polygon[:, 1]], 1) for polygon in made]
        return [polygon.ravel() for polygon in made]
    if isinstance(mask["counts"], list):
        mask = codes.frPyObjects(mask, *mask["size"])
    there = Image.fromarray(codes.decode(mask)).resize(to, Image.Resampling.NEAREST)
    pixels = np.array(there, dtype=bool)
    return pixels[:, ::-1].copy() if flipped else pixels
