"""Semi-supervised fine-tuning: its grid, its schedule, its optimizer by hand, and which images are seen when."""

from __future__ import annotations

import copy
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from jobs import finetune
from jobs.lib import augment, examples, seeds
from jobs.lib.examples import Examples
from jobs.lib.images import Images, normalise
from jobs.lib.workspace import Workspace
from suite import adhoc
from suite.catalog import Catalog
from suite.cell import Cell

pytestmark = pytest.mark.usefixtures("one_thread")


def cell_of(known: Catalog, data: str = "digits", **settings: Any) -> Cell:
    cell = Cell(known.tasks["semi-short"], adhoc.dataset(data, known), known.model("pixels_8x8"), 0)
    return replace(cell, task=replace(cell.task, settings={**cell.task.settings, **settings}))


@pytest.mark.parametrize(("share", "a_epoch", "decay"), [("1percent", 51, 5e-4), ("10percent", 501, 1e-4)])
def test_the_published_grid_and_schedule(known: Catalog, share: str, a_epoch: int, decay: float) -> None:
    task = known.tasks[f"semi-{share}"]
    points = finetune.grid(task.settings)
    assert len(points) == 9
    assert points["lr 0.01 head x100"] == finetune.Tried(
        {"learning_rate": 0.01, "head_rate": 100.0}, rate=0.01, decay=decay, head=100.0
    )
    schedule = finetune.Schedule(task.settings, known.dataset(task.datasets[0]).counts["train"])
    assert (schedule.a_epoch, schedule.steps) == (a_epoch, 20 * a_epoch)
    at = [schedule.of(1.0, epoch * a_epoch) for epoch in (0, 11, 12, 15, 16, 19)]
    assert at == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04])
    assert schedule.of(1.0, 12 * a_epoch - 1) == 1


def test_rates_follow_the_batch(known: Catalog) -> None:
    settings = {**known.tasks["semi-1percent"].settings, "batch": 64}
    point = finetune.grid(settings)["lr 0.1 head x10"]
    assert (point.rate, point.head, point.decay) == (0.025, 10.0, 5e-4)


def test_fine_tuning_has_its_own_grid_and_schedule(known: Catalog) -> None:
    """Ericsson et al.: weight decays are divided by the learning rate."""
    points = finetune.grid(known.tasks["finetune"].settings)
    assert len(points) == 20
    assert points["lr 0.01 wd 0.001"] == finetune.Tried({"learning_rate": 0.01, "weight_decay": 1e-3}, 0.01, 0.1)
    schedule = finetune.Schedule(known.tasks["finetune"].settings, 1000)
    assert schedule.steps == 5000
    assert [schedule.of(0.1, step) for step in (0, 2500, 5000)] == pytest.approx([0.1, 0.05, 0], abs=1e-12)


def test_training_equals_a_naive_loop(known: Catalog) -> None:
    cell = cell_of(known, batch=250, epochs=2, drops=(1,), head_rates=(10.0,), published_batch=250)
    workspace = Workspace(known.store, cores=1)
    images = workspace.images(cell.dataset, "train")
    trainer = finetune.Trainer(cell, workspace)
    # A backbone that learns, too.
    torch.manual_seed(0)
    trainer.backbone = nn.Sequential(nn.Conv2d(3, 6, 8), nn.Flatten(), nn.BatchNorm1d(6))
    trainer.cell = replace(cell, model=replace(cell.model, dimension=6))
    network = copy.deepcopy(trainer.network()).train()
    rows = Examples.of(images, range(500))
    found = trainer.train("one", rows, finetune.grid(cell.task.settings)["lr 0.1 head x10"])

    groups = [{"params": network[0].parameters(), "lr": 0.1}, {"params": network[1].parameters(), "lr": 1.0}]
    sgd = torch.optim.SGD(groups, momentum=0.9, weight_decay=5e-4)
    made_by = cell.model.input.seen(cell.task.settings["view"])
    for step in range(4):
        if step == 2:
            for group in sgd.param_groups:
                group["lr"] /= 5
        order = seeds.generator(0, "order", "one", step // 2).permutation(500)[step % 2 * 250 :][:250]
        numbers = [(step * 250 + place, int(row)) for place, row in enumerate(order)]
        views = [augment.random_crop(images[row], made_by, seeds.generator(0, "crop", "one", number), (0.5, 1), False)
                 for number, row in numbers]  # fmt: skip
        x = normalise(torch.stack(views), made_by)
        loss = nn.functional.cross_entropy(network(x), torch.from_numpy(images.labels[order]))
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    torch.testing.assert_close(found.state_dict(), network.state_dict(), rtol=1e-3, atol=1e-4)


def test_the_grid_end_to_end(known: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held out is not trained on before the refit; test images are looked at once, at the end."""
    cell = cell_of(known)
    train, val, test = examples.split(cell, Workspace(known.store, cores=1))
    kept, held, tested = ({items(one)[row] for one, row in part.images} for part in (train, val, test))
    assert len(kept) + len(held) == 1442 and not kept & held
    seen: dict[str, list[str]] = {}
    order: list[str] = []
    augmented, read = finetune.Trainer._augmented, Images.__getitem__

    def noted(self: Any, run: str, rows: Examples, drawn: tuple[int, int]) -> Any:
        images, row = rows.images[drawn[1]]
        seen.setdefault(run, []).append(items(images)[row])
        return augmented(self, run, rows, drawn)

    monkeypatch.setattr(finetune.Trainer, "_augmented", noted)
    monkeypatch.setattr(Images, "__getitem__", lambda self, row: order.append(items(self)[row]) or read(self, row))
    found = finetune.run(cell, Workspace(known.store, cores=1))
    tried = found.details["validation"]
    assert list(tried) == [f"lr {rate} head x{head}" for rate in ("0.01", "0.1") for head in (1, 10)]
    assert all(kept == set(seen[run]) for run in tried)  # an epoch and a bit
    assert set(seen["refit"]) == kept | held
    assert len(order[-355:]) == len(set(order[-355:])) and set(order[-355:]) == tested
    assert not tested & set(order[:-355])
    best = max(tried, key=tried.get)
    assert f"lr {found.settings['learning_rate']:g} head x{found.settings['head_rate']:g}" == best
    values = {metric.name: metric.value for metric in found.metrics}
    assert set(values) == {"top1", "mean_per_class", "top5"}
    assert 0.5 < values["top1"] < values["top5"] <= 1
    assert [metric.name for metric in found.metrics if metric.headline] == ["top1"]


def test_a_class_with_one_image_is_trained_on_from_the_start(known: Catalog, tmp_path: Path) -> None:
    root = Path(shutil.copytree(known.store.data / "digits", tmp_path / "mine"))
    for path in sorted((root / "train" / "9").iterdir())[1:]:
        path.unlink()
    cell = cell_of(known, str(root))
    train, val, _ = examples.split(cell, Workspace(known.store, cores=1))
    assert int((train.labels == 9).sum()) == 1
    assert int((val.labels == 9).sum()) == 0
    counts = torch.bincount(val.labels)[:9]
    each = torch.bincount(train.labels)[:9] + counts
    assert counts.tolist() == [math.floor(0.2 * int(n)) for n in each]


def test_top5_by_hand(known: Catalog) -> None:
    scores = torch.tensor([[6.0, 5, 4, 3, 2, 1]] * 4)
    (metric,) = finetune._top5(scores, torch.tensor([0, 4, 5, 5]), cell_of(known))
    assert (metric.name, metric.value, metric.n, metric.headline) == ("top5", 0.5, 4, False)


def items(images: Images) -> list[str]:
    return list(images.items)
