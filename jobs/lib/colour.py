"""Colour: changes of the colours of an image, worked on in float32, 0 to 255; each what torchvision's transform does.

`lighting` is of Krizhevsky et al., ImageNet classification with deep convolutional neural networks, 2012, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

LUMA = torch.tensor((0.299, 0.587, 0.114))  # ITU-R 601-2, PIL's and torchvision's
# Of the colours of ImageNet's pixels, 0 to 1: the principal components (columns; rows are red, green, blue), and the
# variance along each, as everybody has them since they were published with Torch's ResNets.
COMPONENTS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
VARIANCES = np.array([0.2175, 0.0188, 0.0045])


def luma(values: Tensor) -> Tensor:
    """1 x H x W: the grey of 3 x H x W float32."""
    return (LUMA @ values.reshape(3, -1)).view(1, *values.shape[1:])


def jitter(values: Tensor, most: Sequence[float], draw: np.random.Generator) -> None:
    """Changes brightness, contrast, saturation and hue of 3 x H x W float32 (0 to 255), in place, in a random order."""
    for which in draw.permutation(4):
        if amount := most[which]:
            low, high = (-amount, amount) if which == 3 else (max(0.0, 1 - amount), 1 + amount)
            CHANGES[which](values, draw.uniform(low, high))


def brightness(values: Tensor, factor: float) -> None:
    values.mul_(factor).clamp_(0, 255)


def contrast(values: Tensor, factor: float) -> None:
    """Away from, or towards, the mean of the image's grey."""
    mean = float(LUMA @ values.mean((1, 2)))
    values.mul_(factor).add_(mean * (1 - factor)).clamp_(0, 255)


def saturation(values: Tensor, factor: float) -> None:
    """Away from, or towards, each pixel's grey."""
    values.lerp_(luma(values), 1 - factor).clamp_(0, 255)


def hue(values: Tensor, turns: float) -> None:
    """Turns the hue, keeping each pixel's largest and least value, as a change of H in HSV does.

    With the values scaled to 0 ... 1 for each pixel, its hue, in sixths of a turn from red, is 1 + g + b - r, counted
    towards green where g > b and towards blue otherwise; and each channel is a trapezoid of the distance of the hue
    from its own colour. So there are no cases to tell apart, which would cost more than all the rest.
    """
    r, g, b = values
    least = torch.minimum(torch.minimum(r, g), b)
    chroma = torch.maximum(torch.maximum(r, g), b).sub_(least)
    place = (g + b).sub_(r).sub_(least).div_(chroma.clamp_min(1e-3)).add_(1).copysign_(g - b)
    # Shifts between -3 and 3, so that distances are at most 6, a whole turn: one fold is enough.
    shifts = torch.tensor([(6 * turns - own + 3) % 6 - 3 for own in (0, 2, 4)]).view(3, 1, 1)
    waves = (place + shifts).abs_().sub_(3).abs_().clamp_(1, 2)
    torch.addcmul(least.sub_(chroma), chroma, waves, out=values)


CHANGES: tuple[Callable[[Tensor, float], None], ...] = (brightness, contrast, saturation, hue)


def lighting(draw: np.random.Generator, sigma: float) -> Tensor:
    """3 float32, 0 to 255: what is added to the red, green and blue of every pixel of an image. It goes along the
    principal components of ImageNet's colours, by a normal of deviation `sigma` times the variance of each."""
    return torch.from_numpy(255 * COMPONENTS @ (VARIANCES * draw.normal(0, sigma, 3))).float()
