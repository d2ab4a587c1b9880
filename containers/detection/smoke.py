"""Does this image do what detection is for? One line a check; ends with 1 if one fails; no network, GPU or home."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import detectron2
import faster_coco_eval
import matplotlib
import pycocotools
import timm
import torch
import torchvision
from detectron2 import _C
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator
from detectron2.layers import ROIAlign, ROIAlignRotated, nms_rotated
from detectron2.layers.deform_conv import DeformConv
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.structures.rotated_boxes import pairwise_iou_rotated
from detectron2.utils.events import EventStorage
from faster_coco_eval import COCO, COCOeval_faster

BOXES = torch.tensor([[8.0, 8, 56, 56], [70, 10, 120, 90]])  # two things on an image of 128 x 96


def versions() -> str:
    """Whose packages these are: the image's own, not a home folder's or the host's."""
    for module in (torch, torchvision, timm, detectron2, faster_coco_eval, pycocotools, matplotlib):
        assert str(module.__file__).startswith(f"{sys.prefix}/"), module.__file__
    return f"torch {torch.__version__}, torchvision {torchvision.__version__}, detectron2 {detectron2.__version__}"


def operators(device: str = "cpu") -> str:
    """Of two equal boxes one stays; the mean over a constant is the constant; a kernel of ones adds up its window."""
    turned = torch.tensor([[20.0, 20, 16, 8, 30], [20, 20, 16, 8, 30], [60, 60, 16, 8, 30]], device=device)
    assert nms_rotated(turned, torch.tensor([0.7, 0.9, 0.8], device=device), 0.5).tolist() == [1, 2]
    square = torch.tensor([[20.0, 20, 8, 8, 0], [20, 20, 8, 8, 90], [24, 20, 8, 8, 0]], device=device)
    torch.testing.assert_close(pairwise_iou_rotated(square[:1], square).cpu(), torch.tensor([[1, 1, 1 / 3]]))
    constant = torch.full((1, 3, 96, 128), 7.0, device=device, requires_grad=True)
    for pool, boxes in ((ROIAlign, BOXES.to(device)), (ROIAlignRotated, turned)):
        pooled = pool((4, 4), 1.0, 0)(constant, torch.cat([torch.zeros(len(boxes), 1, device=device), boxes], dim=1))
        torch.testing.assert_close(pooled, torch.full((len(boxes), 3, 4, 4), 7.0, device=device))
        pooled.sum().backward()
    convolution = DeformConv(3, 2, kernel_size=3, padding=1).to(device)
    torch.nn.init.ones_(convolution.weight)
    summed = convolution(constant, torch.zeros(1, 18, 96, 128, device=device))[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(summed, torch.full((1, 2, 94, 126), 3 * 9 * 7.0, device=device))
    return "nms_rotated, box_iou_rotated, roi_align(_rotated), deform_conv"


def cuda() -> str:
    """Whether CUDA operators were compiled; where there is a GPU as well, they give what the CPU's give."""
    if not _C.has_cuda():
        return f"CPU operators only, {_C.get_compiler_version()}"
    assert _C.get_cuda_version() == f"CUDA {torch.version.cuda}", _C.get_cuda_version()
    if not torch.cuda.is_available():
        return f"{_C.get_cuda_version()} operators, {_C.get_compiler_version()}, no GPU here"
    return f"{_C.get_cuda_version()} operators on {torch.cuda.get_device_name()}: {operators('cuda')}"


def faster_rcnn() -> CfgNode:
    """A small Faster R-CNN with a feature pyramid, from no file."""
    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.RESNETS.DEPTH = 18
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    cfg.MODEL.RESNETS.NORM = "BN"
    cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS = 32
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[32], [64], [128], [256], [512]]
    cfg.MODEL.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 3
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 32
    cfg.MODEL.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    cfg.MODEL.ROI_BOX_HEAD.NUM_FC = 2
    cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 64
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    return cfg


def networks() -> str:
    """A Faster R-CNN forward and backward, and its detections."""
    model = build_model(faster_rcnn())
    things = Instances((96, 128), gt_boxes=Boxes(BOXES), gt_classes=torch.tensor([0, 2]))
    image = {"image": torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8), "instances": things}
    with EventStorage():
        losses = model([image, image])
    sum(losses.values()).backward()
    assert all(weight.grad is None or torch.isfinite(weight.grad).all() for weight in model.parameters())
    assert model.backbone.bottom_up.stem.conv1.weight.grad.abs().sum() > 0
    model.eval()
    with torch.no_grad():
        found = model([{"image": image["image"], "height": 48, "width": 64}])[0]["instances"]
    assert found.image_size == (48, 64) and len(found) > 0, found
    return f"Faster R-CNN R18 FPN, {', '.join(sorted(losses))}"


def evaluation() -> str:
    """COCO's average precision by three programs: all things found, and the one of two."""
    things = [
        {"id": at + 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": w * h, "bbox": [x, y, w, h]}
        for at, (x, y, w, h) in enumerate((x, y, right - x, below - y) for x, y, right, below in BOXES.tolist())
    ]
    image = {"id": 1, "file_name": "1.png", "height": 96, "width": 128}
    truth = {"info": {}, "images": [image], "annotations": things, "categories": [{"id": 1, "name": "thing"}]}
    with TemporaryDirectory() as folder:
        file = Path(folder, "truth.json")
        file.write_text(json.dumps(truth))
        register_coco_instances("smoke", {}, str(file), folder)
        DatasetCatalog.get("smoke")  # the evaluator learns here which category a class is
        for found, expected in ((2, 1.0), (1, 51 / 101)):  # 51 of the 101 recalls reach no farther than one half
            precisions = {
                "pycocotools": by_detectron2(found, fast=False),
                "detectron2": by_detectron2(found, fast=True),
                "faster-coco-eval": by_faster_coco_eval(truth, things[:found]),
            }
            assert all(abs(ap - expected) < 1e-6 for ap in precisions.values()), (expected, precisions)
    return f"AP 1 and 51/101 by {', '.join(precisions)}"


def by_detectron2(found: int, *, fast: bool) -> float:
    """AP of the first things of the registered dataset `smoke`, by its evaluator."""
    evaluator = COCOEvaluator("smoke", tasks=("bbox",), distributed=False, output_dir=None, use_fast_impl=fast)
    evaluator.reset()
    classes = torch.zeros(found, dtype=torch.int64)
    things = Instances((96, 128), pred_boxes=Boxes(BOXES[:found]), scores=torch.ones(found), pred_classes=classes)
    with redirect_stdout(StringIO()):
        evaluator.process([{"image_id": 1}], [{"instances": things}])
        return evaluator.evaluate()["bbox"]["AP"] / 100


def by_faster_coco_eval(truth: dict[str, object], found: list[dict[str, object]]) -> float:
    """AP of what was found."""
    with redirect_stdout(StringIO()):
        reference = COCO(truth)
        evaluated = COCOeval_faster(reference, reference.loadRes([thing | {"score": 1.0} for thing in found]), "bbox")
        evaluated.evaluate()
        evaluated.accumulate()
        evaluated.summarize()
    return float(evaluated.stats[0])


def failures() -> Iterator[str]:
    """Names of the checks that fail."""
    checks: list[Callable[[], str]] = [versions, operators, cuda, networks, evaluation]
    for check in checks:
        torch.manual_seed(0)
        try:
            print(f"ok      {check.__name__}: {check()}", flush=True)
        except Exception as error:  # any: the other checks are to be seen as well
            print(f"FAILED  {check.__name__}: {error!r}", flush=True)
            yield check.__name__


sys.exit(1 if list(failures()) else 0)
