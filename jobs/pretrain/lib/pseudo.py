"""Pseudo-labels: the numbers of the clusters that images are in, as classes to learn."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.lib.failure import BadTask
from jobs.lib.ranks import Ranks
from jobs.pretrain.lib import across
from jobs.pretrain.lib.method import Setting

DEVIATION = 0.01  # of a new classifier's weights


def cross_entropy(logits: Tensor, labels: Tensor, counts: Tensor | None, ranks: Ranks) -> Tensor:
    """This rank's part of the cross-entropy over the batch of all ranks, of which the mean over ranks is the whole.

    With the clusters' sizes it is a weighted mean, an image's weight being its cluster's size to the power -1/2. (To
    what all clusters' weights sum up makes no difference then.)
    """
    each = F.cross_entropy(logits.float(), labels, reduction="none")
    if counts is None:
        return each.mean()
    weights = counts[labels].clamp(min=1).to(each.dtype) ** -0.5
    return ranks.count * (weights * each).sum() / across.summed(weights.sum(), ranks)


def restart(classifier: nn.Linear, seed: int) -> None:
    """New random weights, the same in all ranks."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        classifier.weight.copy_(DEVIATION * torch.randn(classifier.weight.shape, generator=draw))
        classifier.bias.zero_()


def sizes(counts: Tensor) -> dict[str, Tensor]:
    """What to watch: the share of clusters that are empty, and of images that are in the largest one."""
    return {"empty": (counts == 0).float().mean(), "largest": counts.max() / counts.sum()}


def check(setting: Setting, least: int = 1) -> None:
    """BadTask where there are not `least` images for each cluster."""
    clusters = setting.settings["clusters"]
    if setting.images < clusters * least:
        asked = f"{clusters} clusters of {least} at least" if least > 1 else f"{clusters} clusters"
        raise BadTask(
            f"{setting.images} images are not enough for {asked}: take the recipe's -short variant, or one with "
            f"{setting.images // least} clusters or less"
        )
