"""Linear heads on augmented views: against a naive loop, killed and resumed, in two ranks; what is seen when."""

from __future__ import annotations

import copy
import json
import math
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pretrain.two import two
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as reference

from jobs import online
from jobs.lib import augment, checkpoint, colour, interrupt, seeds
from jobs.lib.examples import Examples, Order
from jobs.lib.failure import BadTask, Diverged
from jobs.lib.images import Images, normalise, prepare
from jobs.lib.interrupt import Interrupted
from jobs.lib.layers import Layers
from jobs.lib.loop import Loop
from jobs.lib.ranks import Ranks
from jobs.lib.rate import Rate
from jobs.lib.workspace import Workspace
from jobs.online import Probe
from suite import adhoc
from suite.catalog import Catalog
from suite.cell import Cell
from suite.model import Input
from suite.result import Outcome

pytestmark = pytest.mark.usefixtures("one_thread")
PIXELS, RESNET = "pixels_8x8", "random-32px_timm-test_resnet"
MADE_BY = Input(size=224, resize=256, interpolation="bilinear")


@pytest.fixture
def few(known: Catalog, tmp_path: Path) -> str:
    """200 digits to train on and 50 for the test."""
    for split, count in (("train", 20), ("test", 5)):
        for digit in "0123456789":
            (tmp_path / "few" / split / digit).mkdir(parents=True)
            for path in sorted((known.store.data / "digits" / split / digit).iterdir())[:count]:
                shutil.copy(path, tmp_path / "few" / split / digit)
    return str(tmp_path / "few")


def cell_of(known: Catalog, task: str, model: str = PIXELS, data: str = "digits", **settings: Any) -> Cell:
    cell = Cell(known.tasks[f"linear-{task}"], adhoc.dataset(data, known), adhoc.model(model, known), 0)
    task_as_run = replace(cell.task, settings={**cell.task.settings, **settings}, checkpoint_seconds=0.0)
    return replace(cell, task=task_as_run)


def run(known: Catalog, cell: Cell, ranks: Ranks | None = None) -> Outcome:
    return online.run(cell, Workspace(known.store, cores=1, ranks=ranks))


def probe_of(known: Catalog, cell: Cell) -> Probe:
    workspace = Workspace(known.store, cores=1)
    return Probe(cell, workspace, Examples.of(workspace.images(cell.dataset, "train")))


def values(outcome: Outcome) -> dict[str, float]:
    return {metric.name: metric.value for metric in outcome.metrics}


def naive_lars(parameters: list[Tensor], moving: list[Tensor], rate: float) -> None:
    """Without weight decay; biases have no rate of their own."""
    for p, m in zip(parameters, moving, strict=True):
        local = 0.001 * p.norm() / p.grad.norm() if p.ndim > 1 else 1.0
        m.mul_(0.9).add_(local * p.grad)
        p.data.sub_(rate * m)


@pytest.mark.parametrize(
    ("task", "model"), [("multihead-short", RESNET), ("moco-short", PIXELS), ("mae-short", PIXELS)]
)
def test_heads_equal_a_naive_loop(known: Catalog, few: str, task: str, model: str) -> None:
    """The same views in the same order; torch's own layers and SGD, LARS as its paper has it; drops after 2 epochs."""
    cell = cell_of(known, task, model, few, batch=100, epochs=3)  # two steps an epoch
    probe, s = probe_of(known, cell), cell.task.settings
    heads = copy.deepcopy(probe.heads)
    probe.train()

    images = Workspace(known.store, cores=1).images(cell.dataset, "train")
    made_by = cell.model.input.seen(s["view"])
    network: nn.Module = Workspace(known.store).backbone(cell.model).network
    giver = Layers(network, cell.model.architecture) if s["layers"] == "all" else lambda x: [network(x)]
    many = {"lr": s["learning_rate"] * 100 / 64, "momentum": 0.9, "weight_decay": s["weight_decay"]}
    sgd = torch.optim.SGD(heads.parameters(), nesterov=s["layers"] == "all", **many)
    moving = [torch.zeros_like(p) for p in heads.parameters()]
    for step in range(6):
        order = seeds.generator(0, "order", step // 2).permutation(200)
        x, y = [], []
        for place in range(100):
            number, row = step * 100 + place, int(order[step % 2 * 100 + place])
            draw = seeds.generator(0, "view", number)
            view = augment.random_crop(images[row], made_by, draw, (0.5, 1.0), False).float()
            if s["lighting"]:
                colour.jitter(view, (0.4, 0.4, 0.4, 0.0), draw)
                view = view.round() + colour.lighting(draw, 0.1).view(3, 1, 1)
            x.append(normalise(view[None], made_by)[0])
            y.append(int(images.labels[row]))
        with torch.no_grad():
            features = giver(torch.stack(x))
        loss = sum(nn.functional.cross_entropy(h(f), torch.tensor(y)) for h, f in zip(heads, features, strict=True))
        heads.zero_grad()
        loss.backward()
        if task == "mae-short":
            rate = step / 2 if step < 2 else (1 + math.cos(math.pi * (step - 2) / 4)) / 2
            naive_lars(list(heads.parameters()), moving, many["lr"] * rate)
        else:
            for group in sgd.param_groups:
                group["lr"] = many["lr"] * (0.1 if step >= 4 else 1)
            sgd.step()
    torch.testing.assert_close(probe.heads.state_dict(), heads.state_dict(), rtol=1e-3, atol=1e-5)
    assert not torch.equal(probe.heads[0][-1].weight, probe_of(known, replace(cell, seed=1)).heads[0][-1].weight)


def test_the_backbone_does_not_change(known: Catalog, few: str) -> None:
    cell = cell_of(known, "multihead-short", RESNET, few, epochs=1)
    workspace = Workspace(known.store, cores=1)
    network = workspace.backbone(cell.model).network
    before = copy.deepcopy(network.state_dict())
    assert any("running_mean" in name for name in before)
    online.run(cell, workspace)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())


PUBLISHED = {  # images of the training set; steps an epoch, epochs, and the learning rate at the start of some epochs
    "multihead": ("imagenet1k", 5005, 90, {0: 0.01, 29: 0.01, 30: 0.001, 60: 0.0001, 89: 0.0001}),
    "multihead-places": ("places205", 9566, 28, {0: 0.01, 7: 0.001, 14: 1e-4, 21: 1e-5, 27: 1e-5}),
    "multihead-inat": ("inat2018", 1710, 84, {0: 0.01, 23: 0.01, 24: 0.001, 48: 1e-4, 72: 1e-5}),
    "moco": ("imagenet1k", 5005, 100, {0: 30.0, 59: 30.0, 60: 3.0, 80: 0.3}),
    "simsiam": ("imagenet1k", 313, 90, {0: 1.6, 30: 1.2, 45: 0.8, 60: 0.4}),
    "swav": ("imagenet1k", 5005, 100, {0: 0.3, 50: 0.15}),
    "moco-v3": ("imagenet1k", 1252, 90, {0: 12.0, 45: 6.0}),
    "moco-v3-resnet": ("imagenet1k", 1252, 90, {0: 0.4, 60: 0.1}),
    "mae": ("imagenet1k", 79, 90, {0: 0.0, 5: 3.2, 10: 6.4, 50: 3.2}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_learning_rates_are_as_published(known: Catalog, name: str) -> None:
    dataset, steps, epochs, rates = PUBLISHED[name]
    task = known.tasks[f"linear-{name}"]
    assert task.datasets == (dataset,)
    images, s = known.dataset(dataset).counts["train"], task.settings
    rate = Rate(s, -(-images // s["batch"]))
    assert (rate.a_epoch, rate.steps) == (steps, steps * epochs)
    assert [rate.at(epoch * steps) for epoch in rates] == pytest.approx(list(rates.values()))
    halved = Rate({**s, "batch": s["batch"] // 2}, steps)
    assert halved.at(45 * steps) == pytest.approx(rate.at(45 * steps) / 2)


@pytest.mark.parametrize(("every", "different"), [("epoch", 3), ("step", 6)])
def test_a_cosine_goes_by_epochs_or_by_steps(
    known: Catalog, few: str, monkeypatch: pytest.MonkeyPatch, every: str, different: int
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Loop, "after", lambda self, step, loss, more="": said.append(more))
    probe_of(known, cell_of(known, "moco-short", data=few, batch=100, schedule="cosine", rate_every=every)).train()
    assert len(said) == 6
    assert len(set(said)) == different


def test_killed_and_resumed_equals_unbroken(known: Catalog, few: str) -> None:
    cell = cell_of(known, "multihead-short", RESNET, few, batch=100, epochs=2)
    unbroken = values(run(known, cell))
    saved = known.store.results / cell.key / checkpoint.NAME
    expected = torch.load(saved, weights_only=True)["state"]["parts"]
    saved.unlink()

    def dying() -> None:
        torch.set_num_threads(1)
        move, left = os.replace, [3]

        def replaced(aside: Any, to: Any) -> None:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            move(aside, to)

        os.replace = replaced  # type: ignore[assignment]
        run(known, cell)

    process = multiprocessing.get_context("fork").Process(target=dying)
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert torch.load(saved, weights_only=True)["state"]["step"] == 2
    assert values(run(known, cell)) == unbroken
    found = torch.load(saved, weights_only=True)["state"]["parts"]
    assert all(torch.equal(expected["heads"][name], tensor) for name, tensor in found["heads"].items())


def test_asked_to_go_it_saves_and_goes_on(known: Catalog, few: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = cell_of(known, "moco-short", data=few, batch=100)
    unbroken = values(run(known, cell))
    (known.store.results / cell.key / checkpoint.NAME).unlink()
    for _ in range(2):
        monkeypatch.setattr(interrupt, "_asked", True)
        with pytest.raises(Interrupted, match="checkpoint saved: step"):
            run(known, cell)
    monkeypatch.setattr(interrupt, "_asked", False)
    assert values(run(known, cell)) == unbroken


def test_two_ranks_equal_one(known: Catalog, few: str) -> None:
    cell = cell_of(known, "multihead-short", RESNET, few, batch=51, epochs=1)  # 25 and 26 images

    def trained(ranks: Ranks) -> tuple[Any, Any]:
        workspace = Workspace(known.store, cores=1, ranks=ranks)
        probe = Probe(cell, workspace, Examples.of(workspace.images(cell.dataset, "train")))
        probe.train()
        state = {name: tensor.clone() for name, tensor in probe.heads.state_dict().items()}
        return state, probe.guesses(Examples.of(workspace.images(cell.dataset, "test")))

    pair = two(trained)
    (known.store.results / cell.key / checkpoint.NAME).unlink()
    state, guesses = trained(Ranks())
    for found, its in pair:
        torch.testing.assert_close(found, state, rtol=1e-3, atol=1e-4)
        assert (its != guesses).double().mean() < 0.03
    assert torch.equal(pair[0][1], pair[1][1])


def test_test_images_are_looked_at_once_and_last(
    known: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train and validation images are trained on, since nothing is chosen."""
    root = Path(shutil.copytree(known.store.data / "digits", tmp_path / "mine"))
    for digit in range(10):
        (root / "val" / str(digit)).mkdir(parents=True)
        for path in sorted((root / "train" / str(digit)).iterdir())[:4]:
            path.rename(root / "val" / str(digit) / path.name)
    cell, seen = cell_of(known, "moco-short", data=str(root), epochs=1), []
    read = Images.__getitem__
    monkeypatch.setattr(Images, "__getitem__", lambda self, row: seen.append(self.items[row]) or read(self, row))
    found = run(known, cell)
    assert found.details["images"] == {"train": 1442, "test": 355}
    trained, tested = seen[:-355], seen[-355:]
    assert {name.split("/")[0] for name in trained} == {"train", "val"}
    assert {name.split("/")[0] for name in tested} == {"test"} and len(set(tested)) == 355
    assert len(trained) == 23 * 64 and len(set(trained)) == 1442  # an epoch, filled up with 30 of the next


def test_five_heads_on_photos_as_published(known: Catalog, shared: Path, tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        for label in ("ants", "bees"):
            to = tmp_path / "few" / ("test" if split == "val" else split) / label
            to.mkdir(parents=True)
            for path in sorted((shared / "hymenoptera_mini" / split / label).iterdir())[:count]:
                shutil.copy(path, to)
    cell = cell_of(known, "multihead", "random_resnet18", str(tmp_path / "few"), batch=6, epochs=2)
    found = run(known, cell)
    assert found.details["dimensions"] == [9216, 2304, 2048, 2304, 2048]
    assert found.details["schedule"]["run"]["steps"] == 2
    assert [metric.name for metric in found.metrics if metric.headline] == ["top1_feat5"]
    assert {metric.name for metric in found.metrics} >= {f"top1_feat{n}" for n in range(1, 6)}
    assert {metric.n for metric in found.metrics} == {4}


def test_the_test_view_is_resized_by_the_published_ratio(known: Catalog) -> None:
    made_by = known.model("random_resnet18").input
    for name, interpolation in (("moco", "bilinear"), ("mae", "bicubic")):
        view = known.tasks[f"linear-{name}"].settings["view"]
        seen = replace(made_by, resize=232, interpolation="nearest").seen(view)
        assert (seen.size, seen.resize, seen.interpolation) == (224, 256, interpolation)


def test_heads_learn(known: Catalog) -> None:
    found = values(run(known, cell_of(known, "moco-short", epochs=6, drops=(4,))))
    assert found["top1"] > 0.8


def test_half_precision_gives_near_heads(known: Catalog, few: str) -> None:
    told = {}
    for precision in ("float32", "bfloat16"):
        cell = cell_of(known, "multihead-short", RESNET, few, batch=100, precision=precision)
        probe = probe_of(known, cell)
        probe.train()
        told[precision] = probe.heads[4][-1].weight.detach()
    drift = (told["float32"] - told["bfloat16"]).norm() / told["float32"].norm()
    assert 0 < drift < 0.1


def test_what_cannot_be_probed_is_refused(known: Catalog) -> None:
    with pytest.raises(BadTask, match="five layers"):
        run(known, cell_of(known, "multihead-short", "random-32px_timm-convnext_atto"))
    with pytest.raises(BadTask, match="a batch of 1 is too small for 2 ranks"):
        workspace = Workspace(known.store, cores=1, ranks=Ranks(0, 2))
        Probe(cell_of(known, "moco-short", batch=1), workspace, Examples([], torch.zeros(0)))


def test_what_diverges_is_told(known: Catalog) -> None:
    with pytest.raises(Diverged, match=r"the loss is (nan|inf) at step"):
        run(known, cell_of(known, "moco-short", learning_rate=1e38))


def test_scores_that_are_no_numbers_are_told(known: Catalog) -> None:
    probe = probe_of(known, cell_of(known, "moco-short"))
    nn.init.constant_(probe.heads[0][0].bias, math.nan)
    with pytest.raises(Diverged, match="scores of 1442 of 1442 images are not a number"):
        probe.guesses(probe.images)


def test_metrics_of_each_head_by_hand(known: Catalog) -> None:
    cell = cell_of(known, "moco-short")
    guesses = torch.tensor([[0, 0], [0, 0], [0, 0], [1, 0]])
    found = online.evaluate(guesses, torch.tensor([0, 0, 0, 1]), ("a", "b"), cell)
    assert {metric.name: metric.value for metric in found} == {
        "top1_a": 1.0,
        "mean_per_class_a": 1.0,
        "top1_b": 0.75,
        "mean_per_class_b": 0.5,
    }
    assert [metric.name for metric in found if metric.headline] == ["top1_b"]


def photo(height: int, width: int) -> np.ndarray:
    draw = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(draw).resize((width, height)))


def test_a_random_place_is_one_of_the_central_square() -> None:
    image = photo(300, 400)
    square = prepare(image, replace(MADE_BY, size=256))
    offsets, flips = set(), 0
    for number in range(60):
        view = augment.random_place(image, MADE_BY, seeds.generator(0, number), True)
        assert view.shape == (3, 224, 224)
        # the same draws, by hand
        draw = seeds.generator(0, number)
        top, left = draw.integers(33, size=2)
        part = square[:, top : top + 224, left : left + 224]
        flipped = draw.random() < 0.5
        flips += flipped
        assert torch.equal(view, reference.horizontal_flip(part) if flipped else part)
        offsets |= {int(top), int(left)}
    assert min(offsets) == 0 and max(offsets) == 32
    assert 15 < flips < 45


def test_lighting_is_along_the_components_of_imagenets_colours() -> None:
    """Red, green and blue of a draw by hand, and the spread of many."""
    a = seeds.generator(0, "light").normal(0, 0.1, 3)
    red = 255 * (-0.5675 * 0.2175 * a[0] + 0.7192 * 0.0188 * a[1] + 0.4009 * 0.0045 * a[2])
    blue = 255 * (-0.5836 * 0.2175 * a[0] - 0.6948 * 0.0188 * a[1] + 0.4203 * 0.0045 * a[2])
    light = colour.lighting(seeds.generator(0, "light"), 0.1)
    assert light[[0, 2]].tolist() == pytest.approx([red, blue], rel=1e-5)
    draw = seeds.generator(0, "many")
    many = torch.stack([colour.lighting(draw, 0.1) for _ in range(4000)])
    assert many.std(0).tolist() == pytest.approx([25.5 * 0.2175 * 0.57] * 3, rel=0.05)
    assert torch.corrcoef(many.T).min() > 0.95
    assert not colour.lighting(draw, 0.0).any()
    assert np.allclose(colour.COMPONENTS.T @ colour.COMPONENTS, np.eye(3), atol=1e-3)


def test_order_is_a_permutation_an_epoch() -> None:
    order = Order(5, 0, "order")
    drawn = [order(number) for number in range(15)]
    assert all(sorted(drawn[at : at + 5]) == [0, 1, 2, 3, 4] for at in (0, 5, 10))
    assert len({tuple(drawn[at : at + 5]) for at in (0, 5, 10)}) > 1
    assert [Order(5, 0, "order")(number) for number in (14, 3)] == [drawn[14], drawn[3]]


def test_settings_survive_json(known: Catalog) -> None:
    for name, task in known.tasks.items():
        if task.program == "online":
            json.dumps(dict(task.settings))
            assert task.kinds == ("classification",), name
