"""Heads: each equals the same head trained alone by torch; the schedule; what is fed in which order; bounded memory."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import nn

from jobs.lib import heads, seeds
from jobs.lib.heads import Feed, Heads
from jobs.lib.rows import Rows

CPU = torch.device("cpu")
PAIRS = [(0.3, 1e-4), (3.0, 1e-2), (30.0, 1e-8), (0.1, 0.5)]


def clusters(count: int, dimension: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, count)
    centres = np.random.default_rng(99).normal(size=(classes, dimension))
    return (centres[labels] + 2 * draw.normal(size=(count, dimension))).astype(np.float16), labels


def trained(x: np.ndarray, y: np.ndarray, classes: int, pairs: list[tuple[float, float]], **more: object) -> Heads:
    how = {"batch": 64, "epochs": 4, "cosine": "cog", "products": "float32", "memory": 1 << 30} | more
    own = {name: how.pop(name) for name in ("batch", "memory")}
    products = {"products": how.pop("products")}
    feed = Feed(Rows((x, None)).normalised("l2"), y, seed=5, device=CPU, **own, **products)
    made = Heads(x.shape[1], classes, pairs, momentum=0.9, seed=5, device=CPU, **products)
    heads.train(made, feed, **how)
    return made


def alone(x: np.ndarray, y: np.ndarray, classes: int, rate: float, decay: float) -> nn.Linear:
    """The protocol as a plain loop: torch's layer, loss and optimizer, and its scheduler set as CoG's code does."""
    torch.manual_seed(seeds.number(5, "head"))
    layer = nn.Linear(x.shape[1], classes)
    rows = torch.nn.functional.normalize(torch.from_numpy(x).float())
    sgd = torch.optim.SGD(layer.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    for epoch in range(4):
        order = seeds.generator(5, "order", epoch).permutation(len(x))
        for start in range(0, len(x), 64):
            chosen = order[start : start + 64]
            loss = nn.functional.cross_entropy(layer(rows[chosen]), torch.from_numpy(y[chosen]))
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        sgd.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * epoch / 4))
    return layer


@pytest.mark.parametrize("as_on", ["cpu", "cuda"])
def test_each_head_is_what_it_would_be_alone(monkeypatch: pytest.MonkeyPatch, as_on: str) -> None:
    """One after the other in parts that fit a cache, and all at once with whole matrices, as on a GPU."""
    monkeypatch.setitem(heads.LOGITS, "cpu", 1 if as_on == "cpu" else heads.LOGITS["cuda"])
    if as_on == "cuda":
        monkeypatch.setattr(heads, "_in_cache", lambda matrices: [tuple(matrices)])
    x, y = clusters(300, 37, 11)  # 300 = 4 * 64 + 44: the last batch is smaller
    made = trained(x, y, 11, PAIRS)
    assert made.done == 20
    for head, pair in enumerate(PAIRS):
        layer = alone(x, y, 11, *pair)
        scale = float(layer.weight.detach().abs().max())
        torch.testing.assert_close(made.weight[head].T, layer.weight.detach(), rtol=1e-4, atol=1e-5 * scale)
        torch.testing.assert_close(made.bias[head, 0], layer.bias.detach(), rtol=1e-4, atol=1e-5 * scale)


def test_a_head_does_not_see_the_others() -> None:
    x, y = clusters(200, 16, 5)
    together = trained(x, y, 5, PAIRS)
    again = trained(x, y, 5, PAIRS[2:3])
    torch.testing.assert_close(together.weight[2], again.weight[0], rtol=1e-5, atol=1e-5)


def test_a_batch_is_no_larger_than_the_set() -> None:
    x, y = clusters(50, 16, 5)
    feed = Feed(Rows((x, None)), y, batch=1024, seed=0, device=CPU)
    assert (feed.batch, feed.steps) == (50, 1)


def test_the_schedules_value_by_value() -> None:
    cog = [heads.factor(epoch, 4, "cog") for epoch in range(4)]
    assert cog == pytest.approx([1.0, 1.0, (2 + math.sqrt(2)) / 4, 0.5])
    plain = [heads.factor(epoch, 4, "plain") for epoch in range(4)]
    assert plain == pytest.approx([1.0, (2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4])
    hundred = [heads.factor(epoch, 100, "cog") for epoch in range(100)]
    assert hundred[:2] == [1.0, 1.0]
    assert hundred[51] == pytest.approx(0.5)
    assert hundred[99] == pytest.approx(0.0009866357858642205)  # (1 + cos(0.98 pi)) / 2
    assert sorted(hundred, reverse=True) == hundred
    with pytest.raises(ValueError, match="'plain', 'cog'"):
        heads.factor(0, 4, "linear")


def test_a_head_that_diverges_harms_no_other() -> None:
    x, y = clusters(200, 16, 5)
    bad = (1e30, 1e10)
    made = trained(x, y, 5, [PAIRS[0], bad, PAIRS[1]])
    fine = trained(x, y, 5, [PAIRS[0], PAIRS[1]])
    assert made.lost() == [False, True, False]
    torch.testing.assert_close(made.weight[[0, 2]], fine.weight, rtol=1e-5, atol=1e-6)
    found = made.accuracies(Rows((x, None)).normalised("l2"), y)
    assert found[1] == 0.0
    assert min(found[0], found[2]) > 0.4


def test_products_in_bfloat16_change_little() -> None:
    x, y = clusters(2000, 64, 10)
    test, truth = clusters(2000, 64, 10, seed=1)
    rows = Rows((test, None)).normalised("l2")
    exact, rounded = (trained(x, y, 10, PAIRS[:3], products=p, epochs=20) for p in ("float32", "bfloat16"))
    assert exact.weight.dtype == rounded.weight.dtype == torch.float32
    assert not torch.equal(exact.weight, rounded.weight)
    for one, two in zip(exact.accuracies(rows, truth), rounded.accuracies(rows, truth), strict=True):
        assert one > 0.8
        assert abs(one - two) < 0.01


def test_it_goes_on_from_any_step() -> None:
    x, y = clusters(300, 16, 5)
    whole = trained(x, y, 5, PAIRS[:2])
    feed = Feed(Rows((x, None)).normalised("l2"), y, batch=64, seed=5, device=CPU)
    first, second = (Heads(16, 5, PAIRS[:2], momentum=0.9, seed=5, device=CPU) for _ in range(2))

    def stop(losses: torch.Tensor) -> None:
        if first.done == 7:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        heads.train(first, feed, epochs=4, cosine="cog", after=stop)
    second.restore({name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in first.state().items()})
    heads.train(second, feed, epochs=4, cosine="cog")
    assert torch.equal(second.weight, whole.weight)


def test_an_epoch_sees_every_row_once_and_in_its_own_order() -> None:
    x = np.arange(1000, dtype=np.float32)[:, None].repeat(8, 1)
    for memory in (1 << 20, 32 * 300):
        feed = Feed(Rows((x, None)), np.arange(1000), batch=128, seed=0, device=CPU, memory=memory)
        assert feed.in_blocks == (memory < 1 << 20)
        epochs = []
        for epoch in range(2):
            got = list(feed.batches(epoch))
            assert all(torch.equal(rows[:, 0].long(), labels) for rows, labels in got)
            assert [len(labels) for _, labels in got] == [128] * 7 + [104]
            epochs.append(torch.cat([labels for _, labels in got]))
            assert sorted(epochs[-1].tolist()) == list(range(1000))
        assert not torch.equal(epochs[0], epochs[1])
        later = torch.cat([labels for _, labels in feed.batches(1, first=3)])
        assert torch.equal(later, epochs[1][3 * 128 :])
        neighbours = (epochs[0].diff().abs() == 1).sum()
        assert neighbours < 30  # of 999: no run of rows is left in the file's order


def test_a_set_larger_than_the_memory_is_kept_in_part(tmp_path: Path) -> None:
    x, y = clusters(4000, 32, 10)
    np.save(tmp_path / "x.npy", x)
    stored = np.load(tmp_path / "x.npy", mmap_mode="r")
    feed = Feed(Rows((stored, None)), y, batch=64, seed=0, device=CPU, memory=32 * 4 * 500)
    assert feed.kept.shape == (448, 32)  # whole batches of no more than 500 rows
    read = []
    whole = Rows.__getitem__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rows, "__getitem__", lambda rows, asked: read.append(len(asked)) or whole(rows, asked))
        for _ in feed.batches(0):
            pass
    assert sum(read) == 4000
    assert max(read) <= 448
    made = trained(stored, y, 10, PAIRS[:1], memory=32 * 4 * 500, epochs=8)
    exact = trained(x, y, 10, PAIRS[:1], epochs=8)
    rows = Rows((x, None)).normalised("l2")
    assert abs(made.accuracies(rows, y)[0] - exact.accuracies(rows, y)[0]) < 0.03


def test_scores_are_those_of_a_linear_layer() -> None:
    x, y = clusters(100, 16, 5)
    made = trained(x, y, 5, PAIRS[:2])
    rows = Rows((x, None)).normalised("l2")
    scores = made.decision(1, rows)
    by_hand = torch.from_numpy(rows[0:100]).double() @ made.weight[1].double() + made.bias[1].double()
    torch.testing.assert_close(scores, by_hand.float(), rtol=1e-4, atol=1e-4)
    assert made.accuracies(rows, y)[1] == pytest.approx(float((scores.argmax(1).numpy() == y).mean()))


def test_the_loss_and_its_gradient_are_torchs() -> None:
    draw = torch.Generator().manual_seed(0)
    z = (300 * torch.randn(3, 20, 7, generator=draw)).requires_grad_()  # far apart: some have no weight
    y = torch.randint(0, 7, (20,), generator=draw)
    losses = torch.stack([nn.functional.cross_entropy(one, y) for one in z])
    losses.sum().backward()
    loss, gradient = heads.cross_entropy(z.detach().clone(), y)
    torch.testing.assert_close(loss, losses.detach())
    torch.testing.assert_close(gradient, z.grad, rtol=1e-5, atol=1e-7)


def streamed(file: Path, what: str, memory_gb: float) -> subprocess.CompletedProcess[str]:
    """What the bench makes of a file with 0.2 GB of memory, where `memory_gb` of features may be kept."""
    settings = {"file": file, "child": what, "memory-gb": memory_gb, "room-gb": 0.2, "steps": 15, "products": "float32"}
    settings |= {"heads": 1, "iterations": 1}
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    return subprocess.run([sys.executable, ROOT / "tests/bench/stream.py", *words], capture_output=True, text=True)


def test_features_that_are_larger_than_memory_are_fitted(tmp_path: Path) -> None:
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float16, shape=(110_000, 512))
    x[:] = np.random.default_rng(0).random((1000, 512), np.float32)[np.arange(len(x)) % 1000]  # 225 MB as float32
    for what in ("heads", "logistic"):
        ran = streamed(tmp_path / "x.npy", what, 0.03)
        assert ran.returncode == 0, ran.stderr
        found = json.loads(ran.stdout.split("FOUND ")[1])
        assert 0 < found["own"] < 0.15
        assert found["passes"] > 0.1
    ran = streamed(tmp_path / "x.npy", "heads", 1.0)  # that would load it whole
    assert ran.returncode != 0
    assert "memory" in ran.stderr
