"""Contrast: InfoNCE, the cross-entropy of finding the one right key among many (van den Oord et al., 2018)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def units(rows: Tensor) -> Tensor:
    """N x D ... -> the same, of unit length along D; never in half precision, in which a temperature of 0.07 would
    leave of a similarity two digits."""
    return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=1)


def info_nce(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The mean over N of the cross-entropy of [q k, q negatives] / temperature, and the part of queries that are nearer
    to their key than to all negatives; unit vectors N x D, N x D, and K x D."""
    with torch.autocast(queries.device.type, enabled=False):
        right = (queries * keys).sum(1, keepdim=True)
        logits = torch.cat([right, queries @ negatives.to(queries.dtype).T], 1) / temperature
        found = (logits[:, 0] > logits[:, 1:].amax(1)).float().mean()
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device)), found


def likeness(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean over N of the cosine of prediction and target; N x D each. No gradient reaches the targets: with one, that
    all outputs are the same would be learnt (Chen and He, SimSiam, section 4.1)."""
    return (units(predictions) * units(targets.detach())).sum(1).mean()
