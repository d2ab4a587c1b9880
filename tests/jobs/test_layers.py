"""The five pooled layers against a naive loop over the cells."""

from __future__ import annotations

import pytest
import torch
from networks import build, images
from torch import Tensor, nn

from jobs.lib import backbone, layers
from jobs.lib.failure import BadTask
from jobs.lib.layers import CELLS, POOLS, Layers
from suite import catalog

pytestmark = pytest.mark.usefixtures("one_thread")


@torch.inference_mode()
def test_the_dimensions_of_a_resnet50_are_the_published_ones() -> None:
    giver = Layers(build("resnet50"), "resnet50")
    assert giver.dimensions == (9216, 9216, 8192, 9216, 8192)
    assert [tuple(found.shape) for found in giver(images(1, 3, 224, 224))] == [(1, d) for d in giver.dimensions]


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet10t"])
@torch.inference_mode()
def test_each_cell_is_the_mean_of_what_lies_under_its_kernel(name: str) -> None:
    network, x = build(name), images(2, 3, 224, 224)
    given = Layers(network, name)(x)
    for found, stage, cells, pool in zip(given, stages(network, x), CELLS, POOLS, strict=True):
        assert torch.allclose(found, naive(stage, cells, *pool).flatten(1), rtol=1e-4, atol=1e-6)
    assert not network.training


@pytest.mark.parametrize("side", [64, 96, 250])
@torch.inference_mode()
def test_images_of_another_size_give_as_many_numbers(side: int) -> None:
    giver = Layers(build("resnet18"), "resnet18")
    assert giver.dimensions == (64 * 144, 64 * 36, 128 * 16, 256 * 9, 512 * 4)
    assert tuple(found.shape[1] for found in giver(images(2, 3, side, side))) == giver.dimensions


@torch.inference_mode()
def test_flat_is_all_of_them_side_by_side() -> None:
    model = catalog.random_init("resnet18")
    plain = backbone.Backbone(model, backbone.build(model), "digest", "")
    wide, columns = layers.flat(plain)
    x = images(2, 3, 64, 64)
    given = wide.network(x)
    assert given.shape[1] == wide.model.dimension == sum(part.stop - part.start for part in columns)
    assert wide.digest != plain.digest
    assert not wide.network.training
    for found, part in zip(Layers(plain.network, "resnet18")(x), columns, strict=True):
        assert torch.equal(given[:, part], found)


def test_two_channels_of_edges() -> None:
    network = backbone.of_edges(build("resnet18")).eval()
    assert len(Layers(network, "resnet18")(images(1, 2, 64, 64))) == 5


@torch.inference_mode()
def test_another_network_gives_the_last_map_of_each_stride() -> None:
    network, x = build("mobilenet_v2"), images(2, 3, 224, 224)
    giver, last = Layers(network, "mobilenet_v2"), {}
    assert giver.dimensions == (16 * 144, 24 * 36, 32 * 16, 96 * 9, 1280 * 4)
    given, found = giver(x), x
    for block in network.features:
        found = block(found)
        last[found.shape[2]] = found.clone()
    for ours, side, cells, pool in zip(given, (112, 56, 28, 14, 7), CELLS, POOLS, strict=True):
        assert torch.allclose(ours, naive(last[side], cells, *pool).flatten(1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["timm:vit_tiny_patch16_224", "vit_b_32", "timm:convnext_atto", "squeezenet1_0", "pixels"]
)
def test_a_network_without_five_maps_is_refused(name: str) -> None:
    network = nn.Flatten() if name == "pixels" else build(name)
    with pytest.raises(BadTask, match="five layers"):
        Layers(network, name)


def stages(network: nn.Module, x: Tensor) -> list[Tensor]:
    """What hooks on the modules see."""
    seen: list[Tensor] = []
    act = "relu" if hasattr(network, "relu") else "act1"
    for name in (act, "layer1", "layer2", "layer3", "layer4"):
        network.get_submodule(name).register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    network(x)
    return seen


def naive(found: Tensor, cells: int, kernel: int, stride: int, padding: int) -> Tensor:
    side = found.shape[-1]
    given = torch.zeros(*found.shape[:2], cells, cells, dtype=torch.float64)
    for i in range(cells):
        for j in range(cells):
            rows = [r for r in range(i * stride - padding, i * stride - padding + kernel) if 0 <= r < side]
            columns = [c for c in range(j * stride - padding, j * stride - padding + kernel) if 0 <= c < side]
            patch = found[:, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].double()
            given[:, :, i, j] = patch.sum((2, 3)) / kernel**2
    return given.float()
