"""SimCLR: NT-Xent over the views of all ranks."""

from __future__ import annotations

import torch
from pretrain.stepping import images, made, normed, same_in_two, step
from torch import Tensor

from jobs.lib.ranks import Ranks
from jobs.pretrain.simclr import SimCLR, nt_xent

torch.set_num_threads(1)
SETTINGS = {"projector": (9, 5), "temperature": 0.1}


def naive(one: Tensor, two: Tensor, temperature: float) -> Tensor:
    rows = [row / row.square().sum().sqrt() for row in (*one, *two)]
    losses = []
    for i, row in enumerate(rows):
        partner = (i + len(one)) % len(rows)
        others = torch.stack([row @ other / temperature for j, other in enumerate(rows) if j != i])
        losses.append(torch.logsumexp(others, 0) - row @ rows[partner] / temperature)
    return sum(losses) / len(losses)


def test_nt_xent_is_that_of_a_loop() -> None:
    torch.manual_seed(0)
    one, two = (torch.randn(6, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    slopes = []
    for loss in (nt_xent(one, two, 0.1, Ranks()), naive(one, two, 0.1)):
        slopes.append((loss.detach(), *torch.autograd.grad(loss, (one, two))))
    torch.testing.assert_close(slopes[0], slopes[1])


def test_two_ranks_are_as_one() -> None:
    same_in_two(SimCLR, SETTINGS, normed(), images(8), alike=("backbone", "projector"))


def test_the_method_uses_both_views() -> None:
    views = images(8)
    method = made(SimCLR, SETTINGS, normed())
    loss, _ = step(method, views)
    outputs = method.projector(method.backbone(torch.cat(views)))
    torch.testing.assert_close(loss, naive(outputs[:8], outputs[8:], 0.1).detach())
