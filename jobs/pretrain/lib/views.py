"""Views: random views of an image, from which a method learns without labels.

What torchvision's transforms draw and do, but colours are worked on in float32 and rounded once, at the end; a view is
a pure function of (image, state of the generator). All is in a few large calls that let go of the interpreter's lock:
views are made in threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import rotate

from jobs.lib.augment import box, resized
from jobs.lib.colour import jitter, luma
from jobs.lib.failure import BadTask

BLOCK = 32  # rows of a blur that are made at once
PUBLISHED = {"patch": 64, "cell": 85, "short": 292}  # of relative-loc, in pixels


@dataclass(frozen=True)
class View:
    """A kind of view, of which an image has `count`; what is not named does not happen, but for crop and flip.

    size, area, ratio, interpolation   random resized crop to size x size; area as a part of the image's
    flip, grey, blur, solarise         probabilities; sigma of the blur, in pixels, is uniform in `sigma`
    jitter, jitter_p                   most change of brightness, contrast, saturation, hue (in turns); probability
    rotate                             the largest angle, in degrees
    patches                            instead of all that: nine patches, of `size`; of the rest only `grey` applies
    """

    count: int = 1
    size: int = 224
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    jitter_p: float = 1.0
    grey: float = 0.0
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    solarise: float = 0.0
    rotate: float = 0.0
    patches: bool = False


OF_PATCHES = {"count", "size", "interpolation", "grey", "patches"}


class Views:
    """All views of an image, by the mappings that a recipe has in `views`."""

    def __init__(self, specs: Sequence[Mapping[str, Any]]) -> None:
        self.views = [_view(spec) for spec in specs]

    def __call__(self, image: np.ndarray, draw: np.random.Generator) -> list[Tensor]:
        """uint8, in the order of specs and counts: 3 x S x S, or 9 x 3 x S x S of patches; `image` is H x W x 3."""
        return [
            patches(image, view, draw) if view.patches else augmented(image, view, draw)
            for view in self.views
            for _ in range(view.count)
        ]


def _view(spec: Mapping[str, Any]) -> View:
    known = OF_PATCHES if spec.get("patches") else {field.name for field in fields(View)}
    if unknown := sorted(key for key in spec if key not in known and (spec[key] or not spec.get("patches"))):
        raise BadTask(f"a view cannot have {', '.join(unknown)}: it has {', '.join(sorted(known))}")
    return View(**spec)


def augmented(image: np.ndarray, view: View, draw: np.random.Generator) -> Tensor:
    """3 x size x size uint8: crop, flip, rotation, jitter, grey, blur, solarisation."""
    pixels = crop(image, view, draw)
    if draw.random() < view.flip:
        pixels = pixels.flip(-1)
    if view.rotate:
        pixels = rotate(pixels, draw.uniform(-view.rotate, view.rotate))
    jittered = any(view.jitter) and draw.random() < view.jitter_p
    greyed, blurred = draw.random() < view.grey, draw.random() < view.blur
    if jittered or greyed or blurred:
        values = pixels.to(torch.float32, memory_format=torch.contiguous_format)
        if jittered:
            jitter(values, view.jitter, draw)
        if greyed:
            values = luma(values)
        if blurred:
            values = gaussian(values, draw.uniform(*view.sigma))
        pixels = values.round().to(torch.uint8)
    if draw.random() < view.solarise:
        pixels = torch.minimum(pixels, ~pixels)  # 255 - x from 128 on: the lesser of both
    return pixels.expand(3, -1, -1).contiguous()


def crop(image: np.ndarray, view: View, draw: np.random.Generator) -> Tensor:
    """A random resized crop (Szegedy et al., 2015): 3 x size x size uint8."""
    top, left, height, width = box(*image.shape[:2], draw, view.area, view.ratio)
    return resized(image[top : top + height, left : left + width], (view.size, view.size), view.interpolation)


def patches(image: np.ndarray, view: View, draw: np.random.Generator) -> Tensor:
    """9 x 3 x size x size uint8: one patch of each cell of a 3 x 3 grid, in raster order (Doersch et al., 2015)."""
    cell, short = (round(view.size * PUBLISHED[part] / PUBLISHED["patch"]) for part in ("cell", "short"))
    height, width = image.shape[:2]
    least = min(height, width)
    pixels = resized(image, (short * height // least, short * width // least), view.interpolation)
    top, left = (int(draw.integers(side - 3 * cell + 1)) for side in pixels.shape[1:])
    tops, lefts = draw.integers(cell - view.size + 1, size=(2, 9)).tolist()
    if draw.random() < view.grey:
        pixels = luma(pixels.float()).round().to(torch.uint8).expand(3, -1, -1)
    corners = [(top + i // 3 * cell + tops[i], left + i % 3 * cell + lefts[i]) for i in range(9)]
    return torch.stack([pixels[:, y : y + view.size, x : x + view.size] for y, x in corners])


def gaussian(values: Tensor, sigma: float) -> Tensor:
    """C x S x S float32, blurred with a kernel of a tenth of the side (23 of 224), reflecting at the edges.

    Weights beyond four sigmas are left out: together they are less than 1e-4. Each direction is a product with a matrix
    that has the kernel in every row, in blocks, most of it being zero; BLAS is faster at that than convolutions are.
    """
    channels, side = values.shape[:2]
    radius = min(int(0.1 * side) // 2, math.ceil(4 * sigma))
    if radius == 0:
        return values
    weights, made = _band(side, sigma, radius), torch.empty(side, channels * side)
    rows = values.transpose(0, 1).reshape(side, -1)  # with all channels in a row, one product does for all
    spans = [
        (a, min(a + BLOCK, side), max(a - radius, 0), min(a + BLOCK + radius, side)) for a in range(0, side, BLOCK)
    ]
    for a, z, low, high in spans:
        torch.mm(weights[a:z, low:high], rows[low:high], out=made[a:z])
    made, rows = made.view(-1, side), rows.view(-1, side)
    for a, z, low, high in spans:
        torch.mm(made[:, low:high], weights[a:z, low:high].t(), out=rows[:, a:z])
    return rows.view(side, channels, side).transpose(0, 1)


def _band(side: int, sigma: float, radius: int) -> Tensor:
    """S x S: row i has the kernel around column i, and what would be outside mirrored at the edge."""
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    wide = side + 2 * radius
    flat = torch.zeros(side * (wide + 1))
    flat.as_strided((side, len(kernel)), (wide + 1, 1)).copy_(torch.from_numpy(kernel / kernel.sum()))
    padded = flat[: side * wide].view(side, wide)
    band = padded[:, radius : radius + side]
    band[:, 1 : radius + 1] += padded[:, :radius].flip(1)
    band[:, side - 1 - radius : side - 1] += padded[:, radius + side :].flip(1)
    return band
