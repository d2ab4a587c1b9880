"""Detector: a network that finds things in images, whichever library it is made with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from jobs.lib.learner import Learner
from jobs.lib.view import View


@dataclass(frozen=True)
class Detected:
    """What was found in one image: n labels, scores, and boxes in the pixels of the image that its view was made from;
    `masks` are COCO's run-length codes, or None."""

    labels: Tensor
    scores: Tensor
    boxes: Tensor
    masks: list[dict[str, Any]] | None = None


class Detector(Learner):
    """A learner that looks for things."""

    def detect(self, views: Sequence[View]) -> list[Detected]:
        raise NotImplementedError


def rescaled(boxes: Tensor, view: View) -> Tensor:
    """Boxes of a view in the pixels of its image, within it."""
    height, width = view.image.shape[-2:]
    across, down = view.size[0] / width, view.size[1] / height
    made = boxes * torch.tensor([across, down, across, down], device=boxes.device)
    made[:, 0::2].clamp_(0, view.size[0])
    made[:, 1::2].clamp_(0, view.size[1])
    return made
