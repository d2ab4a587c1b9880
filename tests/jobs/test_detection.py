"""Detection: what a detector is shown, that a killed run ends as an unbroken one, and that frozen is frozen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from detecting import MODEL, TINY, cell_of, trainer
from PIL import Image
from pycocotools import mask as codes
from torch import Tensor, nn

from jobs import detection
from jobs.lib import backbone, failure
from jobs.lib.failure import BadData, Diverged
from jobs.lib.found import from_coco
from jobs.lib.freeze import freeze
from jobs.lib.pyramid import anchors
from jobs.lib.training import Schedule
from jobs.lib.view import View, Views, moments
from jobs.lib.workspace import Workspace
from suite.catalog import Catalog, random_init
from suite.index import Split, Thing
from suite.model import Input
from suite.store import Store
from suite.tasks.detection import COCO, COCO_FPN, DETECTION, FINETUNE, FROZEN, LITE, SHORT_FPN, SHORT_LITE

RUN = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from jobs import detection
from jobs.lib import interrupt
from jobs.lib.interrupt import Interrupted
from jobs.lib.ranks import Ranks
from jobs.lib.workspace import Workspace
from suite.catalog import Catalog
from suite.store import Store
interrupt.listen()
store, settings, key = Store(Path(sys.argv[1])), json.loads(sys.argv[2]), sys.argv[3]
rank, count = int(sys.argv[4]), int(sys.argv[5])
cell = Catalog(store).cell(key)
cell = replace(cell, task=replace(cell.task, settings={**cell.task.settings, **settings}, checkpoint_seconds=0.0))
ranks = Ranks(rank, count, rank, Path(sys.argv[6])) if count > 1 else Ranks()
ranks.start(key) if rank == 0 else ranks.next()
workspace = Workspace(store, cores=1, ranks=ranks)
torch.set_num_threads(1)
try:
    found = detection.run(cell, workspace)
except Interrupted as left:
    print("LEFT", left, flush=True)
    sys.exit(75)
if rank == 0:
    (workspace.folder(cell) / "checkpoint.pt").unlink()  # as when the result is there
    print("FOUND", json.dumps([[m.name, m.value, m.low, m.high] for m in found.metrics]), flush=True)
ranks.leave()
"""


def process(store: Store, key: str, rank: int = 0, ranks: int = 1, **settings: Any) -> subprocess.Popen[str]:
    words = [str(store.root), json.dumps({**TINY, **settings}), key, str(rank), str(ranks), str(store.root / "meet")]
    return subprocess.Popen([sys.executable, "-c", RUN, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def outcome(told: str) -> Any:
    return json.loads(told.split("FOUND ")[1])


# ---- what a detector is shown


def photo(folder: Path, width: int, height: int, things: list[Thing], name: str = "a.png", **more: Any) -> Views:
    pixels = np.zeros((height, width, 3), np.uint8)
    for thing in things:
        left, top, right, bottom = (round(side) for side in thing.box)
        pixels[top:bottom, left:right] = 50 + thing.label
    Image.fromarray(pixels).save(folder / name)
    return Views(folder, Split([name], [things], [(width, height)], [name]), **more)


def sizes(short: tuple[int, ...]) -> dict[str, Any]:
    return {"short_sides": short, "longest_side": 1000, "flip": True}


@pytest.mark.parametrize(
    ("size", "short", "to"), [((100, 50), 100, (200, 100)), ((50, 100), 100, (100, 200)), ((400, 100), 100, (320, 80))]
)
def test_the_shorter_side_is_resized_unless_the_longer_gets_too_long(
    size: tuple[int, int], short: int, to: tuple[int, int], tmp_path: Path
) -> None:
    view = photo(tmp_path, *size, [Thing(0, (10, 10, 30, 40))]).test(0, short, 320)
    assert view.image.shape == (3, to[1], to[0])
    assert view.size == size
    assert len(view.boxes) == 0  # the test shows no things


def test_boxes_go_where_their_pixels_go(tmp_path: Path) -> None:
    things = [Thing(7, (10, 20, 30, 40)), Thing(9, (60, 5, 100, 25), difficult=True)]
    views = photo(tmp_path, 100, 50, [*things, Thing(1, (70, 40, 90, 48), crowd=True), Thing(2, (99.5, 0, 120, 9))])
    flipped = set()
    for number in range(8):
        view = views.train(0, np.random.default_rng(number), sizes((100, 150)))
        scale = view.image.shape[-1] / 100
        assert view.labels.tolist() == [7, 9, 2]  # no crowd
        assert view.boxes[:, 2].max() <= view.image.shape[-1]
        flipped.add(bool(view.boxes[0, 0] > view.boxes[1, 0]))
        for (left, top, right, bottom), value in zip(view.boxes[:2].tolist(), (57, 59), strict=True):
            inside = view.image[0, round(top) + 1 : round(bottom) - 1, round(left) + 1 : round(right) - 1]
            assert (inside == value).float().mean() > 0.99
        assert (view.boxes[0, 2] - view.boxes[0, 0]).item() == pytest.approx(20 * scale)
    assert flipped == {False, True}


def test_masks_go_where_their_boxes_go(tmp_path: Path) -> None:
    drawn = np.zeros((50, 100), np.uint8, order="F")
    drawn[20:40, 10:30] = 1
    code = codes.encode(drawn)
    counts: list[int] = []
    last = 0
    for value in drawn.T.ravel().tolist():  # the code that COCO's files have for crowds
        if not counts or value != last:
            counts += [0] if counts or not value else [0, 0]
        counts[-1] += 1
        last = value
    masks = [[[10, 20, 30, 20, 30, 40, 10, 40]], code, {"size": [50, 100], "counts": counts}]
    things = [Thing(0, (10, 20, 30, 40), mask=mask) for mask in masks]
    views = photo(tmp_path, 100, 50, [*things, Thing(0, (1, 1, 9, 9))], masks=True)
    for number in range(4):
        view = views.train(0, np.random.default_rng(number), sizes((100,)))
        assert view.masks is not None
        assert len(view.masks) == len(view.boxes) == 3  # what has no mask is left out
        left, top, right, bottom = view.boxes[0].tolist()
        (polygon,) = view.masks[0]
        assert [polygon[0::2].min(), polygon[1::2].min(), polygon[0::2].max(), polygon[1::2].max()] == [
            left, top, right, bottom,
        ]  # fmt: skip
        for pixels in view.masks[1:]:
            down, across = np.nonzero(pixels)
            assert [across.min(), down.min(), across.max() + 1, down.max() + 1] == [left, top, right, bottom]


def test_channels_come_in_the_models_order(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10), (200, 100, 50)).save(tmp_path / "a.png")
    view = Views(tmp_path, Split(["a.png"], [[]], [(10, 10)])).test(0, 10, 100)
    rgb, bgr = (
        Input(mean=(0.1, 0.2, 0.4), std=(1, 0.5, 0.25)),
        Input(mean=(0.1, 0.2, 0.4), std=(1, 0.5, 0.25), channels="BGR"),
    )
    assert view.pixels(rgb)[:, 0, 0].tolist() == [200, 100, 50]
    assert view.pixels(bgr)[:, 0, 0].tolist() == [50, 100, 200]
    assert moments(rgb) == ([25.5, 51.0, 102.0], [255.0, 127.5, 63.75])
    assert moments(bgr) == ([102.0, 51.0, 25.5], [63.75, 127.5, 255.0])


def test_an_image_that_is_not_what_its_annotation_says(tmp_path: Path) -> None:
    views = photo(tmp_path, 100, 50, [])
    views.split.sizes[0] = (50, 100)
    with pytest.raises(BadData, match=r"a.png is 100 x 50, but its annotation says 50 x 100"):
        views.test(0, 100, 1000)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadData, match=r"a.png cannot be decoded"):
        views.test(0, 100, 1000)


# ---- protocols


def test_learning_rate_and_length_follow_the_batch() -> None:
    published = Schedule(DETECTION.settings)
    assert (published.rate, published.steps, published.drops) == (0.02, 24_000, [18_000, 22_000])
    assert [published.at(step) for step in (0, 50, 100, 17_999, 18_000, 22_000)] == pytest.approx(
        [0.02 * 0.001, 0.02 * 0.5005, 0.02, 0.02, 0.002, 0.0002]
    )
    fewer = Schedule({**DETECTION.settings, "batch": 2})
    assert (fewer.rate, fewer.steps, fewer.drops, fewer.warmup) == (0.0025, 192_000, [144_000, 176_000], 800)
    assert fewer.told["published"] == {
        "batch": 16, "learning_rate": 0.02, "iterations": 24_000, "drops": (18_000, 22_000), "warmup": 100,
    }  # fmt: skip
    assert fewer.told["run"]["batch"] == 2


def test_protocols_are_as_published() -> None:
    for task, batch, rate, steps, drops, frozen, norm in [
        (DETECTION, 16, 0.02, 24_000, (18_000, 22_000), 0, "batch"),
        (FINETUNE, 2, 0.0025, 144_000, (96_000, 128_000), 0, "frozen"),
        (FROZEN, 2, 0.0025, 144_000, (96_000, 128_000), 4, "frozen"),
        (COCO, 16, 0.02, 180_000, (120_000, 160_000), 0, "batch"),
        (COCO_FPN, 16, 0.02, 90_000, (60_000, 80_000), 0, "batch"),
    ]:
        s = task.settings
        assert (s["batch"], s["learning_rate"], s["iterations"], s["drops"]) == (batch, rate, steps, drops)
        assert (s["frozen_stages"], s["norm"], task.needs, task.image) == (frozen, norm, ("detectron2",), "detection")
    assert [task.settings["masks"] for task in (DETECTION, FINETUNE, COCO, COCO_FPN, LITE)] == [0, 0, 1, 1, 0]
    assert {task.settings["engine"] for task in (LITE, SHORT_LITE)} == {"torchvision"}
    assert (LITE.needs, LITE.image) == ((), "core")
    assert SHORT_FPN.settings == {**SHORT_LITE.settings, "engine": "detectron2"}


# ---- training


def test_order_is_a_function_of_the_step_and_a_batch_of_one_orientation(catalog: Catalog) -> None:
    made = trainer(catalog, cell_of(catalog))
    views = made.rows[0][0]
    for at in range(0, len(made.rows), 3):
        views.split.sizes[at] = (48, 64)
    whole = list(made._order(0, 60))
    assert list(made._order(17, 60)) == whole[17:]
    tall = [[views.split.sizes[row][0] < views.split.sizes[row][1] for _, row in batch] for batch in whole]
    assert all(len(set(batch)) == 1 for batch in tall)
    numbers = [number for batch in whole for number, _ in batch]
    assert len(set(numbers)) == len(numbers) == 240
    rows = [row for batch in whole[:20] for _, row in batch]
    assert len(set(rows)) > 70  # most of the first 80 are of the first epoch of 96


def test_killed_and_resumed_equals_unbroken(catalog: Catalog, tmp_path: Path) -> None:
    key = f"detection-lite-short-v1/digit-scenes/{MODEL}/0"
    unbroken = outcome(process(catalog.store, key).communicate(timeout=300)[0])
    kept = (catalog.store.results / key / detection.PREDICTIONS).read_text()
    (catalog.store.results / key / detection.PREDICTIONS).unlink()
    one = process(catalog.store, key)
    assert one.stdout is not None
    checkpoint = catalog.store.results / key / "checkpoint.pt"
    while not checkpoint.exists():
        assert one.poll() is None
    os.kill(one.pid, signal.SIGKILL)
    one.communicate()
    one = process(catalog.store, key)
    assert one.stdout is not None
    while "goes on from step" not in (line := one.stdout.readline()):
        assert line
    os.kill(one.pid, signal.SIGUSR2)
    assert "LEFT checkpoint saved" in one.communicate(timeout=300)[0]
    told = process(catalog.store, key).communicate(timeout=300)[0]
    assert "goes on from step" in told
    assert outcome(told) == unbroken
    assert (catalog.store.results / key / detection.PREDICTIONS).read_text() == kept
    names = [name for name, *_ in unbroken]
    assert names[:3] == ["ap", "ap50", "ap75"]


def test_two_ranks_give_the_numbers_of_one(catalog: Catalog) -> None:
    """One step, so that sums in another order have not yet grown; what is found differs in the last digits only."""
    key, short = f"detection-lite-short-v1/digit-scenes/{MODEL}/0", {"iterations": 1, "rois": 10_000, "norm": "frozen"}
    alone = process(catalog.store, key, **short).communicate(timeout=300)[0]
    kept = json.loads((catalog.store.results / key / detection.PREDICTIONS).read_text())
    ran = [process(catalog.store, key, rank, 2, **short) for rank in (0, 1)]
    told = [one.communicate(timeout=300)[0] for one in ran]
    again = json.loads((catalog.store.results / key / detection.PREDICTIONS).read_text())
    assert [metric[0] for metric in outcome(told[0])] == [metric[0] for metric in outcome(alone)]
    assert "FOUND" not in told[1]
    assert [one["image_id"] for one in again] == sorted(one["image_id"] for one in again)
    assert {one["image_id"] for one in again} == {one["image_id"] for one in kept}


def test_images_are_looked_at_before_training(catalog: Catalog, tmp_path: Path) -> None:
    made = trainer(catalog, cell_of(catalog, iterations=1))
    train, test = (photo(tmp_path, 60, 40, [Thing(0, (1, 1, 9, 9))], name) for name in ("a.jpg", "b.jpg"))
    made.check(train, test)
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[:-40])
    with pytest.raises(BadData, match=r"b.jpg cannot be decoded"):
        made.check(train, test)
    made.check(test, train)  # of what is trained on, the header
    train.split.sizes[0] = (40, 60)
    with pytest.raises(BadData, match=r"a.jpg is 60 x 40, but its annotation says 40 x 60"):
        made.check(train, test)


def test_frozen_stages_of_other_networks() -> None:
    for name, still in (
        ("timm:vit_tiny_patch16_224", 1.0),
        ("vit_b_32", 1.0),
        ("mobilenet_v2", 0.3),
        ("inception_v3", 0.3),
    ):
        network = freeze(backbone.build(random_init(name)), name, 4, False)
        parts = [not p.requires_grad for p in network.parameters()]
        assert sum(parts) / len(parts) >= still * 0.95, name
        assert still == 1.0 or not all(parts)


def test_anchors_go_with_strides() -> None:
    sizes = FINETUNE.settings["anchors"]
    assert anchors(sizes, (4, 8, 16, 32, 64)) == [32, 64, 128, 256, 512]
    assert anchors(sizes, (8, 16, 32, 64)) == [64, 128, 256, 512]
    assert anchors(sizes, (32, 64, 128)) == [256, 512, 1024]


@pytest.mark.parametrize("stages", [0, 4])
def test_what_is_frozen_stays_to_the_bit(catalog: Catalog, stages: int) -> None:
    settings = {"norm": "frozen", "frozen_stages": stages}
    made = trainer(catalog, cell_of(catalog, model="random-32px_resnet18", iterations=2, **settings))
    before = {name: tensor.clone() for name, tensor in made.learner.state_dict().items()}
    made.train()
    changed = {name for name, tensor in made.learner.state_dict().items() if not torch.equal(tensor, before[name])}
    own = {name.split("maps.network.")[1] for name in changed if "maps.network." in name}
    parts = {name.split(".")[0] for name in own}
    assert parts == ({"layer4"} if stages else {"conv1", "layer1", "layer2", "layer3", "layer4"})
    assert not any("bn" in name or "downsample.1" in name for name in own)
    assert any("rpn" in name for name in changed)


def test_norms_are_measured_anew_before_the_test(catalog: Catalog) -> None:
    made = trainer(catalog, cell_of(catalog, model="random-32px_resnet18", iterations=2, precise_bn=3))
    norm = next(m for m in made.learner.modules() if isinstance(m, nn.BatchNorm2d))
    means: list[Tensor] = []
    norm.register_forward_pre_hook(lambda _, given: means.append(given[0].mean((0, 2, 3))))
    made.train()
    assert len(means) == 5
    torch.testing.assert_close(norm.running_mean, torch.stack(means[2:]).mean(0))
    assert norm.momentum == 0.1


def test_without_room_a_step_is_taken_in_turns(catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"norm": "frozen", "iterations": 1, "rois": 10_000}
    cell = cell_of(catalog, model="random-32px_resnet18", **settings)
    whole, turns = (trainer(catalog, cell) for _ in range(2))
    views = next(iter(whole._batches(0, 1)))
    shown: list[int] = []

    def small(these: Sequence[View], losses: Callable[[Sequence[View]], Any]) -> Any:
        shown.append(len(these))
        if len(these) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses(these)

    for made in (whole, turns):
        parameter = next(p for p in made.learner.parameters() if p.requires_grad)
        part = partial(
            lambda these, p: {"x": p.sum() * torch.stack([v.image.float().mean() for v in these]).mean()}, p=parameter
        )
        made.learner.losses = part if made is whole else partial(small, losses=part)  # type: ignore[method-assign]
    one, other = whole._gradients(0, views), turns._gradients(0, views)
    assert shown == [4, 2, 1, 1, 1, 1]
    mine, its = (next(p for p in made.learner.parameters() if p.requires_grad).grad for made in (whole, turns))
    torch.testing.assert_close(mine, its)
    assert turns.details["images_at_once"] == 1
    assert "out of GPU memory: from now on 2 images at once" in capsys.readouterr().out
    torch.testing.assert_close(one, other)
    turns.learner.losses = lambda these: (_ for _ in ()).throw(torch.OutOfMemoryError("x"))  # type: ignore
    with pytest.raises(torch.OutOfMemoryError):
        turns._gradients(0, views)


def test_bfloat16_is_a_setting(catalog: Catalog) -> None:
    made = trainer(catalog, cell_of(catalog, precision="bfloat16", iterations=1))
    made.train()
    assert {p.dtype for p in made.learner.parameters()} == {torch.float32}


def test_a_loss_that_diverges_is_told(catalog: Catalog) -> None:
    made = trainer(catalog, cell_of(catalog, learning_rate=1e9, warmup=0, iterations=20))
    with pytest.raises((Diverged, FloatingPointError, AssertionError)) as raised:
        made.train()
    assert failure.kind(raised.value) == "diverged"


def test_predictions_are_kept_and_give_the_same_numbers(catalog: Catalog) -> None:
    cell, workspace = cell_of(catalog, iterations=1), Workspace(catalog.store, cores=1)
    found = detection.run(cell, workspace)
    kept = json.loads((workspace.folder(cell) / detection.PREDICTIONS).read_text())
    index = workspace.index(cell.dataset)
    test = index.splits["test"]
    from jobs.lib import detections, seeds

    seed = seeds.number(cell.seed, "bootstrap")
    again, _ = detections.evaluate(from_coco(kept, test, index), test, index, cell.dataset.metric, seed)
    assert again == found.metrics
    assert found.details["images"] == {"train": 96 + 32, "used": 96 + 32, "test": 64}
    assert found.details["schedule"]["run"]["batch"] == 4
