"""Detectron: the same network under detectron2's names, and both its detectors, where detectron2 is installed."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("detectron2", reason="detectron2 is not installed: make setup DETECTRON2=PATH")
from detecting import TINY, cell_of, trainer

from jobs.lib import backbone
from jobs.lib.detectron import Detectron, converted, renamed
from jobs.lib.failure import BadWeights
from jobs.lib.view import View
from suite.catalog import Catalog, random_init
from suite.model import Weights
from suite.tasks.detection import COCO, COCO_FPN, DETECTION, FINETUNE, FROZEN


def stages(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    made = {}
    y = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    for number in range(1, 5):
        y = made[f"res{number + 1}"] = network.get_submodule(f"layer{number}")(y)
    return made


def lively(network: nn.Module) -> nn.Module:
    """The same network with norms as after a training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in ((module.weight, 0.5, 1.5), (module.bias, -0.2, 0.2),
                                      (module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 1.5)):  # fmt: skip
                assert tensor is not None
                nn.init.uniform_(tensor, low, high)
    return network


@pytest.mark.parametrize("norm", ["BN", "FrozenBN"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
@torch.no_grad()
def test_a_converted_network_gives_what_torchvisions_gives(name: str, norm: str) -> None:
    network = lively(backbone.build(random_init(name)))
    x = torch.randn(1, 3, 64, 96)
    expected = stages(network, x)
    body, rest, report = converted(network, norm, 0, False)
    torch.testing.assert_close(dict(body.eval()(x)), expected, rtol=1e-4, atol=1e-4)
    assert rest is None
    assert report.endswith("renamed for detectron2, 0 left over, 0 missing")
    body, rest, _ = converted(network, norm, 0, True)
    assert rest is not None
    torch.testing.assert_close(rest.eval()(body.eval()(x)["res4"]), expected["res5"], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_momentum_encoder_is_loaded_and_converted(tmp_path: Path) -> None:
    model = random_init("resnet50")
    network = lively(backbone.build(model))
    held = {f"module.encoder_q.{name}": tensor for name, tensor in network.state_dict().items()}
    held |= {f"module.encoder_k.{name}": torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    held |= {f"module.encoder_q.fc.{at}.weight": torch.randn(3, 3) for at in (0, 2)}
    torch.save({"state_dict": held, "epoch": 200}, tmp_path / "moco.pth.tar")
    loaded = backbone.load(replace(model, weights=Weights("moco.pth.tar")), tmp_path).network
    x = torch.randn(1, 3, 64, 64)
    body, _, _ = converted(loaded, "FrozenBN", 0, False)
    torch.testing.assert_close(dict(body(x)), stages(network, x), rtol=1e-4, atol=1e-4)


def test_every_tensor_finds_its_place() -> None:
    network = backbone.build(random_init("resnet18"))
    names = renamed([name for name in network.state_dict() if not name.startswith("fc.")])
    assert names["conv1.weight"] == "stem.conv1.weight"
    assert names["bn1.running_var"] == "stem.conv1.norm.running_var"
    assert names["layer3.0.downsample.0.weight"] == "res4.0.shortcut.weight"
    assert names["layer3.0.downsample.1.bias"] == "res4.0.shortcut.norm.bias"
    assert names["layer4.1.bn2.weight"] == "res5.1.conv2.norm.weight"
    assert len(set(names.values())) == len(names) == 100
    network.layer1[0].register_buffer("spare", torch.zeros(3))
    with pytest.raises(BadWeights, match=r"no place for \['layer1.0.spare'\]"):
        converted(network, "BN", 0, False)


def view(masks: bool) -> View:
    boxes = torch.tensor([[10.0, 10, 60, 60], [30, 40, 100, 90]])
    drawn: list[Any] = [[[10, 10, 60, 10, 60, 60.0]], [[30, 40, 100, 40, 100, 90.0]]]
    mixed = torch.zeros(96, 128, dtype=torch.bool).numpy()
    mixed[10:60, 10:60] = True
    return View(
        torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8),
        boxes,
        torch.tensor([1, 2]),
        [mixed, drawn[1]] if masks else None,
        (256, 192),
    )


@pytest.mark.parametrize(
    ("task", "name", "kind"),
    [
        (DETECTION, "resnet18", "detectron2 Faster R-CNN, C4"),
        (FINETUNE, "resnet18", "detectron2 Faster R-CNN, FPN"),
        (COCO, "resnet18", "detectron2 Mask R-CNN, C4"),
        (COCO_FPN, "resnet18", "detectron2 Mask R-CNN, FPN"),
        (DETECTION, "mobilenet_v2", "detectron2 Faster R-CNN, feature pyramid on maps"),
        (COCO_FPN, "timm:vit_tiny_patch16_224", "detectron2 Mask R-CNN, feature pyramid on maps"),
    ],
    ids=lambda one: getattr(one, "name", one),
)
def test_every_protocol_trains_and_finds(task: Any, name: str, kind: str) -> None:
    warnings.simplefilter("ignore")
    model = random_init(name)
    torch.manual_seed(0)
    settings = {**task.settings, "rois": 16, "detections": 5, "score_threshold": 0.0}
    settings |= {"rpn_before": (100, 100), "rpn_after": (20, 20), "width": 16, "head": 16}
    network = backbone.build(model)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    detector = Detectron(network, model, 5, settings)
    assert detector.kind == kind
    detector.train()
    losses = detector.losses([view(settings["masks"])])
    assert ("loss_mask" in losses) == settings["masks"]
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None for p in detector.parameters() if p.requires_grad)
    detector.eval()
    with torch.inference_mode():
        (found,) = detector.detect([view(False)])
    assert 0 < len(found.labels) <= 5
    assert found.boxes[:, 2].max() <= 256
    assert found.boxes[:, 3].max() <= 192
    assert (found.masks is not None) == settings["masks"]
    if found.masks:
        assert found.masks[0]["size"] == [192, 256]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())  # it was copied


def test_the_extra_norm_of_c4_is_there_where_norms_are_trained() -> None:
    model = random_init("resnet18")
    for task, there in ((DETECTION, True), (FINETUNE, False)):
        detector = Detectron(backbone.build(model), model, 5, {**task.settings, "detector": "c4"})
        assert ("network.roi_heads.res5.norm.weight" in detector.state_dict()) == there


def test_what_is_frozen_stays_to_the_bit(catalog: Catalog) -> None:
    settings = {**TINY, "norm": "frozen", "frozen_stages": FROZEN.settings["frozen_stages"], "iterations": 2}
    made = trainer(catalog, cell_of(catalog, "detection-short", "random-32px_resnet18", **settings))
    before = {name: tensor.clone() for name, tensor in made.learner.state_dict().items()}
    made.train()
    changed = {name for name, tensor in made.learner.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split("bottom_up.")[1].split(".")[0] for name in changed if "bottom_up" in name} == {"res5"}
    assert not any("norm" in name for name in changed if "bottom_up" in name)
