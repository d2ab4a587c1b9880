"""MoCo: its loss, the queue, the slow copy, and shuffled batch norm."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pretrain.stepping import images, made, plain, same_in_two, step
from pretrain.two import two
from torch import Tensor
from torch.nn import functional as F

from jobs.lib.failure import BadTask
from jobs.lib.ranks import Ranks
from jobs.pretrain.lib import across
from jobs.pretrain.lib.method import Batch, Setting
from jobs.pretrain.lib.momentum import rising
from jobs.pretrain.lib.shuffle import shuffled
from jobs.pretrain.moco import MoCo

torch.set_num_threads(1)
V1 = {"projector": (5,), "temperature": 0.07, "queue": 24, "ema": 0.9}
V2 = V1 | {"projector": (9, 5), "temperature": 0.2}


def unit(row: Tensor) -> Tensor:
    return row / row.square().sum().sqrt()


def naive(method: MoCo, views: list[Tensor]) -> Tensor:
    """One image after the other."""
    losses = []
    for seen, other in zip(*views, strict=True):
        query = unit(method.projector(method.backbone(seen[None]))[0])
        key = unit(method.slow(other[None])[0]).detach()
        logits = [(query @ k) / method.setting.settings["temperature"] for k in (key, *method.queue.keys)]
        losses.append(torch.logsumexp(torch.stack(logits), 0) - logits[0])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("settings", [V1, V2])
def test_the_loss_is_that_of_a_loop(settings: dict[str, Any]) -> None:
    method, views = made(MoCo, settings, plain()), images(8)
    method.slow.requires_grad_(False)
    torch.nn.init.normal_(method.slow[1][0].weight)  # query and key differ
    loss, gradients = step(method, views)
    method.zero_grad()
    expected = naive(method, views)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("slow"), name
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad)


def test_heads() -> None:
    kinds = [[type(layer).__name__ for layer in made(MoCo, s, plain()).projector] for s in (V1, V2)]
    assert kinds == [["Linear"], ["Linear", "ReLU", "Linear"]]


@pytest.mark.parametrize("turns", [1, 2])
def test_two_ranks_are_as_one(turns: int) -> None:
    same_in_two(MoCo, V2, plain(), images(8), turns, ("queue", "slow"))


def test_the_queue_forgets_the_oldest() -> None:
    method = made(MoCo, V2, plain())
    first, expected = method.queue.keys.clone(), []
    assert torch.allclose(first.norm(dim=1), torch.ones(24, dtype=torch.float64))
    for number in range(4):
        views = [view + number for view in images(8)]
        step(method, views, number, turns=2)
        expected.append(F.normalize(method.slow(views[1]), dim=1))
        before = method.queue.keys.clone()
        method.after(0.5)
        assert not torch.equal(before, method.queue.keys)
        assert method.queue.filled == min((number + 1) / 3, 1)
        left = torch.cat([*expected, first[8 * len(expected) :]]) if number < 3 else None
        if left is not None:
            torch.testing.assert_close(method.queue.keys, left)
    torch.testing.assert_close(method.queue.keys, torch.cat([expected[3], *expected[1:3]]))


def test_all_turns_of_a_step_see_the_queue_of_its_start() -> None:
    views = images(8)
    whole, turned = (step(made(MoCo, V2, plain()), views, turns=turns)[0] for turns in (1, 4))
    torch.testing.assert_close(whole, turned)


def test_killed_and_resumed_it_goes_on_as_unbroken() -> None:
    def steps(method: MoCo, numbers: range) -> None:
        optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
        for number in numbers:
            step(method, [view + number for view in images(8)], number)
            optimizer.step()
            method.after((number + 1) / 8)

    unbroken = made(MoCo, V2, plain())
    steps(unbroken, range(5))
    killed = made(MoCo, V2, plain())
    steps(killed, range(4))
    resumed = made(MoCo, V2, plain(), seed=1)
    assert not torch.equal(resumed.queue.keys, made(MoCo, V2, plain()).queue.keys)
    resumed.load_state_dict(killed.state_dict())
    steps(resumed, range(4, 5))
    assert resumed.state_dict().keys() == unbroken.state_dict().keys() >= {"queue.keys", "queue.taken"}
    for name, value in unbroken.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_copy_follows() -> None:
    method = made(MoCo, V1, plain())
    slow, fast = method.slow[1][0].weight, method.projector[0].weight
    before = slow.clone()
    assert torch.equal(before, fast)
    with torch.no_grad():
        fast.add_(1)
    step(method, images(8))
    method.after(0.5)
    torch.testing.assert_close(slow, before + 0.1)
    assert not any(parameter.requires_grad for parameter in method.slow.parameters())


def test_momentum_rises_to_one() -> None:
    assert rising(0.99, 0) == pytest.approx(0.99)
    assert rising(0.99, 0.25) == pytest.approx(1 - 0.01 * (math.sqrt(0.5) + 1) / 2)
    assert rising(0.99, 1) == 1


def test_a_queue_that_no_whole_number_of_batches_fills() -> None:
    with pytest.raises(BadTask, match=r"a queue of 24 keys cannot be filled by whole batches of 10: .* a queue of 20"):
        made(MoCo, V2, plain(), batch=10)


def test_keys_are_shuffled_over_ranks() -> None:
    [whole] = images(8, views=1)

    def run(ranks: Ranks) -> Any:
        seen = []

        def network(own: Tensor) -> list[Tensor]:
            seen.append(own.clone())
            return [own.flatten(1), (own - own.mean(0)).contiguous(memory_format=torch.channels_last)]

        own = across.own(whole, ranks).contiguous(memory_format=torch.channels_last)
        setting = Setting({}, "x", 7, 64, 8, 8, ranks, 0)
        found = [shuffled(network, own, setting, Batch([own], torch.arange(4), number, 0, 0.0)) for number in range(4)]
        return found, seen

    (one, seen), (two_, its_seen) = two(run)
    places = [
        [next(i for i in range(8) if torch.equal(whole[i], image)) for image in torch.cat([a, b])]
        for a, b in zip(seen, its_seen, strict=True)
    ]
    assert all(sorted(order) == list(range(8)) for order in places)
    assert places[0] != places[1]  # anew in each step
    assert len({tuple(sorted(order[:4])) for order in places}) > 2  # and from rank to rank
    for order, its, their in zip(places, one, two_, strict=True):
        torch.testing.assert_close(torch.cat([its[0], their[0]]), whole.flatten(1))  # put back in order
        for image, found in enumerate(torch.cat([its[1], their[1]])):
            half = order.index(image) // 4
            torch.testing.assert_close(found, whole[image] - whole[order[4 * half : 4 * half + 4]].mean(0))


def test_alone_nothing_is_shuffled() -> None:
    [view] = images(8, views=1)
    found = shuffled(lambda x: [x], view, Setting({}, "x", 7, 64, 8, 8, Ranks(), 0), Batch([view], view, 0, 0, 0.0))
    assert torch.equal(found[0], view)
