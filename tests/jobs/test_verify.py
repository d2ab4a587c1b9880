"""Verification: real classifiers on real photos, which output is which class, and a fingerprint of models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import Launch
from PIL import Image

from jobs import verify
from jobs.lib import backbone
from jobs.lib.failure import BadTask
from jobs.lib.workspace import Workspace
from suite import adhoc
from suite.catalog import Catalog
from suite.cell import Cell
from suite.model import Accuracy, Input, Model, Origin, Weights

TINY = Input(size=32, resize=32)


@pytest.mark.parametrize(
    ("file", "architecture", "data", "least", "of"),
    [
        ("cifar10_resnet20-12fca82f.th", "cifar_resnet20", "cifar:cifar10_mini", 455, 500),
        ("squeezenet1_0_imagenet_fp16.pth", "squeezenet1_0", "imagenet:imagenet1k_mini", 61, 100),
        ("mobilenet_v2_imagenet_fp16.pth", "mobilenet_v2", "imagenet1k_mini", 80, 100),
    ],
)
def test_real_weights(
    file: str, architecture: str, data: str, least: int, of: int, launch: Launch, known: Catalog, shared: Path
) -> None:
    layout, _, folder = data.rpartition(":")
    place = f"{layout}{':' if layout else ''}{shared / folder}"
    ran = launch("verify", f"{shared / 'weights' / file}:{architecture}", "--datasets", place, COLUMNS="200")
    assert ran.returncode == 0, ran.stderr
    (path,) = known.store.results.glob("verify-v1/*/*/0/result.json")
    found = json.loads(path.read_text())
    top1 = found["metrics"][0]
    assert top1["n"] == of and round(top1["value"] * of) >= least
    assert found["details"]["by"].startswith("its classifier") and len(found["details"]["fingerprint"]) == 16
    assert f"of {of} right by its classifier" in ran.stdout
    assert f"fingerprint {found['details']['fingerprint']}" in ran.stdout


def entry(known: Catalog, network: torch.nn.Module, classes: int = 0, **more: object) -> Model:
    """A model of the store's with these weights, as `fetch` leaves one."""
    known.store.weights.mkdir(exist_ok=True)
    torch.save(network.state_dict(), known.store.weights / "net.pth")
    weights = Weights("net.pth", origin=Origin(("https://example.org/net.pth",)))
    return Model("net_resnet18", "resnet18", 512, TINY, weights=weights, classes=classes, **more)  # type: ignore[arg-type]


def test_without_a_classifier_neighbours_vote(known: Catalog) -> None:
    torch.manual_seed(0)
    network = backbone.headless(torchvision.models.resnet18())
    cell = Cell(known.task("verify"), known.dataset("digits"), entry(known, network), 0)
    found = verify.run(cell, Workspace(known.store))
    knn = Cell(known.task("knn"), cell.dataset, cell.model, 0)
    from jobs import knn as program

    same = next(m for m in program.run(knn, Workspace(known.store)).metrics if m.name == "top1_k20")
    assert found.details["by"] == "k-NN" and found.metrics[0].value == same.value
    assert found.details["agrees"] is None and found.details["published"] is None


def test_a_published_number_and_a_fingerprint_are_held_against_it(
    known: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=10)
    model = entry(known, network, classes=10, accuracy=(Accuracy(99.0, "classifier", "its authors"),))
    cell = Cell(known.task("verify"), known.dataset("digits"), model, 0)
    found = verify.run(cell, Workspace(known.store))
    assert (
        found.details["by"] == "its classifier (in the data set's order)" and found.details["agrees"] is None
    )  # not ImageNet's 50,000
    monkeypatch.setattr(verify, "WHOLE", (10, found.metrics[0].n))
    assert verify.run(cell, Workspace(known.store)).details["agrees"] is False
    top1 = 100 * found.metrics[0].value
    for told, agrees in ((top1 + 0.4, True), (top1 - 0.6, False)):
        other = replace(model, accuracy=(Accuracy(told, "classifier", "its authors"),))
        assert verify.run(replace(cell, model=other), Workspace(known.store)).details["agrees"] is agrees
    marked = replace(model, accuracy=(), fingerprint=str(found.details["fingerprint"]))
    assert verify.run(replace(cell, model=marked), Workspace(known.store)).details["agrees"] is True
    marked = replace(marked, fingerprint="0" * 16)
    assert verify.run(replace(cell, model=marked), Workspace(known.store)).details["agrees"] is False


def test_a_fingerprint_is_of_weights_and_input_alone(known: Catalog) -> None:
    torch.manual_seed(0)
    network, model = torchvision.models.resnet18(), Model("n_resnet18", "resnet18", 512, TINY)
    network = backbone.headless(network).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first = verify.fingerprint(network, model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert next(network.parameters()).dtype == torch.float32
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - min(threads, 2))
    assert verify.fingerprint(network.to(memory_format=torch.channels_last), model) == first
    torch.set_num_threads(threads)
    assert verify.fingerprint(network, replace(model, input=replace(TINY, mean=(0.0, 0.0, 0.0)))) != first
    assert verify.fingerprint(network, replace(model, input=replace(TINY, channels="BGR"))) != first
    with torch.no_grad():
        network.layer3[0].conv1.weight *= 1.0001
    assert verify.fingerprint(network, model) != first


def test_which_output_is_which_class() -> None:
    assert verify.numbers(["a", "b"], 2) == ([0, 1], "in the data set's order")
    goldfish_and_tench = ["n01443537", "n01440764"]
    assert verify.numbers(goldfish_and_tench, 1000) == ([1, 0], "by WordNet's numbers")
    assert verify.numbers(goldfish_and_tench, 2) == ([0, 1], "in the data set's order")
    for classes, outputs in ((["goldfish", "tench"], 1000), (["a"], 7), (["a"], 0)):
        assert verify.numbers(classes, outputs)[0] == []


def test_a_part_of_imagenets_classes_is_seen_by_all_outputs(known: Catalog, tmp_path: Path) -> None:
    """Two folders called by WordNet's numbers; a network that says class 389 whatever it sees."""
    for wnid in ("n01440764", "n02510455"):  # classes 0 and 388
        for split in ("train", "test"):
            path = tmp_path / "two" / split / wnid / "a.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path)
    network = torchvision.models.resnet18()
    for says, right in ((388, 0.5), (389, 0.0)):
        with torch.no_grad():
            network.fc.weight.zero_()
            network.fc.bias.zero_()[says] = 1.0
        model = entry(known, network, classes=1000)
        data = adhoc.dataset(f"imagefolder:{tmp_path / 'two'}", known)
        found = verify.run(Cell(known.task("verify"), data, model, 0), Workspace(known.store))
        assert found.metrics[0].value == right
    digits = Cell(known.task("verify"), known.dataset("digits"), model, 0)
    with pytest.raises(BadTask, match="a classifier of 1000 classes, and digits 10 others"):
        verify.run(digits, Workspace(known.store))


def test_images_of_the_test_alone_are_for_it_alone(launch: Launch, known: Catalog, shared: Path) -> None:
    data = f"imagenet:{shared / 'imagenet1k_mini'}"
    ran = launch("grid", "--tasks", "linear", "--models", "random_resnet18", "--datasets", data)
    assert ran.returncode == 2 and "has test images only" in ran.stderr, ran.stderr
