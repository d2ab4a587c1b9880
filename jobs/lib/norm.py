"""Norm: batch normalisation over the batches of all ranks, equal to that of one process with the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as across
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules._functions import SyncBatchNorm
from torch.overrides import TorchFunctionMode


class GlobalBatchNorm(TorchFunctionMode):
    """Within it, every batch norm in training is global, in whatever kind of layer: modules are not replaced, since
    those of timm that do more than normalise would lose the rest."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func is F.batch_norm and named.pop("training"):
            return batch_norm(*args, **named)
        return func(*args, **(kwargs or {}))


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor:
    """F.batch_norm in training, of this rank's part of a batch."""
    if x.is_cuda:  # torch has fused kernels for it there, and only there
        group, count = dist.group.WORLD, dist.get_world_size()
        return SyncBatchNorm.apply(x, weight, bias, running_mean, running_var, eps, momentum, group, count)
    others, shape = [d for d in range(x.ndim) if d != 1], [1, -1] + [1] * (x.ndim - 2)
    values = across.all_reduce(torch.tensor(x.numel() / x.shape[1]))
    mean = across.all_reduce(x.sum(others)) / values
    centred = x - mean.view(shape)
    variance = across.all_reduce(centred.square().sum(others)) / values
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.detach(), momentum)
        running_var.lerp_(variance.detach() * values / (values - 1), momentum)
    made = centred * (variance + eps).rsqrt().view(shape)
    made = made if weight is None else made * weight.view(shape)
    return made if bias is None else made + bias.view(shape)
