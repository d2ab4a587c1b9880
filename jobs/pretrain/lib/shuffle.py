"""Shuffle: batch norm over images that are not those of the query's (He et al., MoCo, CVPR 2020, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from jobs.lib import seeds
from jobs.pretrain.lib import across
from jobs.pretrain.lib.method import Batch, Setting


@torch.no_grad()
def shuffled(
    network: Callable[[Tensor], Sequence[Tensor]], images: Tensor, setting: Setting, batch: Batch, turn: int = 0
) -> list[Tensor]:
    """What a network gives for this rank's n images, each row computed in a rank that is drawn anew for each turn.

    Alone, there is no other rank whose statistics could be taken, and the network sees the images as they are.
    """
    ranks = setting.ranks
    if ranks.count == 1:
        return list(network(images))
    draw = torch.Generator().manual_seed(seeds.number(setting.seed, "shuffle", batch.step, turn))
    order = torch.randperm(len(images) * ranks.count, generator=draw).to(images.device)
    # Contiguous: NCCL copies memory as it lies, and what is channels-last would arrive in another order.
    everyone = across.gathered_still(images.contiguous(), ranks)
    back = across.own(order.argsort(), ranks)
    made = network(across.own(everyone[order], ranks))
    return [across.gathered_still(rows.contiguous(), ranks)[back] for rows in made]
