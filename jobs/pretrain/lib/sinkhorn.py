"""Sinkhorn-Knopp: shares images out evenly over prototypes (Caron et al., SwAV, NeurIPS 2020, equations 3 to 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.lib.ranks import Ranks
from jobs.pretrain.lib import across


@torch.no_grad()
def assigned(scores: Tensor, epsilon: float, iterations: int, ranks: Ranks) -> Tensor:
    """n x K scores, cosines of this rank's images with K prototypes -> n x K assignments, each image's summing to 1.

    In each iteration every prototype gets the same share of the images of all ranks, then every image becomes whole
    again; the larger `epsilon`, the softer.
    """
    # A cosine is at most 1, and what all scores have in common does not count: the exponential cannot overflow.
    shares = torch.exp((scores - 1) / epsilon)
    for _ in range(iterations):
        shares /= across.summed(shares.sum(0), ranks)
        shares /= shares.sum(1, keepdim=True)
    return shares
