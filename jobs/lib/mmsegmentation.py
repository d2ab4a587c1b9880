"""Mmsegmentation: OpenMMLab's decode heads (FCN, UPerNet) on the maps of a backbone that is loaded already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from jobs.lib import openmmlab
from jobs.lib.labelled import VOID, View, labels, pixels
from jobs.lib.maps import Maps, maps
from jobs.lib.pyramid import Simple
from jobs.lib.segmenter import Segmenter
from suite.model import Model

WITH = openmmlab.prepare()

from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

NAME = "LoadedBackbone"
WIDTH = 256  # of the pyramid on a network with one map


@MODELS.register_module(name=NAME)
class LoadedBackbone(nn.Module):
    """N x 3 x H x W -> a tuple of maps, from fine to coarse: those of `maps`, or, with `spread`, of a simple feature
    pyramid on the one that there is."""

    def __init__(self, maps: Maps, spread: bool) -> None:
        super().__init__()
        self.maps = maps
        one = spread and len(maps.strides) == 1
        finest = maps.at[maps.strides[0]]
        self.pyramid = Simple(maps.channels[maps.strides[0]], WIDTH) if one else None
        self.strides = [finest // 4, finest // 2, finest, finest * 2] if one else list(maps.at.values())
        self.channels = [WIDTH] * len(self.strides) if one else list(maps.channels.values())

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = list(self.maps(images).values())
        return tuple(self.pyramid(found) if self.pyramid else found)


class Mmsegmentation(Segmenter):
    """A segmenter of `classes` classes on a copy of a backbone."""

    def __init__(self, backbone: nn.Module, model: Model, classes: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.made_by, self.settings = model.input, settings
        copied = maps(deepcopy(backbone).cpu(), model.architecture, settings["output_stride"])
        body = MODELS.build({"type": NAME, "maps": copied, "spread": settings["decoder"] == "upernet"})
        common = {
            "num_classes": classes,
            "dropout_ratio": settings["dropout"],
            "norm_cfg": {"type": "BN"},  # over the batches of all ranks: see `Ranks.normalising`
            "align_corners": settings["align_corners"],
            "ignore_index": VOID,
            "loss_decode": {"type": "CrossEntropyLoss", "loss_weight": 1.0},
        }
        head = {**common, "channels": settings["channels"], **_decoder(body, settings)}
        auxiliary = _auxiliary(body, common, settings)
        self.network = MODELS.build(
            {
                "type": "EncoderDecoder",
                "backbone": {"type": lambda: body},  # a registry builds by what it is given, too
                "decode_head": head,
                "auxiliary_head": auxiliary,
                "test_cfg": {"mode": "whole"},
            }
        )
        self.network.decode_head.init_weights()
        if auxiliary:
            self.network.auxiliary_head.init_weights()
        more = "with an auxiliary head" if auxiliary else "no auxiliary head, as there is one map only"
        self.kind = f"mmsegmentation {settings['decoder']} on strides {body.strides}, {more}; {WITH}{copied.remark}"
        self.report = f"{model.architecture}: the backbone itself"

    def losses(self, views: Sequence[View]) -> Mapping[str, Tensor]:
        device = next(self.parameters()).device
        s = self.settings
        x = pixels([view.image for view in views], self.made_by, s["multiple"], device, least=s["crop"])
        truth = labels(views, x.shape[-2:], s["label_stride"], device)
        samples = [SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in truth]
        found = self.network.loss(x, samples)
        return {name: loss for name, loss in found.items() if "loss" in name}

    def logits(self, images: Tensor) -> Tensor:
        found: Tensor = self.network.encode_decode(images, [{"img_shape": images.shape[-2:]}] * len(images))
        return found


def _decoder(body: LoadedBackbone, settings: Mapping[str, Any]) -> dict[str, Any]:
    if settings["decoder"] == "upernet":
        levels = list(range(len(body.channels)))
        return {"type": "UPerHead", "in_channels": body.channels, "in_index": levels, "pool_scales": (1, 2, 3, 6)}
    last = {"in_channels": body.channels[-1], "in_index": len(body.channels) - 1}
    return {"type": "FCNHead", **last, "num_convs": settings["convolutions"], "concat_input": True}


def _auxiliary(body: LoadedBackbone, common: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """A small FCN on the last map but one, which is trained and never used."""
    if len(body.channels) == 1 or not settings["auxiliary_weight"]:
        return None
    at = len(body.channels) - 2
    loss = {"type": "CrossEntropyLoss", "loss_weight": settings["auxiliary_weight"]}
    own = {
        "type": "FCNHead",
        "channels": settings["auxiliary_channels"],
        "in_channels": body.channels[at],
        "in_index": at,
    }
    return {**common, **own, "num_convs": 1, "concat_input": False, "loss_decode": loss}
