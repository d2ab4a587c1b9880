"""Detectron: Faster and Mask R-CNN as detectron2 has them, on the networks that every other task measures.

A ResNet of torchvision's becomes detectron2's own, its tensors renamed in memory; the maps of another network become
the levels of a pyramid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import FPN, Backbone, GeneralizedRCNN
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone import BasicStem, ResNet
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.backbone.resnet import BasicBlock, BottleneckBlock
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import (
    FastRCNNConvFCHead,
    FastRCNNOutputLayers,
    MaskRCNNConvUpsampleHead,
    Res5ROIHeads,
    ROIHeads,
    StandardROIHeads,
)
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from detectron2.utils.events import EventStorage
from pycocotools import mask as codes
from torch import Tensor, nn
from torchvision.models import resnet

from jobs.lib.detector import Detected, Detector
from jobs.lib.failure import BadWeights
from jobs.lib.freeze import freeze
from jobs.lib.maps import maps
from jobs.lib.pyramid import Pyramid, anchors
from jobs.lib.view import View, moments
from suite.model import Model

RATIOS = (0.5, 1.0, 2.0)
NORMS = {"batch": "BN", "frozen": "FrozenBN"}  # that of all ranks is jobs.lib.norm's, whatever the layer is called
NECK = {"": "", "batch": "BN"}
Settings = Mapping[str, Any]


class Detectron(Detector):
    """A detector of `classes` kinds of things on a copy of a backbone."""

    def __init__(self, backbone: nn.Module, model: Model, classes: int, settings: Settings) -> None:
        super().__init__()
        s, self.made_by = settings, model.input
        plain = type(backbone) is resnet.ResNet  # not one that pads in another way, which detectron2's cannot
        c4 = plain and s["detector"] == "c4"
        if plain:
            body, rest, self.report = converted(backbone, NORMS[s["norm"]], s["frozen_stages"], c4)
        else:
            body, rest = Levels(_pyramid(backbone, model, s)), None
            self.report = f"{model.architecture}: the backbone itself, maps of stride {body.pyramid.used}"
        if plain and not c4:
            body = FPN(
                body, ["res2", "res3", "res4", "res5"], s["width"], NECK[s["neck_norm"]], top_block=LastLevelMaxPool()
            )
        heads = _c4_heads(rest, classes, s) if c4 else _fpn_heads(body, classes, s)
        mean, std = moments(model.input)
        self.network = GeneralizedRCNN(
            backbone=body, proposal_generator=_proposals(body, c4, s), roi_heads=heads, pixel_mean=mean, pixel_std=std
        )
        head = "Mask" if s["masks"] else "Faster"
        self.kind = f"detectron2 {head} R-CNN, {'C4' if c4 else 'FPN' if plain else 'feature pyramid on maps'}"

    def losses(self, views: Sequence[View]) -> Mapping[str, Tensor]:
        with EventStorage():  # without one, its losses have nowhere to count
            found: Mapping[str, Tensor] = self.network([self._given(view, True) for view in views])
        return found

    def detect(self, views: Sequence[View]) -> list[Detected]:
        return [_detected(one["instances"]) for one in self.network([self._given(view, False) for view in views])]

    def _given(self, view: View, things: bool) -> dict[str, Any]:
        width, height = view.size
        given = {"image": view.pixels(self.made_by), "width": width, "height": height}
        return given | {"instances": _instances(view)} if things else given


class Levels(Backbone):
    """Our pyramid as a backbone of detectron2's."""

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        self.pyramid = pyramid

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return dict(self.pyramid(x))

    @property
    def size_divisibility(self) -> int:
        return max(self.pyramid.levels)

    def output_shape(self) -> dict[str, ShapeSpec]:
        p = self.pyramid
        shapes = zip(p.names, p.strides, strict=True)
        return {name: ShapeSpec(channels=p.out_channels, stride=stride) for name, stride in shapes}


def converted(
    network: resnet.ResNet, norm: str, frozen_stages: int, c4: bool
) -> tuple[ResNet, nn.Sequential | None, str]:
    """A ResNet of torchvision's as detectron2's, with the same weights: (backbone, its last stage apart where `c4`, and
    what became of every tensor). BadWeights where one finds no place, or none is found for one."""
    stages = [network.layer1, network.layer2, network.layer3, network.layer4]
    made = [_stage(stage, norm) for stage in stages]
    stem = BasicStem(3, network.conv1.out_channels, norm)
    if c4:
        body, rest = ResNet(stem, made[:3], out_features=["res4"]), nn.Sequential(*made[3])
    else:
        body, rest = ResNet(stem, made, out_features=["res2", "res3", "res4", "res5"]), None
    report = _fill(network, body, rest)
    body.freeze(frozen_stages)
    return body, rest, report


def renamed(names: Sequence[str]) -> dict[str, str]:
    """torchvision's names of a ResNet's tensors -> detectron2's."""
    return dict(_renamed(names))


def _renamed(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if name.endswith("num_batches_tracked"):
            continue
        words = name.split(".")
        place = f"res{int(words[0][-1]) + 1}.{words[1]}." if words[0].startswith("layer") else "stem."
        layer, leaf = words[-2], words[-1]
        if layer.startswith("bn"):
            layer = f"conv{layer[2:]}.norm"
        elif "downsample" in words:
            layer = "shortcut" if layer == "0" else "shortcut.norm"
        yield name, f"{place}{layer}.{leaf}"


def _fill(network: resnet.ResNet, body: ResNet, rest: nn.Sequential | None) -> str:
    given = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}
    places = dict(body.state_dict().items())
    places |= {f"res5.{name}": tensor for name, tensor in rest.state_dict().items()} if rest is not None else {}
    named = renamed(list(given))
    left = [name for name, to in named.items() if to not in places or places[to].shape != given[name].shape]
    missing = [to for to in places if to not in set(named.values()) and not to.endswith("num_batches_tracked")]
    if left or missing:
        raise BadWeights(f"not detectron2's ResNet: no place for {left[:4]}, nothing for {missing[:4]}")
    with torch.no_grad():
        for name, to in named.items():
            places[to].copy_(given[name])  # state dicts share their tensors with the modules
    return f"{len(named)} tensors of the ResNet renamed for detectron2, 0 left over, 0 missing"


def _stage(stage: nn.Sequential, norm: str) -> list[nn.Module]:
    """A stage like one of torchvision's, whatever its width, depth and groups."""
    first = stage[0]
    into, out = first.conv1.in_channels, getattr(first, "conv3", first.conv2).out_channels
    stride = first.conv2.stride[0] if isinstance(first, resnet.Bottleneck) else first.conv1.stride[0]
    more: dict[str, Any] = {}
    if isinstance(first, resnet.Bottleneck):
        narrow, groups = first.conv2.out_channels, first.conv2.groups
        more = {"bottleneck_channels": narrow, "num_groups": groups, "stride_in_1x1": False}
    return ResNet.make_stage(
        BottleneckBlock if more else BasicBlock, len(stage), stride_per_block=[stride] + [1] * (len(stage) - 1),
        in_channels=into, out_channels=out, norm=norm, **more,
    )  # fmt: skip


def _pyramid(backbone: nn.Module, model: Model, s: Settings) -> Pyramid:
    copied = freeze(deepcopy(backbone).cpu(), model.architecture, s["frozen_stages"], s["norm"] == "frozen")
    return Pyramid(maps(copied, model.architecture), s["width"], bool(s["neck_norm"]))


def _proposals(body: Backbone, c4: bool, s: Settings) -> RPN:
    shapes = body.output_shape()
    names, strides = list(shapes), [shape.stride for shape in shapes.values()]
    levels = [s["anchors"]] if c4 else [[size] for size in anchors(s["anchors"], strides)]
    # A C4's one map has all sizes of anchors, and as many proposals as all levels of a pyramid together.
    before, after = (s["rpn_before"], s["rpn_after"]) if c4 or s["detector"] != "c4" else ((2000, 1000), (1000, 1000))
    return RPN(
        in_features=names,
        head=StandardRPNHead(in_channels=shapes[names[0]].channels, num_anchors=len(levels[0]) * len(RATIOS)),
        anchor_generator=DefaultAnchorGenerator(sizes=levels, aspect_ratios=[list(RATIOS)], strides=strides),
        anchor_matcher=Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=Box2BoxTransform((1.0, 1.0, 1.0, 1.0)),
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_topk=tuple(before),
        post_nms_topk=tuple(after),
        nms_thresh=0.7,
    )


def _c4_heads(rest: nn.Sequential | None, classes: int, s: Settings) -> ROIHeads:
    """The last stage of the network is the head (He et al., Deep residual learning, CVPR 2016, appendix A), with a
    batch norm after it where batch norms are trained (He et al., Momentum contrast, CVPR 2020, appendix)."""
    assert rest is not None
    out: int = rest[-1].out_channels
    if s["norm"] == "batch":
        rest.add_module("norm", nn.BatchNorm2d(out))
    shape = ShapeSpec(channels=out, height=14, width=14)
    mask = MaskRCNNConvUpsampleHead(shape, num_classes=classes, conv_dims=[256]) if s["masks"] else None
    return Res5ROIHeads(
        in_features=["res4"],
        pooler=ROIPooler(14, (1 / 16,), 0, "ROIAlignV2"),
        res5=rest,
        box_predictor=_boxes(out, classes, s),
        mask_head=mask,
        **_sampling(classes, s),
    )


def _fpn_heads(body: Backbone, classes: int, s: Settings) -> ROIHeads:
    shapes = body.output_shape()
    names = list(shapes)[:-1]
    scales, width = [1 / shapes[name].stride for name in names], shapes[names[0]].channels
    more: dict[str, Any] = {}
    if s["masks"]:
        shape = ShapeSpec(channels=width, height=14, width=14)
        more = {
            "mask_in_features": names,
            "mask_pooler": ROIPooler(14, scales, 0, "ROIAlignV2"),
            "mask_head": MaskRCNNConvUpsampleHead(shape, num_classes=classes, conv_dims=[256] * 5),
        }
    return StandardROIHeads(
        box_in_features=names,
        box_pooler=ROIPooler(7, scales, 0, "ROIAlignV2"),
        box_head=FastRCNNConvFCHead(
            ShapeSpec(channels=width, height=7, width=7), conv_dims=[], fc_dims=[s["head"]] * 2
        ),
        box_predictor=_boxes(s["head"], classes, s),
        **more,
        **_sampling(classes, s),
    )


def _sampling(classes: int, s: Settings) -> dict[str, Any]:
    return {
        "num_classes": classes,
        "batch_size_per_image": s["rois"],
        "positive_fraction": 0.25,
        "proposal_matcher": Matcher([0.5], [0, 1], allow_low_quality_matches=False),
    }


def _boxes(channels: int, classes: int, s: Settings) -> FastRCNNOutputLayers:
    return FastRCNNOutputLayers(
        ShapeSpec(channels=channels, height=1, width=1),
        box2box_transform=Box2BoxTransform((10.0, 10.0, 5.0, 5.0)),
        num_classes=classes,
        test_score_thresh=s["score_threshold"],
        test_nms_thresh=s["nms"],
        test_topk_per_image=s["detections"],
    )


def _instances(view: View) -> Instances:
    height, width = view.image.shape[-2:]
    made = Instances((height, width), gt_boxes=Boxes(view.boxes), gt_classes=view.labels)
    if view.masks is not None:
        polygons = all(isinstance(mask, list) for mask in view.masks)
        made.gt_masks = PolygonMasks(view.masks) if polygons else BitMasks(_drawn(view, height, width))
    return made


def _drawn(view: View, height: int, width: int) -> Tensor:
    """Masks of which some are polygons, all as pixels."""

    def drawn(mask: Any) -> np.ndarray:
        return codes.decode(codes.merge(codes.frPyObjects([list(one) for one in mask], height, width))).astype(bool)

    assert view.masks is not None
    return torch.from_numpy(np.stack([drawn(mask) if isinstance(mask, list) else mask for mask in view.masks]))


def _detected(found: Instances) -> Detected:
    masks = None
    if found.has("pred_masks"):
        pixels = found.pred_masks.cpu().numpy()
        coded = [codes.encode(np.asfortranarray(one, dtype=np.uint8)) for one in pixels]
        masks = [{"size": list(map(int, one["size"])), "counts": one["counts"].decode()} for one in coded]
    boxes = found.pred_boxes.tensor.float().cpu()
    return Detected(found.pred_classes.cpu(), found.scores.float().cpu(), boxes, masks)
