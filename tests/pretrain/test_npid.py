"""NPID: its loss beside a naive one, its bank, and two ranks beside one."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from pretrain.two import two
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.lib.ranks import Ranks
from jobs.pretrain.lib import bank
from jobs.pretrain.lib.method import Batch, Setting
from jobs.pretrain.npid import NPID
from suite.recipes import npid as recipes

SETTINGS = {"width": 5, "negatives": 40, "temperature": 0.2, "keep": 0.5, "ensure_neg": False}
IMAGES, BATCH = 30, 8


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def made(ranks: Ranks | None = None, **settings: Any) -> NPID:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.ReLU())
    whole = SETTINGS | settings
    return NPID(backbone, Setting(whole, "tiny", 6, IMAGES, BATCH, 3, ranks or Ranks(), 7)).train()


def batch(step: int, ranks: Ranks | None = None) -> Batch:
    draw = torch.Generator().manual_seed(step)
    x, rows = torch.randn(BATCH, 3, 2, 2, generator=draw), torch.randperm(IMAGES, generator=draw)[:BATCH]
    ranks = ranks or Ranks()
    return Batch([ranks.part(x)], ranks.part(rows), step, 0, step / 9)


def naive(method: NPID, given: Batch) -> float:
    """In float64, image by image."""
    s, total = method.setting.settings, 0.0
    memory, (drawn, instead) = method.bank.double(), method.drawn(given.step)
    for x, row in zip(given.views[0], given.rows.tolist(), strict=True):
        out = method.projector(method.backbone(x[None]))[0].double().detach()
        unit = out / out.square().sum().sqrt()
        scores = [float(unit @ memory[row])]
        for k, other in enumerate(drawn.tolist()):
            other = int(instead[k]) if s["ensure_neg"] and other == row else other
            scores.append(float(unit @ memory[other]))
        exponents = [math.exp(score / s["temperature"]) for score in scores]
        total -= math.log(exponents[0] / sum(exponents))
    return total / len(given.rows)


@pytest.mark.parametrize("ensured", [False, True])
def test_the_loss_is_the_naive_one(ensured: bool) -> None:
    method, given = made(ensure_neg=ensured), batch(3)
    assert torch.isin(given.rows, method.drawn(3)[0]).any()  # or else both would be the same
    assert method.loss(given).item() == pytest.approx(naive(method, given), rel=1e-5)
    assert 0 < method.watching["spread"] < 1.5


def test_ensured_negatives_are_never_the_image_itself() -> None:
    drawn, instead = made().drawn(0)
    again, _ = made().drawn(0)
    other, _ = made().drawn(1)
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)
    assert (drawn != instead).all()
    assert drawn.min() >= 0
    assert max(drawn.max(), instead.max()) < IMAGES


def test_negatives_and_what_takes_their_place_are_even() -> None:
    drawn, instead = made(negatives=60_000).drawn(0)
    for found in (drawn, instead, instead[drawn == 4]):
        counts = torch.bincount(found, minlength=IMAGES)
        counts = counts[counts > 0]
        assert len(counts) >= IMAGES - 1
        assert (counts - counts.float().mean()).abs().max() < 5 * counts.float().mean().sqrt()


def test_the_bank_moves_halfway_and_only_where_images_were_seen() -> None:
    method, given = made(), batch(2)
    before = method.bank.clone()
    method.loss(given)
    assert torch.equal(method.bank, before)
    method.after(0.1)
    units = F.normalize(method.projector(method.backbone(given.views[0])), dim=1).detach()
    torch.testing.assert_close(method.bank[given.rows], F.normalize(before[given.rows] + units, dim=1))
    rest = torch.ones(IMAGES, dtype=torch.bool)
    rest[given.rows] = False
    assert torch.equal(method.bank[rest], before[rest])
    assert not method.seen
    assert "bank" in method.state_dict()


def test_a_batch_in_turns_is_one_batch() -> None:
    whole, turns, given = made(), made(), batch(1)
    total = whole.loss(given)
    total.backward()
    whole.after(0.1)
    for at in (slice(0, 4), slice(4, 8)):
        (turns.loss(Batch([given.views[0][at]], given.rows[at], 1, 0, 0.1)) / 2).backward()
    turns.after(0.1)
    torch.testing.assert_close(turns.bank, whole.bank)
    for one, other in zip(turns.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def steps(ranks: Ranks, **settings: Any) -> tuple[list[Tensor], list[Tensor], Tensor]:
    method, losses = made(ranks, **settings), []
    for step in range(3):
        method.zero_grad()
        loss = method.loss(batch(step, ranks)) / ranks.count
        loss.backward()
        losses.append(ranks.summed(loss.detach(), method))
        method.after(0.1)
    return losses, [p.grad for p in method.parameters() if p.grad is not None], method.bank


def test_two_ranks_are_one() -> None:
    alone = steps(Ranks(), ensure_neg=True)
    first, second = two(lambda ranks: steps(ranks, ensure_neg=True))
    torch.testing.assert_close(first, alone, rtol=1e-4, atol=1e-6)
    assert torch.equal(first[2], second[2])


def test_it_goes_on_from_its_state() -> None:
    method = made()
    for step in range(2):
        method.loss(batch(step))
        method.after(0.1)
    other = made()
    torch.nn.init.zeros_(other.bank)
    other.load_state_dict(deepcopy(method.state_dict()))
    assert torch.equal(method.loss(batch(2)), other.loss(batch(2)))


def test_of_rows_that_come_twice_the_last_counts() -> None:
    rows = torch.tensor([5, 2, 5, 9, 2, 2])
    assert sorted(bank.latest(rows).tolist()) == [2, 3, 5]


def test_recipes_have_what_it_reads() -> None:
    for recipe in (recipes.NPID, recipes.ENSURED, recipes.NPID_SHORT):
        backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 6))
        method = NPID(backbone, Setting(recipe.settings, "tiny", 6, IMAGES, BATCH, 3, Ranks(), 0))
        assert torch.isfinite(method.loss(batch(0)))
        method.after(0.5)
