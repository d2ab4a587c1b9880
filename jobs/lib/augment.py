"""Augmentation: random draws of a view of an image, each from the generator that it is given."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from jobs.lib.images import prepare
from suite.model import Input

RATIO = (3 / 4, 4 / 3)


def random_crop(
    image: np.ndarray, made_by: Input, draw: np.random.Generator, scale: tuple[float, float], flip: bool
) -> torch.Tensor:
    """3 x size x size uint8: a random resized crop (Szegedy et al., 2015), flipped left to right half of the time."""
    top, left, height, width = box(*image.shape[:2], draw, scale)
    pixels = resized(
        image[top : top + height, left : left + width], (made_by.size, made_by.size), made_by.interpolation
    )
    return pixels.flip(-1) if flip and draw.random() < 0.5 else pixels


def random_place(image: np.ndarray, made_by: Input, draw: np.random.Generator, flip: bool) -> torch.Tensor:
    """3 x size x size uint8: any such square of the image's central resize x resize, once its shorter side is that;
    flipped left to right half of the time."""
    square = prepare(image, replace(made_by, size=made_by.resize))
    top, left = map(int, draw.integers(made_by.resize - made_by.size + 1, size=2))
    pixels = square[:, top : top + made_by.size, left : left + made_by.size]
    return pixels.flip(-1) if flip and draw.random() < 0.5 else pixels


def box(
    height: int,
    width: int,
    draw: np.random.Generator,
    scale: tuple[float, float],
    ratios: tuple[float, float] = RATIO,
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a crop with area in `scale` of the image's and width / height in `ratios`.

    After ten draws that do not fit, the largest central crop with an allowed ratio, as torchvision does.
    """
    for _ in range(10):
        area = height * width * draw.uniform(*scale)
        ratio = math.exp(draw.uniform(math.log(ratios[0]), math.log(ratios[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(draw.integers(height - h + 1)), int(draw.integers(width - w + 1)), h, w
    w = min(width, max(1, round(height * ratios[1])))
    h = min(height, max(1, round(width / ratios[0])))
    return (height - h) // 2, (width - w) // 2, h, w


def resized(image: np.ndarray, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """3 x height x width uint8 of H x W x 3, with antialiasing. torch's kernel for uint8 takes the image as it lies."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    if image.shape[:2] == size:
        return pixels
    return torch.nn.functional.interpolate(pixels[None], size=size, mode=interpolation, antialias=True)[0]


def distorted(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Height x width x 3 uint8 with another brightness (by up to 32 levels), contrast, saturation (by up to a half) and
    hue (by up to 36 degrees), each half of the time (Liu et al., SSD, 2016, as toolboxes of segmentation have it).
    """
    made = image.astype(np.float32)
    if draw.random() < 0.5:
        made = _levels(made + draw.uniform(-32, 32))
    early = draw.random() < 0.5
    contrast = draw.uniform(0.5, 1.5) if draw.random() < 0.5 else 1.0
    saturation = draw.uniform(0.5, 1.5) if draw.random() < 0.5 else 1.0
    hue = draw.uniform(-36, 36) if draw.random() < 0.5 else 0.0
    if early:
        made = _levels(made * contrast)
    if saturation != 1 or hue:
        hsv = np.asarray(Image.fromarray(made.astype(np.uint8)).convert("HSV")).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + hue * 256 / 360) % 256
        hsv[..., 1] = _levels(hsv[..., 1] * saturation)
        channels = [Image.fromarray(channel) for channel in hsv.astype(np.uint8).transpose(2, 0, 1)]
        made = np.asarray(Image.merge("HSV", channels).convert("RGB")).astype(np.float32)
    if not early:
        made = _levels(made * contrast)
    return made.astype(np.uint8)


def _levels(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255)
