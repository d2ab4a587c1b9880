"""Does this image do what segmentation is for? One line a check; ends with 1 if one fails; no network, GPU or home."""

import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO

import cv2
import mmcv
import mmengine
import mmseg
import numpy as np
import timm
import torch
import torchvision
from mmcv.ops import DeformConv2d, RoIAlign, get_compiler_version, get_compiling_cuda_version, nms
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules

BATCH_NORM = {"type": "BN"}
FCN = ConfigDict({
    "type": "EncoderDecoder",
    "data_preprocessor": {"type": "SegDataPreProcessor", "mean": [0.0], "std": [1.0], "size": (64, 64)},
    "backbone": {"type": "ResNetV1c", "depth": 18, "norm_cfg": BATCH_NORM},
    "decode_head": {
        "type": "FCNHead", "in_channels": 512, "in_index": 3, "channels": 16, "num_convs": 1, "num_classes": 3,
        "norm_cfg": BATCH_NORM, "align_corners": False,
        "loss_decode": {"type": "CrossEntropyLoss", "avg_non_ignore": True},
    },
    "test_cfg": {"mode": "whole"},
})  # fmt: skip


def versions() -> str:
    """Whose packages these are: the image's own, not a home folder's or the host's."""
    for module in (torch, torchvision, timm, mmcv, mmengine, mmseg, cv2):
        assert str(module.__file__).startswith(f"{sys.prefix}/"), module.__file__
    ours = ", ".join(f"{module.__name__} {module.__version__}" for module in (mmcv, mmengine, mmseg))
    return f"torch {torch.__version__}, torchvision {torchvision.__version__}, {ours}"


def operators(device: str = "cpu") -> str:
    """Of two equal boxes one stays; the mean over a constant is the constant; a kernel of ones adds up its window."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30]], device=device)
    _, kept = nms(boxes, torch.tensor([0.8, 0.9, 0.7], device=device), 0.5)
    assert kept.tolist() == [1, 2], kept
    constant = torch.full((1, 3, 32, 32), 7.0, device=device, requires_grad=True)
    pooled = RoIAlign(4)(constant, torch.cat([torch.zeros(3, 1, device=device), boxes], dim=1))
    torch.testing.assert_close(pooled, torch.full((3, 3, 4, 4), 7.0, device=device))
    convolution = DeformConv2d(3, 2, kernel_size=3, padding=1).to(device)
    torch.nn.init.ones_(convolution.weight)
    summed = convolution(constant, torch.zeros(1, 18, 32, 32, device=device))[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(summed, torch.full((1, 2, 30, 30), 3 * 9 * 7.0, device=device))
    (pooled.sum() + summed.sum()).backward()
    assert torch.isfinite(constant.grad).all()
    return "nms, roi_align, deform_conv"


def cuda() -> str:
    """Whether CUDA operators were compiled; where there is a GPU as well, they give what the CPU's give."""
    compiled = get_compiling_cuda_version()
    if compiled == "not available":
        return f"CPU operators only, {get_compiler_version()}"
    assert compiled == torch.version.cuda, compiled
    if not torch.cuda.is_available():
        return f"CUDA {compiled} operators, {get_compiler_version()}, no GPU here"
    return f"CUDA {compiled} operators on {torch.cuda.get_device_name()}: {operators('cuda')}"


def networks() -> str:
    """A fully convolutional network forward and backward, and the classes that it gives."""
    with redirect_stdout(StringIO()):
        register_all_modules()
        model = MODELS.build(FCN)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    batch = model.data_preprocessor({"inputs": list(images), "data_samples": [sample(), sample()]}, training=True)
    losses = model(**batch, mode="loss")
    losses["decode.loss_ce"].backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())
    model.eval()
    with torch.no_grad():
        found = model(batch["inputs"], mode="predict")[0].pred_sem_seg.data
    assert found.shape == (1, 64, 64) and found.min() >= 0 and found.max() < 3, found
    return f"FCN R18, {', '.join(losses)}"


def sample(found: torch.Tensor | None = None) -> SegDataSample:
    """An image's classes: left 0, right 1, and a row that does not count; and what was found of them."""
    classes = torch.arange(64).expand(1, 64, 64) // 32
    classes = classes.clone()
    classes[:, 0] = 255
    one = SegDataSample(gt_sem_seg=PixelData(data=classes), metainfo={"img_shape": (64, 64), "ori_shape": (64, 64)})
    if found is not None:
        one.pred_sem_seg = PixelData(data=found)
    return one


def evaluation() -> str:
    """mIoU: of the truth, and of class 0 everywhere, which is half right for 0 and not at all for 1."""
    right = torch.arange(64).expand(1, 64, 64) // 32
    for found, expected in ((right, 100), (torch.zeros_like(right), (50 + 0) / 2)):
        metric = IoUMetric()
        metric.dataset_meta = {"classes": ("left", "right")}
        metric.process({}, [sample(found).to_dict()])
        with redirect_stdout(StringIO()):
            measured = metric.evaluate(size=1)["mIoU"]
        assert np.isclose(measured, expected), (measured, expected)
    return "mIoU 100 and 25"


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
