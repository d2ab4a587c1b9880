"""Feature maps against the networks that they are taken from."""

from __future__ import annotations

import copy
import gc
import math
import weakref
from dataclasses import replace

import pytest
import torch
from networks import build, images
from torch import Tensor, nn

from jobs.lib import backbone
from jobs.lib.maps import Maps, maps
from jobs.lib.way import NoMaps
from suite import architecture, catalog
from suite.model import Model

FAMILIES = ["resnet18", "mobilenet_v2", "efficientnet_b0", "convnext_tiny", "vgg16", "densenet121", "regnet_y_400mf"]
FAMILIES += ["squeezenet1_1", "googlenet", "swin_t", "timm:resnet10t", "timm:convnext_atto"]
FAMILIES += ["timm:vit_tiny_patch16_224", "timm:eva02_tiny_patch14_224", "timm:swin_tiny_patch4_window7_224"]
SHORT = {"squeezenet1_1"}  # does not pad: a cell less than ceil()
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@torch.inference_mode()
def test_the_maps_of_a_resnet_are_its_stages(name: str) -> None:
    network, x = build(name), images(2, 3, 96, 160)
    given = maps(network, name)(x)
    stage = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    for stride, layer in zip(
        (4, 8, 16, 32), (network.layer1, network.layer2, network.layer3, network.layer4), strict=True
    ):
        stage = layer(stage)
        assert torch.equal(given[stride], stage)
    assert torch.equal(network.avgpool(given[32]).flatten(1), network(x))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family(name: str) -> None:
    row, network = architecture.find(name), build(name)
    square = images(1, 3, *[row.size if name.startswith("timm:") else 64] * 2)
    with torch.inference_mode():
        before = network(square)
    names, giver = list(network.state_dict()), maps(network, name)
    assert giver.strides == tuple(giver.channels) == row.strides
    assert giver.at == {stride: stride for stride in row.strides}
    assert list(giver.state_dict()) == [f"network.{known}" for known in names]
    assert not network.training

    given = giver(images(2, 3, 96, 160))
    for stride, found in given.items():
        size = [math.ceil(side / stride) - (name in SHORT) for side in (96, 160)]
        assert list(found.shape) == [2, giver.channels[stride], *size]
    sum(found.square().mean() for found in given.values()).backward()
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    assert first.weight.grad is not None
    assert first.weight.grad.abs().max() > 0

    with torch.inference_mode():
        assert torch.equal(network(square), before)
        odd = giver(images(1, 3, 97, 130))
    assert tuple(odd) == row.strides
    for stride, found in odd.items():
        assert name in SHORT or found.shape[2:] == (math.ceil(97 / stride), math.ceil(130 / stride))


@torch.inference_mode()
def test_the_map_of_a_transformer_is_its_patch_tokens() -> None:
    network, x = build("timm:vit_tiny_patch16_224"), images(2, 3, 224, 224)
    tokens = network.forward_features(x)[:, network.num_prefix_tokens :]
    given = maps(network, "timm:vit_tiny_patch16_224")(x)
    assert list(given) == [16]
    assert torch.equal(given[16], tokens.mT.unflatten(2, (14, 14)))


@torch.inference_mode()
def test_the_map_of_torchvisions_transformer_is_its_patch_tokens() -> None:
    network, x = build("vit_b_16"), images(1, 3, 224, 224)
    tokens: list[Tensor] = []
    network.encoder.register_forward_hook(lambda module, given, output: tokens.append(output))
    network(x)
    giver = maps(network, "vit_b_16")
    assert torch.allclose(giver(x)[16], tokens[0][:, 1:].mT.unflatten(2, (14, 14)), atol=1e-6)
    assert giver(images(1, 3, 97, 130))[16].shape == (1, 768, 7, 9)


@pytest.mark.parametrize("name", ["swin_t", "timm:swin_tiny_patch4_window7_224", "densenet121"])
@torch.inference_mode()
def test_the_pooled_last_map_is_the_feature(name: str) -> None:
    network, x = build(name), images(1, 3, 224, 224)
    last = maps(network, name)(x)[32]
    last = last.relu() if name == "densenet121" else last  # its features do so after the last module
    assert torch.allclose(last.mean((2, 3)), network(x), atol=1e-5)


def test_training_changes_statistics_and_probing_does_not() -> None:
    network = build("mobilenet_v2").train()
    network.features[0].eval()
    modes = [module.training for module in network.modules()]
    state = copy.deepcopy(network.state_dict())
    giver = maps(network, "mobilenet_v2")
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in state.items())
    giver(images(2, 3, 64, 96))
    changed = {name for name, tensor in state.items() if not torch.equal(network.state_dict()[name], tensor)}
    assert changed
    assert not any(name.startswith("features.0.") for name in changed)


@pytest.mark.parametrize("name", ["mobilenet_v2", "timm:resnet10t"])
def test_nothing_is_kept_between_calls(name: str) -> None:
    giver = maps(build(name), name)
    gc.collect()
    gc.disable()
    try:
        given = giver(images(1, 3, 64, 96))
        kept = [weakref.ref(found) for found in given.values()]
        del given
        assert not any(reference() is not None for reference in kept)
    finally:
        gc.enable()
    assert not any(module._forward_hooks for module in giver.modules())


@pytest.mark.parametrize("name", ["mobilenet_v2", "timm:resnet10t"])
@torch.inference_mode()
def test_a_copy_is_as_good(name: str) -> None:
    giver, x = maps(build(name), name), images(1, 3, 64, 96)
    other = copy.deepcopy(giver)
    assert all(torch.equal(found, other(x)[stride]) for stride, found in giver(x).items())
    other.load_state_dict(maps(backbone.build(replace(catalog.random_init(name), init=1)), name).state_dict())
    assert not torch.equal(giver(x)[32], other(x)[32])


def test_the_pooling_is_not_run() -> None:
    network = build("mobilenet_v2")
    giver = maps(network, "mobilenet_v2")
    network.classifier.register_forward_hook(lambda *_: pytest.fail("the classifier was run"))
    assert giver(images(1, 3, 64, 64))[32].shape == (1, 1280, 2, 2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["maxvit_t", "timm:mixer_s16_224", "timm:beit_base_patch16_224"])
def test_what_takes_one_size_only_gives_none(name: str) -> None:
    import timm
    import torchvision

    with torch.device("meta"):
        bare = name.removeprefix("timm:")
        network = timm.create_model(bare) if bare != name else torchvision.models.get_model(name)
    with pytest.raises(NoMaps, match=f"^{name} gives no feature maps: not for 448 x 896 pixels: ."):
        maps(network, name)
    assert architecture.find(name).strides == ()


def test_pixels_give_none() -> None:
    with pytest.raises(NoMaps, match="pixels gives no feature maps: no output is a map of stride 4 to 32"):
        maps(backbone.build(Model("pixels_8x8", "pixels", 192)), "pixels")
    assert architecture.strides("pixels") == ()


def test_maps_are_a_module_of_one_network() -> None:
    network = build("resnet18")
    giver = maps(network, "resnet18")
    assert isinstance(giver, Maps)
    assert giver.network is network
