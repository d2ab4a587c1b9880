"""SwAV: assignments, swapped predictions, and the queue."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretrain.two import two
from torch import Tensor, nn

from jobs.lib.ranks import Ranks
from jobs.pretrain.lib.method import Batch, Setting
from jobs.pretrain.lib.sinkhorn import assigned
from jobs.pretrain.swav import SwAV, swapped

torch.set_num_threads(1)
SETTINGS = {"projector": (8, 6), "prototypes": 5, "temperature": 0.1, "epsilon": 0.05, "iterations": 3}
SETTINGS |= {"queue": 20, "queue_from": 1, "freeze": 1}
BATCH, A_EPOCH = 8, 2


def made(ranks: Ranks, **more: object) -> SwAV:
    torch.manual_seed(1)
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten()
    )
    return SwAV(backbone, Setting({**SETTINGS, **more}, "cnn", 8, 100, BATCH, A_EPOCH, ranks, 0)).double()


def views(step: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(step)
    return [torch.randn(BATCH, 3, size, size, dtype=torch.float64, generator=draw) for size in (9, 9, 5, 5, 5)]


def batch(step: int, ranks: Ranks) -> Batch:
    own = [ranks.part(view) for view in views(step)]
    return Batch(own, torch.arange(len(own[0])), step, step // A_EPOCH, 0.0)


def sinkhorn(scores: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """n x K -> n x K, with every constant of the paper."""
    q = np.exp(scores.astype(np.float64) / epsilon).T
    prototypes, images = q.shape
    q /= q.sum()
    for _ in range(iterations):
        for k in range(prototypes):
            q[k] /= q[k].sum() * prototypes
        for b in range(images):
            q[:, b] /= q[:, b].sum() * images
    return (q * images).T


def cosines(n: int, k: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    units = [nn.functional.normalize(torch.randn(rows, 6, generator=draw), dim=1) for rows in (n, k)]
    return units[0] @ units[1].T


@pytest.mark.parametrize(("n", "k", "epsilon"), [(12, 5, 0.05), (4, 30, 0.05), (12, 5, 0.02), (300, 7, 1.0)])
def test_assignments_are_those_of_loops(n: int, k: int, epsilon: float) -> None:
    scores = cosines(n, k).double()
    found = assigned(scores, epsilon, 3, Ranks())
    np.testing.assert_allclose(found.numpy(), sinkhorn(scores.numpy(), epsilon, 3), rtol=1e-9, atol=1e-12)
    assert not found.requires_grad


def test_images_are_shared_out_evenly() -> None:
    shares = assigned(cosines(60, 6), 0.5, 100, Ranks())
    torch.testing.assert_close(shares.sum(1), torch.ones(60))
    torch.testing.assert_close(shares.sum(0), torch.full((6,), 10.0), rtol=1e-4, atol=0)
    alike = assigned(torch.ones(60, 6), 0.05, 3, Ranks())
    torch.testing.assert_close(alike, torch.full((60, 6), 1 / 6))


def test_assignments_are_over_the_images_of_all_ranks() -> None:
    scores = cosines(12, 5)
    whole = assigned(scores, 0.05, 3, Ranks())
    found = two(lambda ranks: assigned(ranks.part(scores), 0.05, 3, ranks))
    torch.testing.assert_close(torch.cat(found), whole)
    apart = [assigned(half, 0.05, 3, Ranks()) for half in scores.chunk(2)]
    assert not torch.allclose(torch.cat(apart), whole, atol=1e-2)


def test_predictions_are_swapped_between_all_crops() -> None:
    crops = [cosines(6, 5, seed).double() for seed in range(4)]
    targets = [torch.from_numpy(sinkhorn(scores.numpy(), 0.05, 3)) for scores in crops[:2]]
    total = 0.0
    for i, target in enumerate(targets):
        for v, scores in enumerate(crops):
            if v == i:
                continue
            for q, z in zip(target.tolist(), (scores / 0.1).tolist(), strict=True):
                whole = np.log(np.sum(np.exp(z)))
                total -= sum(share * (logit - whole) for share, logit in zip(q, z, strict=True)) / (2 * 3 * 6)
    assert abs(swapped(tuple(crops), targets, 0.1).item() - total) < 1e-12


def naive(method: SwAV, step: int, queues: list[list[Tensor]]) -> float:
    """The loss of a step in one process; `queues` has batches, the newest first, and gets those of this step."""
    given = views(step)
    features = [method.backbone(torch.cat(given[:2])), method.backbone(torch.cat(given[2:]))]
    units = nn.functional.normalize(method.projector(torch.cat(features)), dim=1).detach()
    prototypes, crops = method.prototypes.weight.detach(), units.split(BATCH)
    total = 0.0
    for i in (0, 1):
        known = torch.cat([crops[i], *(queues[i] if len(queues[i]) == 2 else [])])
        target = sinkhorn((known @ prototypes.T).numpy(), 0.05, 3)[:BATCH]
        if step >= A_EPOCH:
            queues[i] = [crops[i], *queues[i]][:2]
        for v, crop in enumerate(crops):
            if v != i:
                logs = nn.functional.log_softmax(crop @ prototypes.T / 0.1, 1).numpy()
                total -= float((target * logs).sum(1).mean()) / 4 / 2
    return total


def test_loss_and_queue_are_those_of_the_whole() -> None:
    """The queue, 20 cut to 16 for batches of 8, joins in epoch 1 and counts once two batches, of steps 2 and 3, fill
    it."""
    method, queues = made(Ranks()).eval(), [[], []]
    assert method.queue.shape == (2, 16, 6)
    for step in range(7):
        before = method.queue.clone()
        loss = method.loss(batch(step, Ranks()))
        assert abs(loss.item() - naive(method, step, queues)) < 1e-10, step
        assert torch.equal(method.queue, before) == (step < 2)
    for queue, expected in zip(method.queue, queues, strict=True):
        torch.testing.assert_close(queue, torch.cat(expected).to(queue))
    assert 0 < method.watching["entropy"] <= 1
    assert 1 <= method.watching["used"] <= 5
    assert 1 / BATCH <= method.watching["largest"] <= 1
    assert "queue" in method.state_dict()


def test_a_full_queue_changes_assignments() -> None:
    with_queue, without = made(Ranks()).eval(), made(Ranks(), queue=7).eval()
    assert without.queue.shape == (2, 0, 6)  # shorter than a batch
    same = [
        with_queue.loss(batch(step, Ranks())).item() == without.loss(batch(step, Ranks())).item() for step in range(6)
    ]
    assert same == [True] * 4 + [False] * 2


def test_a_training_that_was_saved_goes_on_with_its_queue() -> None:
    method = made(Ranks())
    for step in range(5):
        method.loss(batch(step, Ranks()))
    other = made(Ranks())
    nn.init.normal_(other.prototypes.weight)
    other.load_state_dict(method.state_dict())
    assert other.loss(batch(5, Ranks())).item() == method.loss(batch(5, Ranks())).item()
    assert torch.equal(other.queue, method.queue)


def test_two_ranks_are_one() -> None:
    def trained(ranks: Ranks) -> tuple[list[Tensor], list[Tensor], Tensor]:
        method, losses = made(ranks), []
        for step in range(6):
            method.zero_grad()
            with ranks.normalising():
                loss = method.loss(batch(step, ranks)) / ranks.count
            loss.backward()
            losses.append(ranks.summed(loss.detach(), method))
        return losses, [parameter.grad for parameter in method.parameters()], method.queue

    losses, gradients, queue = trained(Ranks())
    for its_losses, its_gradients, its_queue in two(trained):
        torch.testing.assert_close(its_losses, losses)
        torch.testing.assert_close(its_gradients, gradients)
        torch.testing.assert_close(its_queue, queue)  # of all images, in every rank


def test_prototypes_stay_units_and_still_in_the_first_epoch() -> None:
    method = made(Ranks())
    lengths = method.prototypes.weight.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(5, dtype=torch.float64))
    method.loss(batch(0, Ranks())).backward()
    method.mend(1)
    assert method.prototypes.weight.grad is not None
    method.mend(0)
    assert method.prototypes.weight.grad is None
    assert method.projector[0].weight.grad is not None
    with torch.no_grad():
        method.prototypes.weight.mul_(3)
    held = method.prototypes.weight
    method.after(0.1)
    assert method.prototypes.weight is held
    torch.testing.assert_close(held.norm(dim=1), lengths)
