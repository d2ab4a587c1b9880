"""Pre-training as a whole: each method trains, goes on where it was killed, and makes a model of the store."""

from __future__ import annotations

import csv
import signal
from pathlib import Path

import pytest
import torch
from PIL import Image
from pretrain.two import two
from pretraining import SMALL, cell_of, folder, killed, run

from jobs.lib import backbone, checkpoint, interrupt
from jobs.lib.failure import BadTask, Diverged
from jobs.lib.interrupt import Interrupted
from jobs.pretrain.lib.method import Batch
from jobs.pretrain.mae import MAE
from suite.catalog import Catalog
from suite.cell import Cell
from suite.store import Store

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("images"))


@pytest.fixture
def known(tmp_path: Path) -> Catalog:
    store = Store(tmp_path / "store")
    for each in (store.data, store.weights):
        each.mkdir(parents=True)
    return Catalog(store)


def left(known: Catalog, cell: Cell) -> tuple[bytes, str]:
    """The product's file and the curve."""
    assert cell.model.weights
    curve = (known.store.results / cell.key / "curve.csv").read_text()
    return (known.store.weights / cell.model.weights.file).read_bytes(), curve


def plain(curve: str) -> list[dict[str, str]]:
    """The points without what depends on the clock."""
    return [
        {n: v for n, v in row.items() if n not in ("images/s", "waiting")} for row in csv.DictReader(curve.splitlines())
    ]


@pytest.mark.parametrize("method", SMALL)
def test_killed_and_resumed_equals_unbroken(method: str, known: Catalog, data: Path) -> None:
    cell = cell_of(known, data, method)
    unbroken = run(known, cell)
    expected, curve = left(known, cell)
    at = known.store.results / cell.key
    for file in [*at.iterdir(), *known.store.weights.glob("*.safetensors")]:
        file.unlink()
    assert killed(known, cell, at=5) == -signal.SIGKILL
    assert run(known, cell) == unbroken
    found, again = left(known, cell)
    assert plain(again) == plain(curve) and len(plain(curve)) == 6
    assert found == expected
    # What was made is a model of the store: every tensor finds its place, and all that matters has learnt.
    loaded = backbone.load(known.model(cell.model.name), known.store.weights)
    assert loaded.report.startswith(f"{cell.model.name}.safetensors") and ", 0 missing" in loaded.report
    fresh = dict(backbone.build(cell.model).named_parameters())
    moved = [not torch.equal(tensor, fresh[name]) for name, tensor in loaded.network.named_parameters()]
    assert sum(moved) > 0.9 * len(moved)


@pytest.mark.parametrize("method", SMALL)
def test_two_ranks_train_and_make_one_product(method: str, known: Catalog, data: Path) -> None:
    cell = cell_of(known, data, method)
    two(lambda ranks: run(known, cell, ranks).details["steps"])
    first = known.store.weights / f"{cell.model.name}.safetensors"
    assert first.is_file() and len(plain(left(known, cell)[1])) == 6
    saved = torch.load(known.store.results / cell.key / checkpoint.NAME)["state"]
    assert saved["step"] == 6
    assert all(torch.isfinite(t).all() for t in saved["parts"]["method"].values() if t.is_floating_point())


@pytest.mark.parametrize("method", ["byol", "simclr", "simsiam", "swav", "rotation"])
def test_the_first_loss_of_two_ranks_is_that_of_one(method: str, known: Catalog, data: Path) -> None:
    """Where batch norms are over all ranks, and no rank draws for itself."""
    cell = cell_of(known, data, method, epochs=1, knn_every=0)
    run(known, cell)
    alone = float(plain(left(known, cell)[1])[0]["loss"])
    for file in (known.store.results / cell.key).iterdir():
        file.unlink()
    two(lambda ranks: run(known, cell, ranks).details["steps"])
    assert float(plain(left(known, cell)[1])[0]["loss"]) == pytest.approx(alone, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("method", ["simclr", "moco-v2", "byol", "mae", "odc"])
def test_bfloat16_is_a_setting(method: str, known: Catalog, data: Path) -> None:
    """But not of SwAV's 16-pixel crops, where torch 2.11 on a CPU can give gradients that are not finite: in bfloat16
    convolutions of stride 2 on maps of one cell, with channels last."""
    run(known, cell_of(known, data, method, precision="bfloat16", epochs=1))
    assert all(float(row["loss"]) < 1e3 for row in plain(left(known, cell_of(known, data, method))[1]))


def test_the_curve_is_a_table_and_a_picture(known: Catalog, data: Path) -> None:
    cell = cell_of(known, data, "moco-v2", knn_every=1)
    run(known, cell)
    rows = list(csv.DictReader(left(known, cell)[1].splitlines()))
    wanted = {"step", "epoch", "loss", "lr", "images/s", "waiting", "spread", "filled", "knn"}
    assert wanted <= set(rows[0]) and [bool(row["knn"]) for row in rows] == [False, False, True] * 2
    picture = known.store.results / cell.key / "curve.png"
    with Image.open(picture) as shown:
        assert shown.format == "PNG" and shown.width == 800


def test_asked_to_go_it_saves_and_goes(known: Catalog, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = cell_of(known, data, "simclr")
    with monkeypatch.context() as patch:
        patch.setattr(interrupt, "_asked", True)
        with pytest.raises(Interrupted, match=r"checkpoint saved: step 1$"):
            run(known, cell)
    run(known, cell)
    assert [row["step"] for row in plain(left(known, cell)[1])] == list("123456")


def test_what_cannot_be_taken_in_turns_says_so(known: Catalog, data: Path) -> None:
    with pytest.raises(BadTask, match="over the whole batch"):
        run(known, cell_of(known, data, "simclr", accumulate=2))
    with pytest.raises(BadTask, match="cannot be split over 3"):
        run(known, cell_of(known, data, "rotation", accumulate=3))


def test_turns_are_one_step(known: Catalog, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MAE has no batch norm: with masks that are the images' own, in two turns it is the same training."""

    def own_masks(self: MAE, batch: Batch) -> torch.Tensor:
        draws = (torch.Generator().manual_seed(int(row)) for row in batch.rows)
        return self.painted(batch.views[0], torch.stack([torch.randperm(self.places, generator=one) for one in draws]))

    monkeypatch.setattr(MAE, "loss", own_masks)
    losses = []
    for turns in (1, 2):
        cell = cell_of(known, data, "mae", accumulate=turns)
        run(known, cell)
        losses.append([float(row["loss"]) for row in plain(left(known, cell)[1])])
        for file in (known.store.results / cell.key).iterdir():
            file.unlink()
    assert losses[1] == pytest.approx(losses[0], rel=1e-4) and losses[0][0] != pytest.approx(losses[0][5], rel=1e-3)


def test_a_loss_that_is_not_a_number_stops_it(known: Catalog, data: Path) -> None:
    with pytest.raises(Diverged, match="loss is"):
        run(known, cell_of(known, data, "simclr", learning_rate=1e30, optimizer="sgd"))


def test_outputs_that_collapse_stop_it(known: Catalog, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.pretrain.simclr.spread", lambda outputs: torch.tensor(0.001))
    with pytest.raises(Diverged, match="collapsed"):
        run(known, cell_of(known, data, "simclr"))


def test_k_nn_is_on_images_held_out_of_training_alone(known: Catalog, data: Path) -> None:
    (found,) = run(known, cell_of(known, data, "simclr", knn_every=1)).metrics
    assert (found.name, found.headline, found.n) == ("knn", True, 4) and found.low <= found.value <= found.high
