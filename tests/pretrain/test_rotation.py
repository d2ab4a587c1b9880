"""Rotation: four turns of each image, as numpy's."""

from __future__ import annotations

import numpy as np
import torch
from pretrain.two import two
from torch import Tensor, nn

from jobs.lib.ranks import Ranks
from jobs.pretrain.lib.method import Batch, Setting
from jobs.pretrain.rotation import Rotation, turned

torch.set_num_threads(1)


def made(ranks: Ranks) -> Rotation:
    torch.manual_seed(1)
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten()
    )
    return Rotation(backbone, Setting({}, "cnn", 8, 100, 6, 10, ranks, 0)).double()


def images() -> Tensor:
    return torch.randn(6, 3, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def trained(ranks: Ranks) -> tuple[Tensor, list[Tensor]]:
    method, views = made(ranks), ranks.part(images())
    with ranks.normalising():
        loss = method.loss(Batch([views], torch.arange(len(views)), 0, 0, 0.0)) / ranks.count
    loss.backward()
    loss = ranks.summed(loss.detach(), method)
    return loss, [parameter.grad for parameter in method.parameters()]


def test_turns_are_those_of_numpy() -> None:
    turns, labels = turned(images())
    assert labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6
    for image, label, source in zip(turns.numpy(), labels.tolist(), [*images().numpy()] * 4, strict=True):
        np.testing.assert_array_equal(image, np.rot90(source, label, axes=(1, 2)))


def test_loss_is_the_mean_over_images_and_turns() -> None:
    method = made(Ranks()).eval()
    loss = method.loss(Batch([images()], torch.arange(6), 0, 0, 0.0))
    with torch.no_grad():
        parts, right = [], []
        for image in images().numpy():
            for turn in range(4):
                given = torch.from_numpy(np.rot90(image, turn, axes=(1, 2)).copy())[None]
                logits = method.head(method.backbone(given))[0]
                parts.append(float(logits.exp().sum().log() - logits[turn]))
                right.append(int(logits.argmax()) == turn)
    assert abs(loss.item() - np.mean(parts)) < 1e-12
    assert abs(method.watching["accuracy"].item() - np.mean(right)) < 1e-6
    assert method.watching["spread"] > 0


def test_two_ranks_are_one() -> None:
    loss, gradients = trained(Ranks())
    for its_loss, its_gradients in two(trained):
        torch.testing.assert_close(its_loss, loss)
        torch.testing.assert_close(its_gradients, gradients)
