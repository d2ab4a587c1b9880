"""Lite: Faster R-CNN with a feature pyramid, as torchvision has it: for machines without detectron2.

Its numbers are its own: sampling, initialisation and the box head's loss differ from detectron2's in small ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign

from jobs.lib.detector import Detected, Detector, rescaled
from jobs.lib.freeze import freeze
from jobs.lib.maps import maps
from jobs.lib.pyramid import Pyramid, anchors
from jobs.lib.view import View, moments
from suite.model import Model

RATIOS = (0.5, 1.0, 2.0)


class AsItIs(GeneralizedRCNNTransform):
    """Normalises images and puts them into a batch; their size is the view's."""

    def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        return image, target


class Lite(Detector):
    """A detector of `classes` kinds of things on a copy of a backbone."""

    def __init__(self, backbone: nn.Module, model: Model, classes: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        s, self.made_by = settings, model.input
        copied = freeze(deepcopy(backbone).cpu(), model.architecture, s["frozen_stages"], s["norm"] == "frozen")
        pyramid = Pyramid(maps(copied, model.architecture), s["width"], bool(s["neck_norm"]))
        sizes = tuple((size,) for size in anchors(s["anchors"], pyramid.strides))
        before, after = s["rpn_before"], s["rpn_after"]
        self.network = FasterRCNN(
            pyramid,
            box_head=TwoMLPHead(s["width"] * 49, s["head"]),
            box_predictor=FastRCNNPredictor(s["head"], classes + 1),
            rpn_anchor_generator=AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
            rpn_pre_nms_top_n_train=before[0],
            rpn_pre_nms_top_n_test=before[1],
            rpn_post_nms_top_n_train=after[0],
            rpn_post_nms_top_n_test=after[1],
            box_roi_pool=MultiScaleRoIAlign(pyramid.names[:-1], 7, 0),
            box_batch_size_per_image=s["rois"],
            box_score_thresh=s["score_threshold"],
            box_nms_thresh=s["nms"],
            box_detections_per_img=s["detections"],
        )
        self.network.transform = AsItIs(0, 0, *moments(model.input))
        self.kind = f"torchvision Faster R-CNN, {'simple' if len(pyramid.used) == 1 else 'top-down'} feature pyramid"
        self.report = f"{model.architecture}: the backbone itself, maps of stride {pyramid.used}"

    def losses(self, views: Sequence[View]) -> Mapping[str, Tensor]:
        device = next(self.parameters()).device
        targets = [{"boxes": v.boxes.to(device), "labels": v.labels.to(device) + 1} for v in views]
        found: Mapping[str, Tensor] = self.network(self._images(views), targets)
        return found

    def detect(self, views: Sequence[View]) -> list[Detected]:
        made = self.network(self._images(views))
        return [
            Detected(one["labels"].cpu() - 1, one["scores"].float().cpu(), rescaled(one["boxes"].float(), view).cpu())
            for one, view in zip(made, views, strict=True)
        ]

    def _images(self, views: Sequence[View]) -> list[Tensor]:
        device: torch.device = next(self.parameters()).device
        return [view.pixels(self.made_by).to(device) for view in views]
