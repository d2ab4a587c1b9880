"""Mirrored: of each of two views a network foretells what a slow copy of it makes of the other one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jobs.pretrain.lib.method import Batch, Method, spread
from jobs.pretrain.lib.momentum import follow, rising


class Mirrored(Method):
    """A subclass makes the three, and says what a prediction costs. Setting: ema (the copy's momentum at the start; it
    goes to 1)."""

    projector: nn.Module
    predictor: nn.Module
    slow: nn.Sequential  # copies of backbone and projector

    def cost(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """The mean over this rank's images; n x D each, of any length. No gradient reaches the targets."""
        raise NotImplementedError

    def loss(self, batch: Batch) -> Tensor:
        # One view after the other: they are made differently, and batch norm has statistics for each.
        projected = [self.projector(self.backbone(view)) for view in batch.views]
        one, two = (self.predictor(outputs) for outputs in projected)
        with torch.no_grad():
            its_one, its_two = (self.slow(view) for view in batch.views)
        self.watch(spread=spread(projected[0]), slow_spread=spread(its_one))
        return self.cost(one, its_two) + self.cost(two, its_one)

    def after(self, progress: float) -> None:
        follow(self.slow, (self.backbone, self.projector), rising(self.setting.settings["ema"], progress))
