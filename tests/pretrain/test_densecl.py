"""DenseCL: contrast of whole images and of the cells of their maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pretrain.stepping import images, made, same_in_two, step
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.lib.backbone import build
from jobs.lib.failure import BadTask
from jobs.lib.ranks import Ranks
from jobs.pretrain.densecl import DenseCL
from jobs.pretrain.lib.method import Setting
from suite.model import Input, Model

torch.set_num_threads(1)
SETTINGS = {"projector": (9, 5), "temperature": 0.2, "queue": 24, "ema": 0.9, "dense_weight": 0.3, "dense_from": 0}


class Small(nn.Module):
    """A ResNet in name: layer4 gives 7 x 2 x 3 for 3 x 6 x 6."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer4 = nn.Sequential(nn.Conv2d(3, 7, 4, (2, 1)), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.layer4(x).mean((2, 3))


def unit(row: Tensor) -> Tensor:
    return row / row.square().sum().sqrt()


def nce(query: Tensor, key: Tensor, negatives: Tensor) -> Tensor:
    logits = torch.stack([query @ other / 0.2 for other in (key, *negatives)])
    return torch.logsumexp(logits, 0) - logits[0]


def naive(method: DenseCL, views: list[Tensor], weight: float) -> tuple[Tensor, set[int]]:
    """Image by image and cell by cell, and how far the matched cells lie apart."""
    fast, (slow, projector, dense) = method.backbone, method.slow
    whole, cells, moved = [], [], set()
    for seen, other in zip(*views, strict=True):
        map_, its = fast.layer4(seen[None])[0].flatten(1), slow.layer4(other[None])[0].flatten(1)
        heads = [method.dense(map_[:, :, None, None].permute(1, 0, 2, 3)).flatten(1)]
        heads.append(dense(its[:, :, None, None].permute(1, 0, 2, 3)).flatten(1))
        query, key = unit(method.projector(map_.mean(1)[None])[0]), unit(projector(its.mean(1)[None])[0])
        whole.append(nce(query, key.detach(), method.queue.keys))
        for cell in range(6):
            alike = [(unit(map_[:, cell]) @ unit(its[:, k])).item() for k in range(6)]
            match = alike.index(max(alike))
            moved.add(match - cell)
            right = unit(heads[1][match]).detach()
            cells.append(nce(unit(heads[0][cell]), right, method.dense_queue.keys))
    return (1 - weight) * sum(whole) / len(whole) + weight * sum(cells) / len(cells), moved


@pytest.mark.parametrize(("first", "weight"), [(0, 0.3), (1000, 0.0)])
def test_the_loss_is_that_of_a_loop(first: int, weight: float) -> None:
    method, views = made(DenseCL, SETTINGS | {"dense_from": first}, Small()), images(4)
    nn.init.normal_(method.slow[2][0].weight)
    loss, gradients = step(method, views, number=999)
    method.zero_grad()
    expected, moved = naive(method, views, weight)
    expected.backward()
    assert len(moved) > 2
    torch.testing.assert_close(loss, expected.detach())
    for name, parameter in method.named_parameters():
        if name.startswith("slow") or (first and name.startswith("dense")):
            assert name not in gradients
        else:
            torch.testing.assert_close(gradients[name], parameter.grad)


def test_the_dense_loss_sets_in() -> None:
    views, found = images(8), []
    for first in (10, 9):
        method = made(DenseCL, SETTINGS | {"dense_from": first}, Small())
        found.append(step(method, views, number=9)[0])
    assert found[0] != found[1]


def test_two_queues() -> None:
    method, views = made(DenseCL, SETTINGS, Small()), images(8)
    assert not torch.equal(method.queue.keys, method.dense_queue.keys)
    step(method, views)
    map_ = method.slow[0].layer4(views[1])
    keys, means = method.slow[1](map_.mean((2, 3))), method.slow[2](map_).mean((2, 3))
    method.after(0.5)
    torch.testing.assert_close(method.queue.keys[:8], F.normalize(keys, dim=1))
    torch.testing.assert_close(method.dense_queue.keys[:8], F.normalize(means, dim=1))
    assert {"queue.keys", "queue.taken", "dense_queue.keys", "dense_queue.taken"} <= method.state_dict().keys()


@pytest.mark.parametrize("turns", [1, 2])
def test_two_ranks_are_as_one(turns: int) -> None:
    same_in_two(DenseCL, SETTINGS, Small(), images(8), turns, ("queue", "dense_queue", "slow"))


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet10t"])
def test_of_libraries_networks(name: str) -> None:
    network = build(Model(name="x", architecture=name, dimension=512, input=Input()))
    settings: dict[str, Any] = SETTINGS | {"queue": 8}
    method = DenseCL(network, Setting(settings, name, 512, 64, 2, 8, Ranks(), 0)).train()
    network(torch.zeros(2, 3, 64, 64))  # what is used elsewhere in between leaves nothing behind
    loss, gradients = step(method, [view.float() for view in images(2, size=64)])
    assert loss.isfinite()
    assert any(name.startswith("dense") for name in gradients)


def test_what_has_no_such_map() -> None:
    with pytest.raises(BadTask, match="Sequential has no layer4"):
        made(DenseCL, SETTINGS, nn.Sequential())
