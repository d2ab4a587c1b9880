"""DeepCluster: its clusters, its order, its loss beside a naive one, and two ranks beside one."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from pretrain.two import two
from torch import Tensor, nn

from jobs.lib import seeds
from jobs.lib.failure import BadTask
from jobs.lib.ranks import Ranks
from jobs.pretrain.deepcluster import DeepCluster
from jobs.pretrain.lib.kmeans import kmeans, whiten
from jobs.pretrain.lib.method import Batch, Setting
from suite.recipes import deepcluster as recipes

SETTINGS = {"clusters": 6, "components": 3, "iterations": 20, "reweight": False}
IMAGES, BATCH = 60, 8


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def pixels() -> Tensor:
    return torch.randn(IMAGES, 3, 2, 2, generator=torch.Generator().manual_seed(5))


def made(ranks: Ranks | None = None, **settings: Any) -> DeepCluster:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU())
    whole = SETTINGS | settings
    return DeepCluster(backbone, Setting(whole, "tiny", 5, IMAGES, BATCH, 3, ranks or Ranks(), 7)).train()


def features(network: nn.Module, everywhere: bool = True) -> Tensor:
    with torch.inference_mode():
        return network(pixels())


def batch(step: int, ranks: Ranks | None = None) -> Batch:
    rows = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(step))[:BATCH]
    rows = (ranks or Ranks()).part(rows)
    return Batch([pixels()[rows]], rows, step, 0, step / 9)


def naive(method: DeepCluster, given: Batch) -> float:
    """In float64, image by image."""
    reweight, total, weights = method.setting.settings["reweight"], 0.0, 0.0
    for x, row in zip(given.views[0], given.rows.tolist(), strict=True):
        scores = method.classifier(method.backbone(x[None]))[0].double().tolist()
        label = int(method.labels[row])
        members = int((method.labels == label).sum())
        weight = members**-0.5 if reweight else 1.0
        total -= weight * math.log(math.exp(scores[label]) / sum(map(math.exp, scores)))
        weights += weight
    return total / weights


@pytest.mark.parametrize("reweight", [False, True])
def test_the_loss_is_the_naive_one(reweight: bool) -> None:
    method, given = made(reweight=reweight), batch(3)
    assert method.accumulates is not reweight
    method.begin(0, features)
    nn.init.normal_(method.classifier.weight)
    assert len(set(method.counts.tolist())) > 1
    assert method.loss(given).item() == pytest.approx(naive(method, given), rel=1e-5)
    assert {"spread", "empty", "largest"} <= set(method.watching)
    assert method.watching["largest"] == method.counts.max() / IMAGES


def test_labels_are_clusters_of_whitened_features() -> None:
    method = made()
    method.begin(2, features)
    rows = whiten(features(method.backbone), 3)
    wanted = kmeans(rows, 6, seeds.generator(7, "clusters", 2), iterations=20).labels
    assert torch.equal(method.labels, wanted)
    assert torch.equal(method.counts, torch.bincount(wanted, minlength=6))


def test_the_classifier_starts_anew_with_every_clustering() -> None:
    method, found = made(), []
    for epoch in (0, 1, 0):
        method.begin(epoch, features)
        found.append(method.classifier.weight.detach().clone())
        assert not method.classifier.bias.any()
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    assert found[0].std().item() == pytest.approx(0.01, rel=0.4)


def test_the_order_is_even_over_clusters() -> None:
    method = made()
    method.labels.copy_(torch.tensor([0] * 45 + [2] * 12 + [5] * 3))  # 1, 3 and 4 are empty
    method.counts.copy_(torch.bincount(method.labels, minlength=6))
    order = method.order(0, np.random.default_rng(0))
    assert order.shape == (IMAGES,)
    counts = np.bincount(method.labels.numpy()[order], minlength=6)
    assert (counts[[1, 3, 4]] == 0).all()
    assert counts[[0, 2, 5]].min() >= 60 // 3 + 1 - 3
    large = order[order < 45]
    assert len(np.unique(large)) == len(large)  # none twice where there are enough
    assert not np.array_equal(order[:10], np.sort(order[:10]))
    assert np.array_equal(order, method.order(0, np.random.default_rng(0)))


def test_too_few_images_are_refused() -> None:
    with pytest.raises(BadTask, match="60 images are not enough for 61 clusters: take the recipe's -short variant"):
        made(clusters=61)
    made(clusters=60).begin(0, features)


def test_features_that_are_all_the_same_do_no_harm() -> None:
    method = made()
    method.begin(0, lambda network, **_: torch.ones(IMAGES, 5))
    assert method.counts.sum() == IMAGES
    order = method.order(0, np.random.default_rng(0))
    assert len(order) == IMAGES
    assert torch.isfinite(method.loss(batch(0)))


def steps(ranks: Ranks) -> dict[str, Any]:
    method, losses = made(ranks, reweight=True), []
    if not ranks.first:
        nn.init.ones_(method.classifier.weight)  # begin has to put it right

    def seen(network: nn.Module, everywhere: bool = True) -> Tensor:
        # Another rank's features may differ in the last bit; here they do by much.
        return features(network) if ranks.first else torch.rand(IMAGES, 5)

    method.begin(0, seen)
    for step in range(2):
        method.zero_grad()
        loss = method.loss(batch(step, ranks)) / ranks.count
        loss.backward()
        losses.append(ranks.summed(loss.detach(), method))
        method.after(0.1)
    gradients = [p.grad for p in method.parameters()]
    return {"losses": losses, "gradients": gradients, "state": method.state_dict()}


def test_two_ranks_are_one() -> None:
    alone = steps(Ranks())
    first, second = two(steps)
    torch.testing.assert_close(first, alone, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(second["state"], first["state"], rtol=0, atol=0)


def test_it_goes_on_in_the_middle_of_an_epoch() -> None:
    method, other = made(), made()
    method.begin(0, features)
    other.load_state_dict(deepcopy(method.state_dict()))
    draw: Callable[[], np.random.Generator] = lambda: np.random.default_rng(3)  # noqa: E731
    assert np.array_equal(method.order(0, draw()), other.order(0, draw()))
    assert torch.equal(method.loss(batch(2)), other.loss(batch(2)))
    for name, value in method.watching.items():
        assert torch.equal(value, other.watching[name])


def test_recipes_have_what_it_reads() -> None:
    assert recipes.DEEPCLUSTER.settings["channels"] == "sobel"
    assert recipes.RGB.settings["channels"] == "RGB"
    for recipe in (recipes.DEEPCLUSTER, recipes.RGB, recipes.DEEPCLUSTER_SHORT):
        method = made(**{**recipe.settings, "clusters": 6})
        method.begin(0, features)
        assert torch.isfinite(method.loss(batch(0)))
    with pytest.raises(BadTask, match="10000 clusters"):
        made(**recipes.DEEPCLUSTER.settings)
