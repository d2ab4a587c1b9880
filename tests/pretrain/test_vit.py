"""ViT: parts of transformers are their own, and run as they do."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from torch import nn
from torchvision.models import VisionTransformer, resnet18

from jobs.lib.backbone import headless
from jobs.lib.failure import BadTask
from jobs.pretrain.lib import vit

torch.set_num_threads(1)


def torchvisions() -> nn.Module:
    made = VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)
    return headless(made)


def timms(**more: object) -> nn.Module:
    size = {"img_size": (32, 48), "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0}
    return timm.models.VisionTransformer(**{**size, **more})


NETWORKS = {
    "torchvision": torchvisions,
    "timm": timms,
    "timm, no position of the class token": lambda: timms(no_embed_class=True),
    "timm, images of any size": lambda: timms(dynamic_img_size=True),
    "timm:test_vit": lambda: timm.create_model("test_vit", num_classes=0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_all_tokens_give_what_the_network_gives(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().train()
    of = vit.parts(network)
    for parameter in (of.token, of.positions):
        nn.init.normal_(parameter)
    images = torch.randn(2, 3, of.grid[0] * of.patch[0], of.grid[1] * of.patch[1])
    tokens = vit.encode(of, images)
    assert tokens.shape == (2, 1 + of.grid[0] * of.grid[1], of.dimension)
    torch.testing.assert_close(tokens[:, 0], network(images))
    everything = torch.arange(of.grid[0] * of.grid[1]).flip(0).expand(2, -1)
    torch.testing.assert_close(vit.encode(of, images, everything)[:, 1:].flip(1), tokens[:, 1:])


def test_a_network_that_gives_the_mean_has_its_last_norm_behind_it() -> None:
    network = timms(global_pool="avg")
    of = vit.parts(network)
    assert of.norm is network.fc_norm
    blocks = vit.Parts(of.project, of.token, of.positions, of.blocks, nn.Identity(), of.grid)
    images = torch.randn(2, 3, 32, 48)
    torch.testing.assert_close(of.norm(vit.encode(blocks, images)[:, 1:].mean(1)), network(images))


def test_chosen_patches_are_all_that_is_seen() -> None:
    torch.manual_seed(0)
    network, images = timms(), torch.randn(2, 3, 32, 48)
    nn.init.normal_(network.pos_embed)
    of, kept = vit.parts(network), torch.tensor([[3, 23, 0], [7, 1, 22]])
    seen = vit.encode(of, images, kept)
    assert seen.shape == (2, 4, 16)
    tokens = network.patch_embed(images)
    for number, places in enumerate(kept):
        one = tokens[number, places] + network.pos_embed[0, 1 + places]
        naive = network.norm(network.blocks(torch.cat([network.cls_token[0] + network.pos_embed[0, :1], one])[None]))
        torch.testing.assert_close(seen[number], naive[0])
    other = images.clone()
    other[0, :, :8, 8:16] = 9.0  # patch 1: the second image's is seen, the first one's is not
    torch.testing.assert_close(vit.encode(of, other, kept), seen)
    other[1, :, :8, 8:16] = 9.0
    assert not torch.allclose(vit.encode(of, other, kept)[1], seen[1])


def test_training_through_the_parts_trains_the_network() -> None:
    network = timms()
    vit.encode(vit.parts(network), torch.randn(2, 3, 32, 48)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_positions_are_sines_and_cosines_of_columns_and_rows() -> None:
    made = vit.sincos((3, 5), 8, prefix=2)
    assert made.shape == (17, 8)
    assert not made[:2].any()
    for row in range(3):
        for column in range(5):
            waves = [f(at / 10000 ** (i / 2)) for at in (column, row) for f in (math.sin, math.cos) for i in range(2)]
            assert made[2 + row * 5 + column].tolist() == pytest.approx(waves, abs=1e-6)
    with pytest.raises(BadTask, match="not 10"):
        vit.sincos((3, 5), 10)


@pytest.mark.parametrize("name", NETWORKS)
def test_fixed_positions_are_set_in_place(name: str) -> None:
    network = NETWORKS[name]()
    before = vit.parts(network).positions
    vit.freeze_positions(network)
    of = vit.parts(network)
    assert of.positions is before
    assert not of.positions.requires_grad
    assert of.token.requires_grad
    torch.testing.assert_close(of.positions[0].detach(), vit.sincos(of.grid, of.dimension, of.prefix))


@pytest.mark.parametrize(
    "network",
    [
        resnet18(),
        timms(reg_tokens=2),
        timms(class_token=False, global_pool="avg"),
        timms(pos_embed="none"),
        timms(pre_norm=True),
        timms(global_pool="map"),
    ],
    ids=["resnet18", "registers", "no class token", "no positions", "norm before", "pooled by attention"],
)
def test_other_networks_are_refused(network: nn.Module) -> None:
    with pytest.raises(BadTask, match=r"no plain vision transformer.*vit_b_16"):
        vit.parts(network)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(BadTask, match="takes 32 x 48 pixels, not 48 x 32"):
        vit.encode(vit.parts(timms()), torch.zeros(1, 3, 48, 32))
