"""Dilated networks against the same networks without dilation, and against torchvision's."""

from __future__ import annotations

import copy
import math
from contextlib import ExitStack

import pytest
import torch
import torchvision
from networks import build, images
from timm.layers import Conv2dSame, StdConv2d
from torch import Tensor, nn

from jobs.lib.dilation import NotDilatable, dilate, listening
from jobs.lib.maps import maps

EXACT = ["resnet18", "resnet50", "mobilenet_v2", "timm:convnext_atto", "timm:resnetv2_50"]
EXACT += ["timm:tf_efficientnet_lite0", "timm:dla34", "timm:vgg11_bn", "googlenet"]
LOOKS_AT_ALL = ["efficientnet_b0", "mobilenet_v3_small", "regnet_y_400mf", "timm:resnetv2_50x1_bit"]
HOLES = "AvgPool2d cannot be given holes"
LEFT = {
    "timm:vit_tiny_patch16_224": "its map of stride 16 has 28 x 56 cells for 448 x 896 pixels, not 56 x 112",
    "swin_t": "its map of stride 16 has 28 x 56 cells for 448 x 896 pixels, not 56 x 112",
    "squeezenet1_1": "its map of stride 4 has 111 x 223 cells for 448 x 896 pixels, not 112 x 224",
    "timm:resnet10t": HOLES,
    "timm:hrnet_w18_small": "Attempting to broadcast a dimension",
    "timm:poolformer_s12": HOLES,
}
pytestmark = pytest.mark.usefixtures("one_thread")


def close(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and bool((found - expected).abs().max() <= 1e-4 * expected.abs().max())


@pytest.mark.parametrize("output_stride", [8, 16])
@torch.inference_mode()
def test_a_resnet_is_torchvisions(output_stride: int) -> None:
    network, x = build("resnet50"), images(1, 3, 97, 131)
    dilated = [False, output_stride == 8, True]
    theirs = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=dilated).eval()
    theirs.load_state_dict(network.state_dict(), strict=False)
    given = maps(network, "resnet50", output_stride)(x)
    stage = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
    for stride, name in {4: "layer1", 8: "layer2", 16: "layer3", 32: "layer4"}.items():
        stage = getattr(theirs, name)(stage)
        assert torch.equal(given[stride], stage)
    kinds = [(type(m), str(m)) for m in theirs.modules() if isinstance(m, nn.Conv2d)]
    assert [(type(m), str(m)) for m in network.modules() if isinstance(m, nn.Conv2d)] == kinds


@pytest.mark.parametrize(("name", "output_stride"), [("resnet18", 16), *((name, 8) for name in EXACT)])
@torch.inference_mode()
def test_what_was_there_before_is_what_it_was(name: str, output_stride: int) -> None:
    network, x = build(name), images(1, 3, 96, 160)
    before = maps(network, name)(x)
    giver = maps(network, name, output_stride)
    assert giver.remark == ""
    assert giver.at == {stride: min(stride, output_stride) for stride in before}
    for stride, found in giver(x).items():
        every = stride // giver.at[stride]
        assert found.shape[2:] == (96 // giver.at[stride], 160 // giver.at[stride])
        assert close(found[:, :, ::every, ::every], before[stride])


@pytest.mark.parametrize("name", EXACT + LOOKS_AT_ALL)
def test_maps_of_any_size(name: str) -> None:
    network = build(name)
    plain = maps(network, name)
    state, parameters = network.state_dict(), list(network.parameters())
    giver = maps(network, name, 8)
    assert giver.at == {stride: min(stride, 8) for stride in plain.strides}
    assert giver.strides == plain.strides
    assert giver.channels == plain.channels
    assert list(network.state_dict()) == list(state)
    assert all(new is old for new, old in zip(network.parameters(), parameters, strict=True))
    given = giver(images(1, 3, 97, 131))
    for stride, found in given.items():
        at = giver.at[stride]
        assert found.shape == (1, giver.channels[stride], math.ceil(97 / at), math.ceil(131 / at))
    given[32].square().mean().backward()
    assert all(parameter.grad is not None for parameter in parameters[:20])


@pytest.mark.parametrize("name", LEFT)
@torch.inference_mode()
def test_what_cannot_be_dilated_is_left_as_it_was(name: str) -> None:
    network, x = build(name), images(1, 3, 97, 131)
    plain = maps(network, name)
    expected, text = plain(x), str(network)
    giver = maps(network, name, 8)
    assert plain.remark == ""
    assert giver.remark.startswith(f"; not dilated: {LEFT[name]}")
    assert giver.at == {stride: stride for stride in plain.strides}
    assert (giver.at == {16: 16}) == ("vit" in name)
    assert str(network) == text
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(found, expected[stride]) for stride, found in giver(x).items())


@pytest.mark.parametrize("name", ["mobilenet_v2", "timm:convnext_atto", "timm:tf_efficientnet_lite0"])
@torch.inference_mode()
def test_a_copy_is_as_good(name: str) -> None:
    giver, x = maps(build(name), name, 8), images(1, 3, 64, 96)
    other = copy.deepcopy(giver)
    assert other.at == giver.at
    assert all(torch.equal(found, other(x)[stride]) for stride, found in giver(x).items())


def halves() -> list[nn.Module]:
    """Modules that halve a map."""
    made: list[nn.Module] = [nn.Conv2d(4, 4, 1, 2), nn.Conv2d(4, 4, 2, 2), nn.Conv2d(4, 4, (1, 3), 2, (0, 1))]
    made += [nn.Conv2d(4, 4, 3, 2, 1, groups=4), nn.Conv2d(4, 4, 4, 2, 1), nn.Conv2d(4, 4, 3, 2, 2, dilation=2)]
    made += [Conv2dSame(4, 4, 3, 2), Conv2dSame(4, 4, 5, 2), Conv2dSame(4, 4, 2, 2), StdConv2d(4, 4, 3, 2, padding=1)]
    return [*made, nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, ceil_mode=True)]


def same() -> list[nn.Module]:
    """Modules that give a map of the same size."""
    made: list[nn.Module] = [nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding="same")]
    made += [nn.Conv2d(4, 4, (2, 4), padding="same"), nn.Conv2d(4, 4, 1, padding="valid")]
    return [*made, Conv2dSame(4, 4, 3), Conv2dSame(4, 4, 2), nn.MaxPool2d(3, 1, 1)]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("module", halves() + same(), ids=str)
@pytest.mark.parametrize("factor", [1, 2, 4])
@torch.inference_mode()
def test_a_module(module: nn.Module, factor: int) -> None:
    x, text = images(2, 4, 16, 24), str(module)
    expected = module(x[:, :, ::factor, ::factor])
    every = 16 // expected.shape[2]
    with ExitStack() as undo:
        dilate({module: {8 * factor}}, 8, undo)
        found = module(x)
        assert found.shape == x.shape
        assert close(found[:, :, ::every, ::every], expected)
    assert str(module) == text
    assert torch.equal(module(x[:, :, ::factor, ::factor]), expected)


def test_what_is_not_beyond_the_limit_stays() -> None:
    still = [nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 16, 16), nn.AvgPool2d(2)]
    texts = [str(module) for module in [*still, nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3)]]
    one, seeing = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3)
    with ExitStack() as undo:
        dilate({still[0]: {2, 4}, still[1]: {1}, still[2]: {4}, one: {0, 32}, seeing: {8}}, 8, undo)
        assert [str(module) for module in [*still, one, seeing]] == texts


@pytest.mark.parametrize(
    ("module", "strides", "reason"),
    [
        (nn.Conv2d(4, 4, 3), {8, 16}, r"Conv2d is given maps of strides \[8, 16\]"),
        (nn.Conv2d(4, 4, 3), {14}, r"Conv2d is given maps of strides \[14\]"),
        (nn.Conv2d(4, 4, 3), {0}, "no map"),
        (nn.AvgPool2d(2), {8}, "AvgPool2d cannot be given holes"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), {16}, "Conv2d cannot be given holes"),
        (nn.Conv2d(4, 4, 3, 2, 2), {8}, "pads more than its kernel"),
    ],
    ids=str,
)
def test_what_is_refused(module: nn.Module, strides: set[int], reason: str) -> None:
    first, text = nn.Conv2d(4, 4, 2, 2), str(module)
    with ExitStack() as undo, pytest.raises(NotDilatable, match=reason):
        dilate({first: {8}, module: strides}, 8, undo)
    assert str(module) == text
    assert str(first) == str(nn.Conv2d(4, 4, 2, 2))
    assert not first._forward_pre_hooks


def test_strides_are_heard() -> None:
    stem, twice, pool = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1)
    padded, last = nn.Conv2d(4, 4, 3, padding=2), nn.Conv2d(4, 4, 1)
    network = nn.Sequential(stem, twice, twice, padded, nn.MaxPool2d(2), pool, last)
    with listening(network, (128, 256)) as heard, torch.inference_mode():
        network(images(1, 3, 128, 256))
    assert heard == {stem: {1}, twice: {4, 8}, padded: {16}, network[4]: {16}, last: {0}}
    assert not any(module._forward_pre_hooks for module in network.modules())
