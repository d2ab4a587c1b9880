"""ResNets that are padded 'SAME' against TensorFlow's rule written out, cell by cell, and against torchvision's."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from networks import build, images
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.utils import _pair
from torchvision.models import resnet50

from jobs.lib import backbone
from jobs.lib.maps import maps
from suite import catalog

NAMES = ["resnet50_same", "resnet50_same_pool"]
pytestmark = pytest.mark.usefixtures("one_thread")


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> bool:
    return found.shape == expected.shape and bool((found - expected).abs().max() <= tolerance * expected.abs().max())


# TensorFlow's 'SAME': as many cells as strides begin in the map; what is odd in the padding goes behind.


same = cache(build)  # what is not changed is built once


def padding(cells: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((math.ceil(cells / stride) - 1) * stride + kernel - cells, 0)
    return total // 2, total - total // 2


def windows(cells: int, kernel: int, stride: int) -> list[tuple[slice, slice]]:
    """For each cell of the output: what it sees of the input, and with which part of the kernel."""
    before, _ = padding(cells, kernel, stride)
    starts = [at * stride - before for at in range(math.ceil(cells / stride))]
    ends = [min(start + kernel, cells) for start in starts]
    return [
        (slice(max(start, 0), end), slice(max(-start, 0), end - start)) for start, end in zip(starts, ends, strict=True)
    ]


def pooled(x: Tensor) -> Tensor:
    rows, columns = (windows(side, 3, 2) for side in x.shape[2:])
    return torch.stack([torch.stack([x[:, :, r, c].amax((2, 3)) for c, _ in columns], 2) for r, _ in rows], 2)


def convolved(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    rows, columns = (windows(side, weight.shape[2], stride) for side in x.shape[2:])

    def cell(row: tuple[slice, slice], column: tuple[slice, slice]) -> Tensor:
        return torch.einsum("nihw,oihw->no", x[:, :, row[0], column[0]], weight[:, :, row[1], column[1]])

    return torch.stack([torch.stack([cell(row, column) for column in columns], 2) for row in rows], 2)


def test_the_published_paddings() -> None:
    assert padding(224, 7, 2) == (2, 3)
    assert padding(112, 3, 2) == padding(56, 3, 2) == (0, 1)
    assert padding(113, 3, 2) == (1, 1)
    assert padding(225, 7, 2) == (3, 3)
    assert padding(56, 1, 2) == (0, 0)


@pytest.mark.parametrize("sides", [(8, 8), (9, 9), (7, 10), (12, 5)])
@torch.inference_mode()
def test_what_strides_is_padded_so(sides: tuple[int, int]) -> None:
    pool, whole = same("resnet50_same_pool"), same("resnet50_same")
    x, deep = images(2, 3, *sides), images(1, 128, *sides)
    for network in (pool, whole):
        assert torch.equal(network.maxpool(x), pooled(x))
        assert torch.equal(network.maxpool(x), nn.MaxPool2d(3, 2, 1)(x)) == (sides == (9, 9))
    assert close(whole.conv1(x), convolved(x, whole.conv1.weight, 2))
    for conv, stride in ((whole.layer2[0].conv2, 2), (whole.layer2[1].conv2, 1)):
        assert close(conv(deep), convolved(deep, conv.weight, stride))
    assert torch.equal(pool.conv1(x), functional.conv2d(x, pool.conv1.weight, None, 2, 3))


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_a_resnet_with_explicit_padding(name: str) -> None:
    network, x = same(name), images(1, 3, 65, 96)
    theirs = resnet50().eval()
    theirs.fc = nn.Identity()
    theirs.load_state_dict(network.state_dict())
    assert network.state_dict().keys() == theirs.state_dict().keys()
    assert not close(theirs(x), network(x), 1e-2)

    def pad(module: nn.Module, given: tuple[Tensor]) -> Tensor:
        kernel, stride = (max(_pair(one)) for one in (module.kernel_size, module.stride))
        height, width = (padding(side, kernel, stride) for side in given[0].shape[2:])
        return functional.pad(given[0], (*width, *height))  # after a ReLU nothing is less than zero

    for module in theirs.modules():
        if isinstance(module, (nn.MaxPool2d, nn.Conv2d) if name == "resnet50_same" else nn.MaxPool2d):
            module.padding = 0
            module.register_forward_pre_hook(pad)
    assert close(network(x), theirs(x))


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_their_maps(name: str) -> None:
    network, x = build(name), images(1, 3, 64, 96)
    plain = maps(network, name)
    before, feature = plain(x), network(x)
    assert close(before[32].mean((2, 3)), feature)
    assert {stride: found.shape[2:] for stride, found in plain(images(1, 3, 65, 90)).items()} == {
        stride: (math.ceil(65 / stride), math.ceil(90 / stride)) for stride in (4, 8, 16, 32)
    }
    dilated = maps(network, name, 8)
    assert dilated.remark == ""
    assert dilated.at == {4: 4, 8: 8, 16: 8, 32: 8}
    for stride, found in dilated(x).items():
        every = stride // dilated.at[stride]
        assert close(found[:, :, ::every, ::every], before[stride], 1e-4)


def test_detectron2_does_not_pad_them_as_its_own() -> None:
    pytest.importorskip("detectron2", reason="detectron2 is not installed: make setup DETECTRON2=PATH")
    from jobs.lib.detectron import Detectron
    from suite.tasks.detection import DETECTION

    for name, kind in (("resnet50", "C4"), ("resnet50_same_pool", "feature pyramid on maps")):
        model = catalog.random_init(name)
        detector = Detectron(backbone.build(model), model, 5, {**DETECTION.settings, "width": 8, "head": 8})
        assert detector.kind == f"detectron2 Faster R-CNN, {kind}"
