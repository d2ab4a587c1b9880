"""Method: what one way of pre-training adds to a backbone: heads, a loss, and what it remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs.lib.ranks import Ranks


@dataclass(frozen=True)
class Batch:
    """This rank's images of a step, or of one turn of it.

    `views` has a tensor for each view, n x 3 x S x S (of patches n x P x 3 x s x s), normalised, on the device; `rows`
    the n images' numbers in the data set. `progress` is the part of the whole training that is behind, 0 to 1.
    """

    views: list[Tensor]
    rows: Tensor
    step: int
    epoch: int
    progress: float


@dataclass(frozen=True)
class Setting:
    """What a method is built for: `dimension` of the backbone's features, `images` in the data set, `batch` over all
    ranks, `steps` in an epoch."""

    settings: Mapping[str, Any]
    architecture: str
    dimension: int
    images: int
    batch: int
    steps: int
    ranks: Ranks
    seed: int


class Method(nn.Module):
    """The backbone under training, and around it what the method needs.

    All that lasts from step to step is a parameter or a (persistent) buffer, the same in all ranks: rank 0's is what a
    checkpoint holds. The trainer calls, in each step: `loss` and backward for every turn, then `mend`, the optimizer,
    and `after`. Random numbers come from torch's global generator, which is seeded for each (step, rank), or, where all
    ranks have to draw the same, from a generator made with `jobs.lib.seeds` from (seed, purpose, step).
    """

    accumulates = True  # whether a batch may be taken in turns: its loss is a mean over images, each on its own

    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__()
        self.backbone, self.setting = backbone, setting
        self.watching: dict[str, Tensor] = {}  # what `watch` last saw

    def loss(self, batch: Batch) -> Tensor:
        """The mean loss over this rank's images of a batch: a scalar. The mean over the ranks is that of the batch."""
        raise NotImplementedError

    def mend(self, epoch: int) -> None:
        """Changes gradients before the optimizer uses them."""

    def after(self, progress: float) -> None:
        """Called after every step of the optimizer, not every turn; `progress` of the training that is behind then."""

    def begin(self, epoch: int, features: Callable[..., Tensor]) -> None:
        """Called before the first step of each epoch; `features(network)` gives N x D, on the CPU, the outputs of the
        network for all images of the data set, in evaluation mode and without augmentation; to the first rank alone
        with `everywhere=False`."""

    def order(self, epoch: int, draw: np.random.Generator) -> np.ndarray:
        """The images of an epoch, in order, N numbers; a function of its arguments and of what lasts."""
        return draw.permutation(self.setting.images)

    def watch(self, **values: Tensor) -> None:
        """Keeps scalars, detached, which tell how the training is going."""
        self.watching |= {name: value.detach() for name, value in values.items()}


def spread(outputs: Tensor) -> Tensor:
    """How far N x D outputs are from all being the same: the deviation of their unit vectors times the square root of
    D, 1 where they are spread evenly over the sphere, 0 where they have collapsed (Chen and He, SimSiam, section 4)."""
    return torch.nn.functional.normalize(outputs.detach().float(), dim=1).std(0).mean() * outputs.shape[1] ** 0.5
