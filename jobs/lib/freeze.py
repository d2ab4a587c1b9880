"""Freeze: what of a backbone a detector does not train: its first stages, its batch norms, or both."""

from __future__ import annotations

import torch
from timm.utils.model import freeze_batch_norm_2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from jobs.lib.maps import TRIED, maps


def freeze(network: nn.Module, architecture: str, stages: int, norms: bool) -> nn.Module:
    """The same network, of which the first `stages` stages will not be trained, and where `norms`, no batch norm.

    Stages are a ResNet's, the stem being the first: 4 leaves the last one, of stride 32, to be trained. Of any other
    network this freezes all that its maps of strides up to the same (16) depend on, or else its first map.
    """
    still = {id(p) for p in _below(network, architecture, 2**stages)} if stages else set()
    for name, module in list(network.named_modules()):
        own = [id(p) for p in module.parameters(recurse=False)]
        if isinstance(module, _BatchNorm) and (norms or (own and still.issuperset(own))):
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, freeze_batch_norm_2d(module))
    for parameter in network.parameters():
        if id(parameter) in still:
            parameter.requires_grad_(False)
    return network


def _below(network: nn.Module, architecture: str, stride: int) -> list[nn.Parameter]:
    """The parameters that the maps of this stride, and of smaller ones, depend on: those that have a gradient."""
    whole = maps(network, architecture).eval()
    device = next(network.parameters()).device
    made = whole(torch.rand(1, 3, *TRIED[0], device=device))
    total = torch.stack([one.sum() for at, one in made.items() if at <= max(stride, whole.strides[0])]).sum()
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return [p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None]
