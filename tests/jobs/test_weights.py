"""Weights: the usual wrappings of a checkpoint lead to the same network; what does not fit is told tensor by tensor."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from jobs.lib import backbone, weights
from jobs.lib.failure import BadWeights
from suite import checkpoint
from suite.model import Model, Weights

State = dict[str, Any]


@pytest.fixture(scope="module")
def state() -> State:
    """A ResNet-18 with its classifier, numbers in its batch norms that are not the default."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    for buffer in network.buffers():
        if buffer.dtype.is_floating_point:
            buffer.uniform_(0.5, 1.5)
    return network.state_dict()


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def without(state: State, *heads: str) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith(heads)}


def other(state: State) -> State:
    return {name: torch.randn(t.shape) if t.dtype.is_floating_point else t for name, t in state.items()}


def momentum(state: State) -> State:
    """MoCo: two encoders of one shape, a queue, an optimiser, arguments."""
    body = without(state, "fc.")
    own = prefixed(body, "module.encoder_q.") | {"module.encoder_q.fc.0.weight": torch.ones(2)}
    keys = prefixed(other(body), "module.encoder_k.") | {"module.queue": torch.zeros(2, 4)}
    return {"epoch": 200, "arch": "resnet18", "state_dict": own | keys, "optimizer": {"state": {0: torch.ones(3)}}}


WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "flat": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "best_prec1": 91.2},
    "data parallel": lambda s: {"state_dict": prefixed(s, "module.")},
    "model and arguments": lambda s: {"model": s, "args": argparse.Namespace(lr=0.1), "epoch": 3},
    "moco": momentum,
    "swav": lambda s: prefixed(without(s, "fc."), "module.") | {"module.projection_head.0.weight": torch.ones(2)},
    "dino": lambda s: {"student": prefixed(other(s), "module.backbone."), "teacher": prefixed(s, "backbone.")},
    "infomin": lambda s: {
        "model": prefixed(without(s, "fc."), "module.encoder.") | {"module.head.0.bias": torch.ones(1)}
    },
    "no counters": lambda s: {n: t for n, t in s.items() if not n.endswith("num_batches_tracked")},
    "half": lambda s: {n: t.half() if t.dtype.is_floating_point else t for n, t in s.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "legacy"])
def test_every_wrapping_gives_the_same_features(state: State, wrapping: str, old_format: bool, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(WRAPPINGS[wrapping](state), path, _use_new_zipfile_serialization=not old_format)
    checkpoint.inspect(path)  # the launcher lets it pass
    model = Model("w_resnet18", "resnet18", 512, weights=Weights(str(path)))
    x = torch.randn(2, 3, 64, 64)
    truth = torchvision.models.resnet18()
    truth.load_state_dict(state)
    truth.fc = nn.Identity()
    with torch.inference_mode():
        found, expected = backbone.load(model, tmp_path).network(x), truth.eval()(x)
    torch.testing.assert_close(
        found, expected, rtol=2e-3 if wrapping == "half" else 1e-6, atol=1e-2 if wrapping == "half" else 1e-6
    )


def test_safetensors(state: State, tmp_path: Path) -> None:
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    network = backbone.headless(torchvision.models.resnet18())
    report = weights.load(network, Weights(), tmp_path / "w.safetensors")
    assert "0 missing" in report
    assert "2 heads left unused" in report


def fails(tmp_path: Path, content: Any, entry: Weights, told: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(BadWeights, match=told):
        weights.load(backbone.headless(torchvision.models.resnet18()), entry, tmp_path / "w.pth")


def test_what_does_not_fit_is_told(state: State, tmp_path: Path) -> None:
    fails(tmp_path, without(state, "layer3."), Weights(), r"25 tensors missing \(layer3\.0\.conv1\.weight")
    fails(tmp_path, state | {"layer1.0.conv1.weight": torch.ones(3)}, Weights(), r"1 of another shape \(layer1")
    fails(tmp_path, state | {"extra.weight": torch.ones(3)}, Weights(), r"1 left over \(extra\.weight\)")
    fails(tmp_path, state, Weights(leftover=("head*",)), r"2 left over \(fc\.weight, fc\.bias\)")
    fails(tmp_path, state, Weights(prefix="module.encoder_q."), "no tensor named module.encoder_q.conv1.weight")
    fails(tmp_path, state | {"conv1.weight": state["conv1.weight"] * float("nan")}, Weights(), "NaN or infinity")


def test_two_networks_that_fit_need_an_entry(state: State, tmp_path: Path) -> None:
    both = {"first": state, "second": other(state)}
    fails(tmp_path, both, Weights(), r"several networks that fit, first\., second\.")
    network = backbone.headless(torchvision.models.resnet18())
    weights.load(network, Weights(prefix="second."), tmp_path / "w.pth")
    torch.testing.assert_close(network.conv1.weight, both["second"]["conv1.weight"])


def test_a_pickle_that_would_run_code_is_refused_inside_too(tmp_path: Path) -> None:
    proof = tmp_path / "was-run"

    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {proof}",)

    fails(tmp_path, {"state_dict": Attack()}, Weights(), "cannot be read")
    assert not proof.exists()


def test_a_file_that_changed_is_refused(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.pth")
    model = Model("w_resnet18", "resnet18", 512, weights=Weights(str(tmp_path / "w.pth"), sha256="0" * 64))
    with pytest.raises(BadWeights, match="has SHA-256"):
        backbone.load(model, tmp_path)


def test_a_random_network_is_the_same_every_time_and_leaves_the_generator_alone() -> None:
    model = Model("random_resnet18", "resnet18", 512)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two = backbone.build(model), backbone.build(model)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_real_weights_recognise_real_photos(shared: Path, tmp_path: Path) -> None:
    """The classifier of the file itself, on 100 photos of ImageNet: right names, right input, right order."""
    content = weights.read(shared / "weights/mobilenet_v2_imagenet_fp16.pth")
    network = torchvision.models.mobilenet_v2()
    network.load_state_dict({n: t.float() if t.dtype.is_floating_point else t for n, t in content.items()})
    from jobs.lib.images import Images, normalise, prepare
    from suite.model import Input

    names = [line.split()[0] for line in (shared / "imagenet1k_mini/LOC_synset_mapping.txt").read_text().splitlines()]
    paths = sorted((shared / "imagenet1k_mini/val").glob("*/*"))
    images = Images(shared, [str(p.relative_to(shared)) for p in paths], [names.index(p.parent.name) for p in paths])
    made_by = Input(resize=256)
    x = torch.stack([prepare(images[i], made_by) for i in range(len(images))])
    with torch.inference_mode():
        right = network.eval()(normalise(x, made_by)).argmax(1).numpy() == images.labels
    assert right.sum() >= 75
