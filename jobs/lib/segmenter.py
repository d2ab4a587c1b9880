"""Segmenter: a network that gives every pixel class scores; and how it looks at an image of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from jobs.lib.labelled import Shown, pixels
from jobs.lib.learner import Learner
from suite.model import Input

Logits = Callable[[Tensor], Tensor]  # N x 3 x H x W, normalised -> N x K x H x W


class Segmenter(Learner):
    """A learner that scores pixels."""

    def logits(self, images: Tensor) -> Tensor:
        """N x 3 x H x W, normalised -> N x K x H x W."""
        raise NotImplementedError


def probabilities(
    logits: Logits, shown: Shown, made_by: Input, settings: Mapping[str, Any], device: torch.device
) -> Tensor:
    """K x H x W class probabilities of an image at its own size: the mean over its sizes and, with `test_flip`, over
    left and right; whole, or by windows of `test_window` pixels every `test_stride`."""
    total, count = torch.zeros((), device=device), 0
    for image in shown.images:
        for flipped in (False, True)[: 1 + settings["test_flip"]]:
            x = pixels([image.flip(-1) if flipped else image], made_by, settings["multiple"], device)
            found = by_windows(logits, x, settings["test_window"], settings["test_stride"])
            found = found[:, :, : image.shape[1], : image.shape[2]].float()
            found = interpolate(found, shown.size, mode="bilinear", align_corners=settings["align_corners"])
            found = found[0].softmax(0)
            total = total + (found.flip(-1) if flipped else found)
            count += 1
    return total / count


def by_windows(logits: Logits, x: Tensor, window: int, stride: int) -> Tensor:
    """N x K x H x W: the mean of the scores of all windows that hold a pixel; `window` 0: of all at once."""
    if not window:
        return logits(x)
    total, times = torch.zeros((), device=x.device), torch.zeros(x.shape[-2:], device=x.device)
    for rows in _windows(x.shape[-2], window, stride):
        for columns in _windows(x.shape[-1], window, stride):
            found = logits(x[..., rows, columns])
            if not total.ndim:
                total = found.new_zeros(*found.shape[:2], *x.shape[-2:], dtype=torch.float32)
            total[..., rows, columns] += found
            times[rows, columns] += 1
    return total / times


def _windows(length: int, window: int, stride: int) -> Iterator[slice]:
    """Places of windows along one side: the last one ends where the image does."""
    for number in range(max(length - window + stride - 1, 0) // stride + 1):
        end = min(number * stride + window, length)
        yield slice(max(end - window, 0), end)
