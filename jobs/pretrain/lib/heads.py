"""Heads: the small networks that methods put on a backbone, and throw away afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import nn


def mlp(
    widths: Sequence[int],
    *,
    norm: bool = True,
    bias: bool = False,
    last_bias: bool = False,
    last_norm: bool = True,
    last_affine: bool = True,
) -> nn.Sequential:
    """Linear layers through `widths`, the input's first; batch norm and ReLU between them, batch norm at the end.

    `bias` is of the inner layers, `last_bias` of the last one; without `norm` there is none between them.
    """

    def layers() -> Iterator[nn.Module]:
        for number, (wide, to) in enumerate(pairwise(widths), 2):
            last = number == len(widths)
            yield nn.Linear(wide, to, bias=last_bias if last else bias)
            if last_norm if last else norm:
                yield nn.BatchNorm1d(to, affine=last_affine or not last)
            if not last:
                yield nn.ReLU(inplace=True)

    return nn.Sequential(*layers())
