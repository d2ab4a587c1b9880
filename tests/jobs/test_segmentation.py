"""Segmentation, linear segmentation and surface normals as whole programs, against runs that were not broken, that had
one rank, or that scikit-learn made."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from scipy.io import savemat
from segmenting import CLASSES, FACES, RESNET, SQUEEZENET, cell_of, rectangles, rooms, run
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, jaccard_score
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import interpolate

from jobs import normals, segmentation, segmentation_linear
from jobs.lib import angles, checkpoint, codebook, confusion, interrupt, logistic, seeds
from jobs.lib.angles import Measured
from jobs.lib.confusion import Confusion, Counted
from jobs.lib.failure import BadData
from jobs.lib.interrupt import Interrupted
from jobs.lib.labelled import VOID, pixels
from jobs.lib.learner import built
from jobs.lib.maps import maps
from jobs.lib.psp import Psp
from jobs.lib.rows import Rows
from jobs.lib.workspace import Workspace
from jobs.segmentation_linear import Probe, selection
from suite.catalog import Catalog
from suite.cell import Cell
from suite.result import Outcome
from suite.store import Store

RUN = """
import importlib, json, os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from jobs.lib import codebook
from jobs.lib.ranks import Ranks
from jobs.lib.workspace import Workspace
from suite.catalog import Catalog
from suite.store import Store
store, rank, count, left = Store(Path(sys.argv[1])), *map(int, sys.argv[2:5])
move, read = os.replace, codebook.read

def dying(aside, to):
    global left
    left -= Path(to).name == "checkpoint.pt"
    if left == 0 and Path(to).name == "checkpoint.pt":
        os.kill(os.getpid(), signal.SIGKILL)
    move(aside, to)

def turned(*words):
    found = read(*words)
    return found._replace(words=found.words[::-1])

os.replace = dying
if rank:
    codebook.read = turned
ranks = Ranks(rank, count, rank, store.root / "meet") if count > 1 else Ranks()
workspace = Workspace(store, cores=1, ranks=ranks)
torch.set_num_threads(1)
for key, settings in json.loads(sys.argv[5]).items():
    cell = Catalog(store).cell(key)
    cell = replace(cell, task=replace(cell.task, settings=settings, checkpoint_seconds=0.0))
    ranks.start(key) if rank == 0 else ranks.next()
    found = importlib.import_module(f"jobs.{cell.task.program}").run(cell, workspace)
    print("FOUND", json.dumps([[m.name, m.value, m.low, m.high] for m in found.metrics]), flush=True)
ranks.leave()
"""
DRAWS: dict[str, Any] = {"flip": True, "distorted": True}  # beside places of crops and dropout
CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore:Default ``avg_non_ignore`` is False", "ignore:`torch.jit")
with_mmseg = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import mmseg"], capture_output=True).returncode != 0,
    reason="mmsegmentation is not installed: make setup",
)


def process(known: Catalog, *cells: Cell, rank: int = 0, ranks: int = 1, dies_at: int = 0) -> subprocess.Popen[str]:
    """A process that runs cells; as it is about to put its `dies_at`-th checkpoint into place, it is killed. All ranks
    but the first find the words of a codebook in another order."""
    settings = json.dumps({cell.key: cell.task.settings for cell in cells})
    words = [str(known.store.root), str(rank), str(ranks), str(dies_at), settings]
    return subprocess.Popen([sys.executable, "-c", RUN, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def folder(known: Catalog, cell: Cell) -> Path:
    return known.store.results / cell.key


def kept(known: Catalog, cell: Cell) -> dict[str, np.ndarray]:
    """What a program left beside its result."""
    with np.load(folder(known, cell) / {"normals": normals.KEPT}.get(cell.task.program, segmentation.KEPT)) as found:
        return dict(found)


def learner(known: Catalog, cell: Cell) -> dict[str, Tensor]:
    """The network that was trained."""
    found: dict[str, Tensor] = torch.load(folder(known, cell) / checkpoint.NAME)["state"]["parts"]["learner"]
    return found


def counted(held: Mapping[str, np.ndarray]) -> list[int]:
    """How many pixels of each image."""
    whole = held["histogram"].sum(1) if "histogram" in held else np.bincount(held["image"], held["pixels"])
    return [int(pixels) for pixels in whole]


def values(found: Outcome) -> dict[str, float]:
    return {metric.name: metric.value for metric in found.metrics}


def kept_confusion(known: Catalog, cell: Cell) -> Confusion:
    found = kept(known, cell)
    images, classes = found["shape"]
    parts = (found["truth"], found["found"], found["pixels"])
    return Confusion([Counted(*(part[found["image"] == row] for part in parts)) for row in range(images)], int(classes))


@pytest.fixture
def fresh(tmp_path: Path) -> Catalog:
    """The catalog over an empty store."""
    return Catalog(Store(tmp_path / "store"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> str:
    return rectangles(tmp_path_factory.mktemp("drawn") / "rectangles")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> str:
    return rooms(tmp_path_factory.mktemp("seen") / "rooms")


# ---- what is trained


def two(known: Catalog, drawn: str, seen: str, model: str = RESNET, **settings: Any) -> tuple[Cell, Cell]:
    """A cell of segmentation and one of normals."""
    return (
        cell_of(known, "segmentation", drawn, model, **settings),
        cell_of(known, "normals", seen, model, **settings),
    )


@with_mmseg
@pytest.mark.parametrize("which", [0, 1], ids=["segmentation", "normals"])
def test_killed_and_resumed_equals_unbroken(
    which: int, fresh: Catalog, drawn: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = two(fresh, drawn, seen, SQUEEZENET, **DRAWS)[which]
    unbroken, at = run(fresh, cell), folder(fresh, cell)
    expected, trained = kept(fresh, cell), learner(fresh, cell)
    for file in at.iterdir():
        file.unlink()
    one = process(fresh, cell, dies_at=3)
    told = one.communicate(timeout=300)[0]
    assert one.returncode == -signal.SIGKILL, told
    assert len(list(at.iterdir())) == 2  # a checkpoint, and what was to be the next
    with monkeypatch.context() as patch:
        patch.setattr(interrupt, "_asked", True)
        with pytest.raises(Interrupted, match=r"checkpoint saved: step 3$"):
            run(fresh, cell)
    assert [file.name for file in at.iterdir()] == [checkpoint.NAME]
    assert run(fresh, cell) == unbroken
    for name, value in kept(fresh, cell).items():
        np.testing.assert_array_equal(value, expected[name])
    assert all(torch.equal(tensor, trained[name]) for name, tensor in learner(fresh, cell).items())


@with_mmseg
def test_two_ranks_give_the_numbers_of_one(fresh: Catalog, drawn: str, seen: str) -> None:
    """Batch norms are over all ranks, and both sort normals by the words of the first."""
    cells = two(fresh, drawn, seen, iterations=2, dropout=0.0, warmup=0, **DRAWS)
    alone = [(run(fresh, cell), kept(fresh, cell), learner(fresh, cell)) for cell in cells]
    for cell in cells:
        for file in folder(fresh, cell).iterdir():
            file.unlink()
    ran = [process(fresh, *cells, rank=rank, ranks=2) for rank in (0, 1)]
    told = [one.communicate(timeout=60)[0] for one in ran]
    assert [one.returncode for one in ran] == [0, 0], told
    found, nothing = (
        [json.loads(line.removeprefix("FOUND ")) for line in text.splitlines() if line.startswith("FOUND")]
        for text in told
    )
    assert nothing == [[], []]
    for cell, (outcome, before, trained), metrics in zip(cells, alone, found, strict=True):
        together = learner(fresh, cell)
        assert all(torch.allclose(trained[name], together[name], rtol=1e-3, atol=1e-4) for name in trained)
        tolerance = 0.5 if cell.task.program == "normals" else 0.01  # which has angles
        for metric, (name, *numbers) in zip(outcome.metrics, metrics, strict=True):
            assert name == metric.name
            assert numbers == pytest.approx([metric.value, metric.low, metric.high], abs=tolerance)
        assert counted(kept(fresh, cell)) == counted(before)


@with_mmseg
def test_bfloat16_is_a_setting(fresh: Catalog, drawn: str, seen: str) -> None:
    for cell in two(fresh, drawn, seen, precision="bfloat16", iterations=1):
        assert all(np.isfinite(list(values(run(fresh, cell)).values())))
        state = learner(fresh, cell)
        assert {tensor.dtype for tensor in state.values() if tensor.is_floating_point()} == {torch.float32}


def broken(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:-100])
    return path.name


@with_mmseg
def test_images_are_looked_at_before_training(fresh: Catalog, tmp_path: Path) -> None:
    cell, root = cell_of(fresh, "segmentation", rectangles(tmp_path / "drawn")), tmp_path / "drawn"
    workspace = Workspace(fresh.store, cores=1)
    workspace.index(cell.dataset)  # the index of files that were whole
    Image.new("L", (70, 45), 77).save(root / "masks/train/1.png")
    with pytest.raises(BadData, match=r"train/1\.png: 3150 of 3150 pixels have values that are no class \(77\)$"):
        run(fresh, cell, workspace)
    Image.new("L", (45, 70)).save(root / "masks/val/0.png")
    told = r"^2 of 12 images: .*train/1\.png: 3150 of .*\(77\); .*val/0\.png is 45 x 70, but 0\.png is 70 x 45$"
    with pytest.raises(BadData, match=told):
        run(fresh, cell, workspace)
    broken(root / "images/test/3.png")
    broken(root / "masks/test/1.png")
    told = r"^4 of 12 images: .*train/1\.png.*; .*val/0\.png.*; .*masks/test/1\.png cannot be decoded: "
    with pytest.raises(BadData, match=told):
        run(fresh, cell, workspace)
    assert not list(folder(fresh, cell).iterdir())


def test_photos_and_normals_are_looked_at_before_training(fresh: Catalog, tmp_path: Path) -> None:
    cell, root = cell_of(fresh, "normals", rooms(tmp_path / "seen"), SQUEEZENET), tmp_path / "seen"
    workspace = Workspace(fresh.store, cores=1)
    workspace.index(cell.dataset)
    broken(root / "test/rgb/0003.png")
    with pytest.raises(BadData, match=r"test/rgb/0003\.png cannot be decoded: "):
        run(fresh, cell, workspace)
    Image.new("RGB", (40, 56)).save(root / "train/normals/0004.png")
    Image.new("L", (56, 40)).save(root / "test/normals/0000.png")
    told = r"^3 of 10 images: .*train/normals/0004\.png is 40 x 56, but .* is 56 x 40; .*test/normals/0000\.png is L; "
    with pytest.raises(BadData, match=told):
        run(fresh, cell, workspace)
    broken(root / "train/normals/0001.png")
    with pytest.raises(BadData, match=r"train/normals/0001\.png cannot be decoded: "):  # words are found among these
        run(fresh, cell, workspace)
    assert not list(folder(fresh, cell).iterdir())


@with_mmseg
@pytest.mark.parametrize("task", ["segmentation", "segmentation-upernet"])
def test_what_is_kept_of_a_segmentation_gives_its_metrics(task: str, fresh: Catalog, drawn: str) -> None:
    stride = 8 if task == "segmentation" else 0
    cell = cell_of(fresh, task, drawn, output_stride=stride, iterations=2, test_short_sides=(40, 48), test_flip=True)
    found = run(fresh, cell)
    held = kept_confusion(fresh, cell)
    names = [f"class {number}" for number in range(CLASSES)]
    metrics, details = confusion.evaluate(held, names, seeds.number(cell.seed, "bootstrap"))
    assert metrics == found.metrics
    assert [metric.name for metric in metrics if metric.headline] == ["miou"]
    assert details.items() <= found.details.items()
    assert held.whole.sum() == sum(rows * columns for rows, columns in [(43, 70), (43, 70), (68, 45), (43, 70)])
    assert found.details["images"] == {"train": 6 + 2, "test": 4}
    assert found.settings == {"learning_rate": 0.01, "iterations": 2}
    assert ("upernet on strides [4, 8, 16, 32]" if not stride else "fcn on strides [4, 8, 8, 8]") in found.details[
        "network"
    ]


def test_what_is_kept_of_normals_gives_their_metrics(fresh: Catalog, seen: str) -> None:
    cell = cell_of(fresh, "normals", seen, SQUEEZENET, iterations=1)
    found, held = run(fresh, cell), kept(fresh, cell)
    measured = [Measured(*one) for one in zip(held["histogram"], held["total"].tolist(), strict=True)]
    assert angles.evaluate(measured, seeds.number(cell.seed, "bootstrap")) == found.metrics
    assert held["histogram"].sum(1).tolist() == [40 * 56] * 4
    assert found.details["images"] == {"train": 6, "test": 4}
    assert found.details["codebook"] == f"6 means of {6 * codebook.DRAWN} training normals, as there is no vocab40.mat"


def test_a_frozen_backbone_stays_to_the_bit(fresh: Catalog, seen: str) -> None:
    cell, workspace = cell_of(fresh, "normals", seen, iterations=3), Workspace(fresh.store, cores=1)
    before = copy.deepcopy(built(Psp, cell, workspace, cell.task.settings["words"]).state_dict())
    run(fresh, cell, workspace)
    changed = {name for name, tensor in learner(fresh, cell).items() if not torch.equal(tensor, before[name])}
    assert {name.partition(".")[0] for name in changed} == {"pools", "decoder"}
    own = workspace.backbone(cell.model).network.state_dict()
    assert all(torch.equal(tensor, before[f"maps.network.{name}"]) for name, tensor in own.items())


def degrees(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    cosine = (found * truth).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(truth, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def encoded(root: Path, split: str) -> np.ndarray:
    """All normals of a split, N x 3, as their files have them."""
    files = sorted((root / split / "normals").iterdir())
    return np.stack([np.asarray(Image.open(file)) / 127.5 - 1 for file in files]).reshape(-1, 3)


def test_the_published_codebook_and_the_constant(fresh: Catalog, tmp_path: Path) -> None:
    """Of words that are all about the same, so is what is found."""
    data, root = rooms(tmp_path / "seen"), tmp_path / "seen"
    words = np.random.default_rng(0).normal(FACES[2], 0.001, (40, 3))
    savemat(root / codebook.PUBLISHED, {"vocab": words / np.linalg.norm(words, axis=1, keepdims=True)})
    found = run(fresh, cell_of(fresh, "normals", data, SQUEEZENET, iterations=1, words=40))
    assert found.details["codebook"] == "vocab40.mat, published"
    truth = encoded(root, "test")
    for metrics, direction in ((values(found), FACES[2]), (found.details["constant"], encoded(root, "train").mean(0))):
        angle = degrees(direction, truth)
        expected = {f"within_{limit:g}": (angle < limit).mean() for limit in angles.LIMITS}
        assert metrics == pytest.approx(
            {**expected, "mean_angle": angle.mean(), "median_angle": np.median(angle)}, abs=0.3
        )


@with_mmseg
def test_a_segmenter_learns(fresh: Catalog, tmp_path: Path) -> None:
    data, root = rectangles(tmp_path / "four", {"train": 4}, size=(64, 64)), tmp_path / "four"
    for split in ("train", "test"):  # the same
        (root / f"{split}.txt").write_text("".join(f"train/{number}\n" for number in range(4)))
    size = {"short_sides": (64,), "ratios": (1.0, 1.0), "crop": 64, "test_short_sides": (64,), "most_of_one": 1.0}
    more = {"channels": 32, "learning_rate": 0.1, "iterations": 20, "clip": 0.0, "dropout": 0.0, "precise_bn": 2}
    found = run(fresh, cell_of(fresh, "segmentation", data, **size, **more))
    assert values(found)["miou"] > 0.8


def test_normals_are_learnt(fresh: Catalog, seen: str) -> None:
    more = {"channels": 32, "learning_rate": 0.1, "iterations": 25, "clip": 0.0, "dropout": 0.0, "precise_bn": 2}
    found = run(fresh, cell_of(fresh, "normals", seen, **more))
    assert values(found)["within_11.25"] > found.details["constant"]["within_11.25"] + 0.3
    assert values(found)["mean_angle"] < found.details["constant"]["mean_angle"] - 15


# ---- a linear layer


class Reference:
    """What a probe is made of, computed anew: maps interpolated to images, and scikit-learn's classifier on them."""

    def __init__(self, cell: Cell, workspace: Workspace) -> None:
        self.cell = cell
        network = copy.deepcopy(workspace.backbone(cell.model).network)
        self.maps = maps(network, cell.model.architecture, cell.task.settings["output_stride"]).eval()

    @torch.inference_mode()
    def features(self, image: Tensor) -> np.ndarray:
        """H x W x D of an image 3 x H x W."""
        x = pixels([image], self.cell.model.input, self.cell.task.settings["multiple"], CPU)
        found = interpolate(self.maps(x)[self.maps.strides[-1]], x.shape[-2:], mode="bilinear", align_corners=False)
        return found[0, :, : image.shape[1], : image.shape[2]].permute(1, 2, 0).numpy()

    @staticmethod
    def fitted(x: np.ndarray, y: np.ndarray, C: float) -> Any:
        """x -> class numbers, of features as they are."""
        mean, deviation = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
        deviation[deviation == 0] = 1
        with threadpool_limits(1):  # two are slower where there is more to do
            found = LogisticRegression(C=C, tol=1e-5, max_iter=1000).fit((x - mean) / deviation, y)
        return lambda more: found.predict((more - mean) / deviation)


def probed(known: Catalog, data: str, **more: Any) -> tuple[Cell, Workspace]:
    return cell_of(known, "segmentation-linear", data, **{"model": SQUEEZENET, **more}), Workspace(known.store, cores=1)


def test_a_probe_is_scikit_learns(fresh: Catalog, drawn: str) -> None:
    cell, workspace = probed(fresh, drawn, pixels_an_image=100, c_values=3, c_max=1e-2, c_min=1e-6)
    found = run(fresh, cell, workspace)
    views = segmentation.splits(cell.dataset, workspace)
    probe, reference = Probe(cell, workspace, 8), Reference(cell, workspace)
    (x, y), (x_val, y_val) = map(probe.drawn, selection(cell, views))
    assert (len(y), len(y_val)) == (6 * 100, 2 * 100)

    # C is that of the highest mean IoU on the pixels of val, which are standardised as those of train.
    told: Mapping[str, float] = found.details["validation"]
    assert len(told) == 3
    for C, score in told.items():
        expected = jaccard_score(y_val, reference.fitted(x, y, float(C))(x_val), average="macro")
        assert score == pytest.approx(expected, abs=0.01)
    assert max(told.values()) > min(told.values()) + 0.05
    assert told[f"{found.settings['C']:.6g}"] == max(told.values())

    predict = reference.fitted(np.concatenate([x, x_val]), np.concatenate([y, y_val]), found.settings["C"])
    truth, guessed = [], []
    for row in range(len(views["test"])):
        view = views["test"].still(row, cell.task.settings)
        truth.append(view.labels.numpy().ravel())
        guessed.append(predict(reference.features(view.image).reshape(view.labels.numel(), -1)))
    y_test, y_found = (np.concatenate(one)[np.concatenate(truth) != VOID] for one in (truth, guessed))
    held = kept_confusion(fresh, cell)
    assert np.abs(confusion_matrix(y_test, y_found) - held.whole).sum() <= 0.01 * len(y_test)
    assert values(found)["miou"] == pytest.approx(jaccard_score(y_test, y_found, average="macro"), abs=1e-2)
    metrics, _ = confusion.evaluate(held, ["a", "b", "c"], seeds.number(cell.seed, "bootstrap"))
    assert metrics == found.metrics
    assert found.details["images"] == {"train": 6, "val": 2, "test": 4}


@pytest.mark.parametrize("model", [SQUEEZENET, RESNET])
def test_a_probe_scores_what_is_drawn(model: str, fresh: Catalog, drawn: str) -> None:
    """Features are those of the interpolated map, and so are its scores; what others work with is as it was."""
    cell, workspace = probed(fresh, drawn, model=model, pixels_an_image=300)
    network = workspace.backbone(cell.model).network
    state, written = copy.deepcopy(network.state_dict()), str(network)
    probe, reference = Probe(cell, workspace, 8), Reference(cell, workspace)
    rows, _ = selection(cell, segmentation.splits(cell.dataset, workspace))
    x, y = probe.drawn(rows)
    whole = Rows((x, None)).normalised("standard")
    fit = logistic.fit(whole, y, CLASSES, 0.01)
    probe.weigh(fit, whole)
    scores = fit.decision(whole).numpy()
    np.testing.assert_allclose(x @ probe.weight.numpy().T + probe.bias.numpy(), scores, atol=1e-4)
    for number, row in enumerate(rows):
        view, at = probe._view(row)
        place = slice(300 * number, 300 * (number + 1))
        assert np.array_equal(view.labels.flatten()[at].numpy(), y[place])
        assert not (y[place] == VOID).any() and len(set(at.tolist())) == 300
        expected = reference.features(view.image).reshape(view.labels.numel(), -1)[at]
        np.testing.assert_allclose(x[place], expected, atol=1e-4 * np.abs(expected).max())
        with torch.inference_mode():
            logits = probe.logits(pixels([view.image], cell.model.input, 16, CPU))
        assert logits.shape[2] % 16 == logits.shape[3] % 16 == 0
        found = logits[0, :, : view.labels.shape[0], : view.labels.shape[1]].flatten(1)[:, at].T
        np.testing.assert_allclose(found.numpy(), scores[place], atol=1e-4 * max(1, np.abs(scores).max()))
    assert str(network) == written
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert not network.training


def test_features_that_are_next_to_nothing(fresh: Catalog, drawn: str) -> None:
    cell, workspace = probed(fresh, drawn, model="random_mobilenet_v2")
    x, _ = Probe(cell, workspace, 8).drawn(selection(cell, segmentation.splits(cell.dataset, workspace))[0])
    assert 0 < np.abs(x).max() < 1e-6
    found = run(fresh, cell, workspace)
    assert (kept_confusion(fresh, cell).whole.sum(0) > 0).all()
    assert values(found)["miou"] > 0.4  # of one class alone: 0.2


def test_a_class_that_no_training_pixel_has(fresh: Catalog, tmp_path: Path) -> None:
    data, root = rectangles(tmp_path / "drawn", classes=CLASSES + 1), tmp_path / "drawn"
    mask = np.asarray(Image.open(root / "masks/test/0.png")).copy()
    mask[:20, :20] = CLASSES
    Image.fromarray(mask).save(root / "masks/test/0.png")
    cell, workspace = probed(fresh, data)
    found = run(fresh, cell, workspace)
    assert all(np.isfinite([metric.value, metric.low, metric.high]).all() for metric in found.metrics)
    whole = kept_confusion(fresh, cell).whole
    assert whole[CLASSES].sum() == 400
    assert not whole[:, CLASSES].any()
    assert found.details["per_class_iou"][f"class {CLASSES}"] == 0
    assert found.details["classes_without_pixels"] == []


def test_one_training_image_is_too_few(fresh: Catalog, tmp_path: Path) -> None:
    cell, workspace = probed(fresh, rectangles(tmp_path / "drawn", {"train": 1, "test": 1}))
    with pytest.raises(BadData, match="of 1 training images none can be held out to validate on"):
        run(fresh, cell, workspace)


def test_images_without_a_class_to_learn_from(fresh: Catalog, tmp_path: Path) -> None:
    data, root = rectangles(tmp_path / "drawn", {"train": 2, "val": 1, "test": 1}), tmp_path / "drawn"
    Image.new("L", (70, 45), 255).save(root / "masks/val/0.png")
    with pytest.raises(BadData, match=r"^drawn-.*: no pixel of 1 images has a class$"):
        run(fresh, *probed(fresh, data))


def test_pixels_are_a_function_of_the_seed(fresh: Catalog, tmp_path: Path) -> None:
    """So are the images that are held out where there are none for validation."""
    data = rectangles(tmp_path / "drawn", {"train": 10, "test": 1})
    (cell, workspace), (other, _) = (probed(fresh, data, seed=seed, pixels_an_image=60) for seed in (0, 1))
    one, two, different = (
        run(fresh, cell, workspace),
        run(fresh, *probed(fresh, data, pixels_an_image=60)),
        run(fresh, other),
    )
    assert one == two
    assert one.details["images"] == {"train": 8, "val": 2, "test": 1}
    assert one.details["pixels"] == {"train": 480, "val": 120}
    assert different.details["validation"] != one.details["validation"]
    views = segmentation.splits(cell.dataset, workspace)
    rows = [(views["train"], row) for row in range(10)]
    chosen = [[Probe(each, workspace, 10)._view(row)[1].tolist() for row in rows] for each in (cell, other)]
    assert all(first != second for first, second in zip(*chosen, strict=True))
    assert len({row for _, row in selection(cell, views)[1]}) == 2
    assert selection(cell, views) != selection(other, views)
    assert segmentation_linear.Probe(cell, workspace, 500_000 // 7).each == 7
