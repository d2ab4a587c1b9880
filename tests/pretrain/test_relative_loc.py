"""Relative location: pairs of the centre with each of its eight neighbours."""

from __future__ import annotations

import numpy as np
import torch
from pretrain.two import two
from torch import Tensor, nn

from jobs.lib.ranks import Ranks
from jobs.lib.rate import optimizer_of
from jobs.pretrain.lib.method import Batch, Setting
from jobs.pretrain.relative_loc import RelativeLocation, pairs
from suite.recipes.relative_loc import RELATIVE_LOCATION

torch.set_num_threads(1)


def made(ranks: Ranks, dropout: float = 0.0, hidden: int = 6) -> RelativeLocation:
    torch.manual_seed(1)
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    settings = {"hidden": hidden, "dropout": dropout}
    return RelativeLocation(backbone, Setting(settings, "cnn", 4, 100, 6, 10, ranks, 0)).double()


def patches() -> Tensor:
    return torch.randn(6, 9, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def trained(ranks: Ranks) -> tuple[Tensor, list[Tensor]]:
    method, views = made(ranks), ranks.part(patches())
    with ranks.normalising():
        loss = method.loss(Batch([views], torch.arange(len(views)), 0, 0, 0.0)) / ranks.count
    loss.backward()
    loss = ranks.summed(loss.detach(), method)
    return loss, [parameter.grad for parameter in method.parameters()]


def test_labels_go_in_raster_order_without_the_centre() -> None:
    numbered = torch.arange(2 * 9.0).reshape(2, 9, 1, 1, 1).expand(-1, -1, 3, 2, 2)
    centres, others, places = pairs(numbered)
    assert centres[:, 0, 0, 0].tolist() == [4, 13]
    assert others[:, 2, 1, 1].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17]
    assert places.tolist() == [*range(8), *range(8)]


def test_loss_is_that_of_all_pairs_one_by_one() -> None:
    """With batch norms that see the batch: the centre stands in each of its eight pairs."""
    method, views = made(Ranks()), patches()
    loss = method.loss(Batch([views], torch.arange(6), 0, 0, 0.0))
    first, second, places = [], [], []
    for image in views:
        for place, at in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)]):
            first.append(image[4])
            second.append(image[at[0] * 3 + at[1]])
            places.append(place)
    features = [method.backbone(torch.stack(side)) for side in (first, second)]
    logits = method.head(method.neck(torch.cat(features, 1))).detach()
    parts = [float(row.exp().sum().log() - row[place]) for row, place in zip(logits, places, strict=True)]
    assert abs(loss.item() - np.mean(parts)) < 1e-12
    right = np.mean(logits.argmax(1).numpy() == places)
    assert abs(method.watching["accuracy"].item() - right) < 1e-6


def test_dropout_draws_from_torchs_own_numbers() -> None:
    method, batch = made(Ranks(), dropout=0.5), Batch([patches()], torch.arange(6), 0, 0, 0.0)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(method.loss(batch).item())
    assert found[0] == found[1] != found[2]


def test_heads_begin_and_decay_as_published() -> None:
    method = made(Ranks(), hidden=4096)
    linear, norm = method.neck[0], method.neck[1]
    for weight in (linear.weight, method.head.weight):
        assert abs(weight.std().item() - 0.005) < 2e-4
    assert (linear.bias == torch.tensor(0.1)).all()
    assert not method.head.bias.any()
    assert norm.momentum == 0.003
    groups = optimizer_of(method, RELATIVE_LOCATION.settings).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in method.named_parameters():
        assert decays[id(parameter)] == (1e-4 if name.startswith("backbone") else 5e-4), name


def test_two_ranks_are_one() -> None:
    loss, gradients = trained(Ranks())
    for its_loss, its_gradients in two(trained):
        torch.testing.assert_close(its_loss, loss)
        torch.testing.assert_close(its_gradients, gradients)
