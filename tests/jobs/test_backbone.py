"""Backbones with and without their classifiers, of three channels or two."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from networks import build, images
from torch.nn import functional

from jobs.lib import backbone, networks
from jobs.lib.failure import BadTask
from suite import catalog
from suite.model import Model

OTHERS = ["resnet18", "googlenet", "inception_v3", "vgg11", "swin_t", "timm:resnet18", "timm:vit_tiny_patch16_224"]
OTHERS += ["timm:deit_small_distilled_patch16_224", "timm:tresnet_m", "timm:mixer_b16_224", "timm:efficientnet_b1"]
pytestmark = pytest.mark.usefixtures("one_thread")


def of_edges(name: str) -> Model:
    model = catalog.random_init(name)
    return replace(model, input=replace(model.input, channels="sobel"))


@pytest.mark.parametrize("name", [*networks.names(), *OTHERS])
def test_one_file_serves_with_and_without_the_classifier(name: str) -> None:
    with torch.device("meta"):
        model = replace(catalog.random_init(name), classes=1000)
        headless, whole = backbone.build(model).state_dict(), backbone.whole(model).state_dict()
        assert backbone.whole(replace(model, classes=0)).state_dict().keys() == headless.keys()
    assert {known: whole[known].shape for known in headless} == {known: t.shape for known, t in headless.items()}
    more = whole.keys() - headless.keys()
    assert {known.rpartition(".")[2] for known in more} == {"weight", "bias"}
    assert {len(whole[known]) for known in more} == {1000}


def test_a_seed_decides_a_network() -> None:
    model = replace(catalog.random_init("cifar_resnet20"), classes=10)
    for make in (backbone.build, backbone.whole):
        first, second, other = make(model), make(model), make(replace(model, init=1))
        assert not first.training
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
        assert not torch.equal(first.conv1.weight, other.conv1.weight)


@torch.inference_mode()
def test_a_name_that_two_have_is_torchvisions() -> None:
    assert type(build("resnet18")).__module__ == "torchvision.models.resnet"
    with pytest.raises(ValueError, match="Unknown model resnet50_sane"):
        backbone.build(Model("typo", "resnet50_sane", 2048))


@pytest.mark.parametrize(
    "name", ["cifar_resnet20", "clip_resnet50", "deit_small_distilled", "ofa_595m", "resnet50_same"]
)
def test_two_channels_of_edges(name: str) -> None:
    model = of_edges(name)
    with torch.device("meta"):
        image = torch.empty(1, 2, model.input.size, model.input.size)
        assert backbone.build(model)(image).shape == (1, model.dimension)
        assert backbone.whole(replace(model, classes=3))(image).shape == (1, 3)


@torch.inference_mode()
def test_edges_are_padded_as_colours_are() -> None:
    stem, x = backbone.build(of_edges("resnet50_same")).conv1, images(1, 2, 12, 12)
    assert torch.equal(stem(x), functional.conv2d(functional.pad(x, (2, 3, 2, 3)), stem.weight, stride=2))


def test_what_has_no_convolution_takes_no_edges() -> None:
    with torch.device("meta"), pytest.raises(BadTask, match="T2T has no convolution"):
        backbone.build(of_edges("t2t_vit_t_14"))
