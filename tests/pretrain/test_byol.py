"""BYOL, SimSiam and MoCo v3: two views of an image, a predictor, and targets that get no gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pretrain.stepping import images, made, normed, same_in_two, step
from torch import Tensor, nn

from jobs.lib.rate import optimizer_of
from jobs.pretrain.byol import BYOL
from jobs.pretrain.lib import vit
from jobs.pretrain.lib.method import Method, spread
from jobs.pretrain.moco_v3 import MoCoV3
from jobs.pretrain.simsiam import SimSiam
from suite.recipes.moco_v3 import MOCO_V3

torch.set_num_threads(1)
HEADS = {"projector": (9, 5), "predictor": (6, 5), "ema": 0.8}
V3 = HEADS | {"temperature": 0.2, "predictor_norm": True, "still_patches": False}
ALL = [(BYOL, HEADS), (SimSiam, HEADS), (MoCoV3, V3), (MoCoV3, V3 | {"predictor_norm": False, "temperature": 1.0})]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()


def of_byol(p: list[Tensor], _: list[Tensor], slow: list[Tensor], __: float) -> Tensor:
    pairs = [(0, 1), (1, 0)]
    return sum(2 - 2 * cosine(p[a][i], slow[b][i]) for a, b in pairs for i in range(8)) / 8


def of_simsiam(p: list[Tensor], z: list[Tensor], _: list[Tensor], __: float) -> Tensor:
    pairs = [(0, 1), (1, 0)]
    return sum(-cosine(p[a][i], z[b][i].detach()) / 2 for a, b in pairs for i in range(8)) / 8


def of_moco_v3(p: list[Tensor], _: list[Tensor], slow: list[Tensor], temperature: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for a, b in [(0, 1), (1, 0)]:
        for i in range(8):
            logits = torch.stack([cosine(p[a][i], key) / temperature for key in slow[b]])
            total = total + 2 * temperature * (torch.logsumexp(logits, 0) - logits[i]) / 8
    return total


@pytest.mark.parametrize(("kind", "settings"), ALL)
def test_the_loss_is_that_of_a_loop(kind: Callable[..., Method], settings: dict[str, Any]) -> None:
    loops = {BYOL: of_byol, SimSiam: of_simsiam, MoCoV3: of_moco_v3}
    method, views = made(kind, settings, normed()), images(8)
    if kind is not SimSiam:
        nn.init.normal_(method.slow[1][0].weight)  # the copy differs
    loss, gradients = step(method, views)
    method.zero_grad()
    projected = [method.projector(method.backbone(view)) for view in views]
    slow = [method.slow(view).detach() for view in views] if kind is not SimSiam else []
    predicted = [method.predictor(outputs) for outputs in projected]
    expected = loops[kind](predicted, projected, slow, settings.get("temperature", 0.0))
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("slow"), name
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad)


@pytest.mark.parametrize(("kind", "settings"), ALL[:3])
def test_two_ranks_are_as_one(kind: Callable[..., Method], settings: dict[str, Any]) -> None:
    same_in_two(kind, settings, normed(), images(8), alike=("backbone", "projector", "predictor"))


@pytest.mark.parametrize("kind", [BYOL, MoCoV3])
def test_the_copy_follows_with_a_momentum_that_rises(kind: Callable[..., Method]) -> None:
    method = made(kind, V3, normed())
    slow, fast = method.slow[1][0].weight, method.projector[0].weight
    assert torch.equal(slow, fast)
    with torch.no_grad():
        fast.add_(1)
    before, statistics = slow.clone(), method.slow[0][1].running_mean.clone()
    method.after(0.5)  # half of the training: 0.9
    torch.testing.assert_close(slow, before + 0.1)
    assert torch.equal(statistics, method.slow[0][1].running_mean)
    method.after(1.0)
    torch.testing.assert_close(slow, before + 0.1)
    step(method, images(8))
    assert not torch.equal(statistics, method.slow[0][1].running_mean)  # its own batch norm learns them


def shape(network: nn.Sequential) -> list[str]:
    """Of each layer whether it has a bias, or is affine."""
    kinds = {nn.Linear: "linear", nn.BatchNorm1d: "norm", nn.ReLU: "relu"}
    more = (getattr(layer, "bias", None) is not None for layer in network)
    return [kinds[type(layer)] + "+" * has for layer, has in zip(network, more, strict=True)]


def test_heads() -> None:
    three = V3 | {"projector": (9, 9, 5)}
    inner = ["linear", "norm+", "relu"]
    assert shape(made(BYOL, HEADS, normed()).projector) == ["linear+", "norm+", "relu", "linear"]
    assert shape(made(BYOL, HEADS, normed()).predictor) == ["linear+", "norm+", "relu", "linear"]
    assert shape(made(SimSiam, three, normed()).projector) == [*inner, *inner, "linear", "norm"]
    assert shape(made(SimSiam, three, normed()).predictor) == [*inner, "linear+"]
    assert shape(made(MoCoV3, three, normed()).projector) == [*inner, *inner, "linear", "norm"]
    assert shape(made(MoCoV3, three, normed()).predictor) == [*inner, "linear", "norm"]
    assert shape(made(MoCoV3, three | {"predictor_norm": False}, normed()).predictor) == [*inner, "linear"]


def test_collapse_is_seen() -> None:
    method, views = made(SimSiam, HEADS, normed()), images(8)
    step(method, views)
    assert method.watching["spread"] > 0.5
    nn.init.zeros_(method.backbone[0].weight)
    step(method, views)
    assert method.watching["spread"] < 0.02
    torch.manual_seed(0)
    assert spread(torch.randn(4000, 50)).item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_patches_of_transformers_stand_still(library: str) -> None:
    torch.manual_seed(0)
    if library == "timm":
        import timm

        kind = timm.models.vision_transformer.VisionTransformer
        network = kind(img_size=16, patch_size=4, embed_dim=32, depth=1, num_heads=2, num_classes=0)
    else:
        from torchvision.models.vision_transformer import VisionTransformer

        network = VisionTransformer(16, 4, 1, 2, 32, 64)
        network.heads = nn.Identity()
    method = made(MoCoV3, V3 | {"still_patches": True}, network, dimension=32)
    of = vit.parts(method.backbone)
    widest = (6 / (48 + 32)) ** 0.5
    assert 0.9 * widest < of.project.weight.abs().max() < widest
    assert not of.project.bias.any()
    torch.testing.assert_close(of.positions[0], vit.sincos((4, 4), 32).double())
    before = {name: value.clone() for name, value in method.named_parameters()}
    assert all(torch.equal(before[f"slow.0.{n}"], p) for n, p in method.backbone.named_parameters())
    settings = {**MOCO_V3.settings, "rules": ()}
    optimizer = optimizer_of(method, settings)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    step(method, images(8, size=16))
    optimizer.step()
    method.after(0.1)
    still = {name for name, value in method.named_parameters() if torch.equal(before[name], value)}
    both = {name for name in before if name.startswith(("backbone.", "slow.0."))}
    assert still & both == {n for n in both if (".proj." in n and "patch" in n) or "conv_proj" in n or "pos_embed" in n}
    assert len(still & both) == 6
