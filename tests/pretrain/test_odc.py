"""ODC: its loss beside a naive one; labels, counts and centroids agree after every step; two ranks beside one."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from pretrain.two import two
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.lib.failure import BadTask
from jobs.lib.ranks import Ranks
from jobs.pretrain.lib.method import Batch, Setting
from jobs.pretrain.odc import ODC
from suite.recipes import odc as recipes

SETTINGS = {"clusters": 6, "hidden": 7, "width": 4, "keep": 0.5, "least": 4, "every": 3, "iterations": 20}
IMAGES, BATCH = 60, 12


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def pixels() -> Tensor:
    return torch.randn(IMAGES, 3, 2, 2, generator=torch.Generator().manual_seed(5))


def made(ranks: Ranks | None = None, **settings: Any) -> ODC:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU())
    whole = SETTINGS | settings
    method = ODC(backbone, Setting(whole, "tiny", 5, IMAGES, BATCH, 5, ranks or Ranks(), 7)).train()
    method.neck[3].p = 0.0  # dropout draws otherwise in every rank
    return method


def features(network: nn.Module) -> Tensor:
    with torch.inference_mode():
        network.eval()
        found = network(pixels())
        network.train()
    return found


def batch(step: int, ranks: Ranks | None = None) -> Batch:
    rows = torch.randint(IMAGES, (BATCH,), generator=torch.Generator().manual_seed(step))  # with replacement
    rows = (ranks or Ranks()).part(rows)
    return Batch([pixels()[rows]], rows, step, 0, step / 9)


def fed(method: ODC, rows: Tensor, outputs: Tensor, step: int) -> None:
    """A step in which the network gave these outputs."""
    method.seen = step, rows, F.normalize(outputs, dim=1)
    method.after(0.1)


def naive(method: ODC, given: Batch) -> float:
    """In float64, image by image, of a network in evaluation mode; weights as published, normalised over clusters."""
    weights = [(int((method.labels == c).sum()) + 1e-10) ** -0.5 for c in range(6)]
    weights = [weight / sum(weights) for weight in weights]
    total = whole = 0.0
    for x, row in zip(given.views[0], given.rows.tolist(), strict=True):
        scores = method.classifier(method.neck(method.backbone(x[None])))[0].double().tolist()
        label = int(method.labels[row])
        total -= weights[label] * math.log(math.exp(scores[label]) / sum(map(math.exp, scores)))
        whole += weights[label]
    return total / whole


def test_the_loss_is_the_naive_one() -> None:
    method, given = made(), batch(3)
    method.begin(0, features)
    nn.init.normal_(method.classifier.weight)
    method.eval()
    assert len(set(method.counts.tolist())) > 1
    assert method.loss(given).item() == pytest.approx(naive(method, given), rel=1e-5)
    assert {"spread", "empty", "largest"} <= set(method.watching)


def agree(method: ODC) -> None:
    assert torch.equal(method.counts, torch.bincount(method.labels, minlength=len(method.counts)))
    lengths = method.bank.norm(dim=1)
    assert ((lengths - 1).abs() < 1e-5).logical_or(lengths == 0).all()


def mean(method: ODC, cluster: int) -> Tensor:
    return method.bank[method.labels == cluster].double().mean(0).float()


def test_it_begins_with_k_means_of_the_necks_outputs() -> None:
    method = made()
    method.begin(0, features)
    outputs = features(nn.Sequential(method.backbone, method.neck))
    agree(method)
    torch.testing.assert_close(method.bank, F.normalize(outputs, dim=1))
    own = torch.stack([outputs[method.labels == c].mean(0) for c in range(6)])
    assert torch.equal(torch.cdist(outputs, own).argmin(1), method.labels)
    torch.testing.assert_close(method.centroids, torch.stack([mean(method, c) for c in range(6)]))
    before = deepcopy(method.state_dict())
    method.begin(1, features)
    torch.testing.assert_close(method.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("least", [1, 4, 10])
@pytest.mark.parametrize("seed", range(4))
def test_counts_and_centroids_are_those_of_the_labels_after_every_step(seed: int, least: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    method = made(least=least)
    first = torch.randn(IMAGES, 4, generator=draw).relu()
    method.begin(0, lambda network: first)
    changed = 0.0
    for step in range(40):
        rows = torch.randint(IMAGES, (BATCH,), generator=draw)
        # Now and then all outputs are much the same, which empties clusters.
        about = torch.rand(4, generator=draw) * (10 if step % 7 == 3 else 0)
        fed(method, rows, (about + torch.randn(BATCH, 4, generator=draw)).relu(), step)
        agree(method)
        changed += float(method.watching["change_ratio"])
        assert 0 <= method.watching["change_ratio"] <= 1
    assert changed > 0
    method._renew_small = lambda step: None  # type: ignore[method-assign]
    fed(method, rows, torch.rand(BATCH, 4, generator=draw), 41)  # (41 + 1) % 3 == 0
    for cluster in range(6):
        if method.counts[cluster]:
            torch.testing.assert_close(method.centroids[cluster], mean(method, cluster))


def test_bank_and_labels_move() -> None:
    method = made(every=100, least=1)
    method.begin(0, features)
    before, labels = method.bank.clone(), method.labels.clone()
    rows = torch.tensor([3, 9, 3])
    given = torch.tensor([[9.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 5, 0]])
    fed(method, rows, given, 0)
    for row, axis in ((3, 2), (9, 1)):  # of row 3 the last one
        wanted = F.normalize(before[row] + torch.eye(4)[axis], dim=0)
        torch.testing.assert_close(method.bank[row], wanted)
        assert method.labels[row] == (method.centroids @ wanted).argmax()
    rest = torch.ones(IMAGES, dtype=torch.bool)
    rest[rows] = False
    assert torch.equal(method.bank[rest], before[rest])
    assert torch.equal(method.labels[rest], labels[rest])
    moved = (method.labels != labels)[[3, 9]].float().mean()
    assert method.watching["change_ratio"] == moved


def planted() -> ODC:
    """60 images around four axes, in clusters of 40 (two heaps), 13, 5 and 2; of six clusters two are empty."""
    method = made(least=6)
    axes = torch.tensor([0] * 22 + [1] * 18 + [2] * 13 + [3] * 5 + [2] * 2)
    noise = 0.05 * torch.rand(IMAGES, 4, generator=torch.Generator().manual_seed(0))
    method.bank.copy_(F.normalize(torch.eye(4)[axes] + noise, dim=1))
    method.labels.copy_(torch.tensor([0] * 40 + [1] * 13 + [4] * 5 + [5] * 2))
    method.counts.copy_(torch.bincount(method.labels, minlength=6))
    for cluster in (0, 1, 4, 5):
        method.centroids[cluster] = mean(method, cluster)
    return method


def test_small_clusters_join_the_closest_and_halves_of_large_ones_take_their_place() -> None:
    method = planted()
    method._renew_small(0)
    agree(method)
    assert (method.counts > 0).all()
    assert (method.labels[58:] == method.labels[40]).all() or (method.labels[58:] == method.labels[41]).all()
    # The first to be split is the heap of 40, and its halves are the heaps: no cluster has images of both.
    assert not set(method.labels[:22].tolist()) & set(method.labels[22:40].tolist())
    for cluster in set(range(6)) - {1}:
        torch.testing.assert_close(method.centroids[cluster], mean(method, cluster))


def test_what_cannot_be_split_by_distance_is_split_by_lot() -> None:
    method, other = planted(), planted()
    for one in (method, other):
        one.bank.copy_(F.normalize(torch.ones(IMAGES, 4), dim=1))
        one._renew_small(0)
        agree(one)
        assert one.counts.min() >= 6
    assert torch.equal(method.labels, other.labels)


def test_clusters_that_are_empty_at_the_start_do_no_harm() -> None:
    method = made()
    method.begin(0, lambda network: torch.ones(IMAGES, 4))
    assert (method.counts == 0).sum() == 5
    assert torch.isfinite(method.loss(batch(0)))
    method.after(0.1)
    agree(method)
    assert (method.counts > 0).all()


def test_too_few_images_are_refused() -> None:
    with pytest.raises(BadTask, match=r"60 images are not enough for 6 clusters of 11 at least: .* 5 clusters or less"):
        made(least=11)
    with pytest.raises(BadTask, match="10000 clusters of 20"):
        made(**recipes.ODC.settings)


def steps(ranks: Ranks) -> dict[str, Any]:
    method, losses, seen = made(ranks), [], []
    method.begin(0, features)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    with ranks.normalising():
        for step in range(7):
            method.zero_grad()
            loss = method.loss(batch(step, ranks)) / ranks.count
            loss.backward()
            losses.append(ranks.summed(loss.detach(), method))
            optimizer.step()
            method.after(0.1)
            seen.append(method.watching["change_ratio"])
    gradients = [p.grad for p in method.parameters()]
    return {"losses": losses, "seen": seen, "gradients": gradients, "state": method.state_dict()}


def test_two_ranks_are_one() -> None:
    alone = steps(Ranks())
    first, second = two(steps)
    torch.testing.assert_close(first, alone, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(second["state"], first["state"], rtol=0, atol=0)
    assert sum(alone["seen"]) > 0


def test_it_goes_on_from_its_state() -> None:
    method, other = made(), made()
    method.begin(0, features)
    for step in range(4):
        method.loss(batch(step))
        method.after(0.1)
    other.load_state_dict(deepcopy(method.state_dict()))
    for step in range(4, 8):
        assert torch.equal(method.loss(batch(step)), other.loss(batch(step)))
        method.after(0.1)
        other.after(0.1)
    torch.testing.assert_close(method.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_the_order_is_with_replacement() -> None:
    order = made().order(0, np.random.default_rng(0))
    assert order.shape == (IMAGES,)
    assert len(np.unique(order)) < IMAGES
    assert order.max() < IMAGES


def test_recipes_have_what_it_reads() -> None:
    for recipe in (recipes.ODC, recipes.ODC_SHORT):
        method = made(**{**recipe.settings, "clusters": 3})
        method.begin(0, features)
        assert torch.isfinite(method.loss(batch(0)))
        method.after(0.1)
