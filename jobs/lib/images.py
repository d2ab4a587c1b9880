"""Images: the splits of a dataset as decoded pixels, and how they become a network's input."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from jobs.lib.failure import AWAY, BadData
from suite import adhoc, check, index, packed
from suite.dataset import Dataset
from suite.index import Index
from suite.layouts import cifar, shards
from suite.model import Input

ORIENTATION = 0x0112  # EXIF's number of it
Seen = TypeVar("Seen")
Image.MAX_IMAGE_PIXELS = None  # data sets hold large photos; a decompression bomb is not our threat


class Images:
    """One split: `len`, `labels` (N class indices, or N x K 0/1), and `images[i]`, a height x width x 3 uint8 array."""

    def __init__(self, root: Path, items: Sequence[str], labels: Sequence[int] | Sequence[Sequence[int]]) -> None:
        self.root, self.items, self.labels = root, items, np.asarray(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> np.ndarray:
        name, within = index.locate(self.items[row])
        if within is not None and not name.endswith(".tar"):
            return _batch(self.root / name)[within]
        return np.array(opened(self.root / name, within=within))


def opened(
    path: Path, mend: Callable[[Image.Image], Image.Image] = lambda image: image, within: int | None = None
) -> Image.Image:
    """The image of a file, or the one of number `within` in a shard, decoded, as RGB; `mend` sees it before that.
    BadData where it cannot be."""
    return looked_at(path, lambda image: mend(image).convert("RGB"), within)


def size(path: Path) -> tuple[int, int]:
    """Width and height of an image as it is shown, from its header alone."""
    return looked_at(path, _shown_size)


def looked_at(path: Path, look: Callable[[Image.Image], Seen], within: int | None = None) -> Seen:
    """look(image) of a file, which decodes as much of it as it wants. BadData where it cannot."""
    try:
        with _file(path, within) as file, Image.open(file) as image:
            return look(image)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in AWAY:
            raise
        which = "" if within is None else f", its image {within},"
        raise BadData(f"{path}{which} cannot be decoded: {error}") from error


def _file(path: Path, within: int | None) -> BinaryIO:
    """A file, the one of a number in a shard, or one whose folder is not there but packed."""
    if within is not None:
        return io.BytesIO(shards.read(path, within))
    try:
        return open(path, "rb")
    except FileNotFoundError:
        held = packed.read(path)
        if held is None:
            raise
        return io.BytesIO(held)


def _shown_size(image: Image.Image) -> tuple[int, int]:
    turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else image.size


def read_index(dataset: Dataset, root: Path) -> Index:
    """The index of a dataset, checked against its entry: kind, classes, counts, and digest where there is one."""
    found = adhoc.read(dataset.layout, root)
    if odd := check.differences(dataset, found):
        raise BadData(
            f"{dataset.name}: {root} {odd[0]}; "
            f"complete it, or measure on it as it is with --datasets {dataset.layout}:{root}"
        )
    if dataset.digest and dataset.digest != index.digest(found, root):
        raise BadData(f"{dataset.name}: files of {root} changed since the grid was planned; run the grid again")
    return found


def prepare(image: np.ndarray, made_by: Input) -> torch.Tensor:
    """3 x size x size uint8: shorter side (or both, squashed) to `resize` with antialiasing, then the centre.

    The resize is torch's, on uint8: within 0.1/255 of PIL's in the mean (tests/jobs/test_images.py), and faster.
    """
    height, width = image.shape[:2]
    to = (
        made_by.resize if height <= width or made_by.squash else made_by.resize * height // width,
        made_by.resize if width <= height or made_by.squash else made_by.resize * width // height,
    )
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    if to != (height, width):
        pixels = torch.nn.functional.interpolate(
            pixels[None], size=to, mode=made_by.interpolation, antialias=True, align_corners=False
        )[0]
    return centre(pixels, made_by.size)


def centre(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """The central size x size of a C x H x W image, padded with zeros where it is smaller."""
    height, width = pixels.shape[-2:]
    if min(height, width) < size:
        short = (max(size - width, 0), max(size - height, 0))
        around = (short[0] // 2, short[0] - short[0] // 2, short[1] // 2, short[1] - short[1] // 2)
        return centre(torch.nn.functional.pad(pixels, around), size)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return pixels[..., top : top + size, left : left + size]


def normalise(batch: torch.Tensor, made_by: Input) -> torch.Tensor:
    """N x 3 x S x S uint8 -> float32, in [0, 1], then (x - mean) / std, channels in the model's order; N x 2 x S x S
    where these are "sobel"."""
    scale = torch.tensor(made_by.std, device=batch.device).view(-1, 1, 1) * 255
    shift = torch.tensor(made_by.mean, device=batch.device).view(-1, 1, 1) * 255
    made = batch.float().sub_(shift).div_(scale)
    if made_by.channels == "sobel":
        return edges(made)
    return made if made_by.channels == "RGB" else made.flip(1)


def edges(batch: torch.Tensor) -> torch.Tensor:
    """N x 3 x S x S -> N x 2 x S x S: the mean over colours, filtered by Sobel's two operators, across and down (Caron
    et al., DeepCluster, ECCV 2018, section 4.1)."""
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], device=batch.device)
    down = torch.tensor([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]], device=batch.device)
    return torch.nn.functional.conv2d(batch.mean(1, keepdim=True), torch.stack([across, down])[:, None], padding=1)


@lru_cache(maxsize=8)
def _batch(path: Path) -> np.ndarray:
    flat = np.frombuffer(cifar.images(path), np.uint8)
    return np.ascontiguousarray(flat.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
