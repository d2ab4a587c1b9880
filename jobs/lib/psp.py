"""PSP: a pyramid scene parsing decoder (Zhao et al., CVPR 2017) on the last map of a frozen backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from jobs.lib.labelled import VOID, View, labels, pixels
from jobs.lib.maps import maps
from jobs.lib.segmenter import Segmenter
from suite.model import Model

BINS = (1, 2, 3, 6)


class Psp(Segmenter):
    """A segmenter of `classes` classes on a frozen copy of a backbone."""

    def __init__(self, backbone: nn.Module, model: Model, classes: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.made_by, self.settings = model.input, settings
        self.maps = maps(deepcopy(backbone).cpu(), model.architecture, settings["output_stride"])
        self.maps.requires_grad_(False)
        self.last = self.maps.strides[-1]
        channels, width = self.maps.channels[self.last], settings["channels"]
        self.pools = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), *_convolution(channels, width, 1)) for bins in BINS
        )
        self.decoder = nn.Sequential(
            *_convolution(channels + len(BINS) * width, width, 3),
            nn.Dropout2d(settings["dropout"]),
            nn.Conv2d(width, classes, 1),
        )
        self.kind = f"pyramid pooling on a frozen map of stride {self.maps.at[self.last]}{self.maps.remark}"
        self.report = f"{model.architecture}: the backbone itself"

    def train(self, mode: bool = True) -> Psp:
        """The backbone stays as it is, its batch norms too."""
        super().train(mode)
        self.maps.eval()
        return self

    def losses(self, views: Sequence[View]) -> Mapping[str, Tensor]:
        device = next(self.parameters()).device
        s = self.settings
        x = pixels([view.image for view in views], self.made_by, s["multiple"], device, least=s["crop"])
        truth = labels(views, x.shape[-2:], s["label_stride"], device)
        found = self._decoded(x)
        if found.shape[-2:] != truth.shape[-2:]:  # the map is coarser
            found = interpolate(found, truth.shape[-2:], mode="bilinear", align_corners=False)
        total = cross_entropy(found.float(), truth, ignore_index=VOID, reduction="sum")
        return {"labels": total / (truth != VOID).sum().clamp(min=1)}

    def logits(self, images: Tensor) -> Tensor:
        return interpolate(self._decoded(images), images.shape[-2:], mode="bilinear", align_corners=False)

    def _decoded(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            found = self.maps(x)[self.last]
        size = found.shape[-2:]
        pooled = [interpolate(pool(found), size, mode="bilinear", align_corners=False) for pool in self.pools]
        made: Tensor = self.decoder(torch.cat([found, *pooled], 1))
        return made


def _convolution(channels: int, width: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
