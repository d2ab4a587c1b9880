"""The learning rate of every step, which parameter follows it how, and LARS."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from jobs.lib.lars import LARS, TRUST
from jobs.lib.rate import Rate, optimizer_of
from suite.recipe import COMMON

SETTINGS: dict[str, Any] = {**COMMON, "batch": 512, "published_batch": 256, "learning_rate": 0.3, "epochs": 10}


def rates(**changed: Any) -> list[float]:
    rate = Rate({**SETTINGS, **changed}, 4)
    return [rate.at(step) for step in range(rate.steps)]


def test_a_cosine_begins_where_the_warm_up_ends_and_ends_at_the_least_rate() -> None:
    found = rates(warmup=2, least_rate=0.01)
    assert len(found) == 40
    assert found[:8] == pytest.approx([0.6 * step / 8 for step in range(8)])
    expected = [0.02 + 0.58 * (1 + math.cos(math.pi * step / 32)) / 2 for step in range(32)]
    assert found[8:] == pytest.approx(expected)


def test_drops_are_at_epochs() -> None:
    found = rates(schedule="step", drops=(3, 8), factor=0.4, warmup=1, warmup_from=0.1)
    assert found[:4] == pytest.approx([0.6 * (0.1 + 0.9 * step / 4) for step in range(4)])
    assert found[4:12] == pytest.approx([0.6] * 8)
    assert found[12:32] == pytest.approx([0.24] * 20) and found[32:] == pytest.approx([0.096] * 8)


def test_a_constant_rate_follows_the_batch() -> None:
    assert rates(schedule="constant") == [0.6] * 40
    assert rates(schedule="constant", batch=64) == pytest.approx([0.075] * 40)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.cls_token = nn.Parameter(torch.ones(1, 1, 4))
        self.predictor = nn.Linear(4, 2)
        self.still = nn.Parameter(torch.ones(2), requires_grad=False)


def groups(**changed: Any) -> dict[str, dict[str, Any]]:
    """Name of a parameter -> the values of its group."""
    network = Small()
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    made = optimizer_of(network, {**SETTINGS, "weight_decay": 0.5, **changed})
    return {names[id(p)]: group for group in made.param_groups for p in group["params"]}


def test_every_trained_parameter_is_in_one_group() -> None:
    found = groups()
    assert set(found) == {name for name, p in Small().named_parameters() if p.requires_grad}
    assert {group["weight_decay"] for group in found.values()} == {0.5}


def test_what_does_not_decay() -> None:
    found = groups(undecayed=("norms", "biases", "tokens"))
    decayed = {name for name, group in found.items() if group["weight_decay"]}
    assert decayed == {"backbone.0.weight", "predictor.weight"}
    found = groups(undecayed=("norms",))
    assert {n for n, g in found.items() if not g["weight_decay"]} == {"backbone.1.weight", "backbone.1.bias"}


def test_rules_are_for_parameters_of_matching_names() -> None:
    found = groups(rules=(("predictor*", {"fixed": True, "rate": 10.0, "momentum": 0.0}),))
    assert found["predictor.weight"]["fixed"] and found["predictor.weight"]["momentum"] == 0.0
    assert not found["backbone.0.weight"]["fixed"]
    network = Small()
    settings = {**SETTINGS, "rules": (("predictor*", {"fixed": True, "rate": 10.0}),)}
    made, rate = optimizer_of(network, settings), Rate(settings, 4)
    rate.apply(made, 39)
    at = {group["rate"]: group["lr"] for group in made.param_groups}
    assert at[10.0] == pytest.approx(6.0) and at[1.0] == pytest.approx(rate.at(39)) and at[1.0] < 0.01


@pytest.mark.parametrize("optimizer", ["sgd", "lars", "adamw"])
def test_each_optimizer_moves_what_it_has(optimizer: str) -> None:
    network = Small()
    settings = {**SETTINGS, "optimizer": optimizer, "betas": (0.9, 0.95)}
    made, before = optimizer_of(network, settings), [p.clone() for p in network.parameters()]
    assert type(made).__name__.lower() == optimizer
    Rate(settings, 4).apply(made, 1)
    outputs = network.predictor(network.backbone(torch.randn(8, 3)) * network.cls_token[0])
    outputs.square().sum().backward()
    made.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert sum(moved) >= len(moved) - 2  # what is still, and a bias in front of a batch norm


def test_lars_equals_a_naive_loop_in_float64() -> None:
    draw = torch.Generator().manual_seed(0)
    weights = [torch.randn(4, 3, generator=draw, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)]
    weights += [torch.randn(2, generator=draw, dtype=torch.float64)]
    held = [nn.Parameter(weight.clone()) for weight in weights]
    made = LARS([{"params": held[:2], "weight_decay": 0.1}, {"params": held[2:], "still": True}], lr=0.0)
    speeds = [torch.zeros_like(weight) for weight in weights]
    for step in range(5):
        slopes = [torch.randn(weight.shape, generator=draw, dtype=torch.float64) for weight in weights]
        for group in made.param_groups:
            group["lr"] = 0.3 / (step + 1)
        for parameter, slope in zip(held, slopes, strict=True):
            parameter.grad = slope.clone()
        made.step()
        for number, slope in enumerate(slopes):
            update = slope
            if number < 2:
                size, steep = float(weights[number].norm()), float(slope.norm())
                local = TRUST * size / (steep + 0.1 * size) if size and steep else 1.0
                update = local * (slope + 0.1 * weights[number])
            speeds[number] = 0.9 * speeds[number] + update
            weights[number] = weights[number] - 0.3 / (step + 1) * speeds[number]
    for parameter, weight in zip(held, weights, strict=True):
        torch.testing.assert_close(parameter.detach(), weight)


def test_lars_goes_on_from_its_state() -> None:
    def run(parameter: nn.Parameter, made: LARS, steps: range) -> None:
        for step in steps:
            parameter.grad = torch.full_like(parameter, 0.1 * (step + 1))
            made.step()

    unbroken, broken = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    run(unbroken, LARS([{"params": [unbroken]}], lr=1.0), range(6))
    first = LARS([{"params": [broken]}], lr=1.0)
    run(broken, first, range(3))
    again = LARS([{"params": [broken]}], lr=1.0)
    again.load_state_dict(first.state_dict())
    run(broken, again, range(3, 6))
    assert torch.equal(unbroken, broken)
