"""Segmenters against mmsegmentation, torchvision and loops: how an image of the test is looked at, and the decoders."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.lib import backbone
from jobs.lib.labelled import VOID, Shown, View
from jobs.lib.psp import Psp
from jobs.lib.segmenter import Segmenter, by_windows, probabilities
from suite import catalog
from suite.model import Input, Model
from suite.tasks.normals import PSP
from suite.tasks.segmentation import FCN, UPERNET

CPU = torch.device("cpu")
CLASSES = 5
SMALL: dict[str, Any] = {"crop": 0, "channels": 16, "auxiliary_channels": 8, "dropout": 0.0}
PATCHES = [("timm:vit_tiny_patch16_224", [4, 8, 16, 32]), ("timm:vit_small_patch32_224", [8, 16, 32, 64])]
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings(
        "ignore:Default ``avg_non_ignore`` is False", "ignore:When align_corners=True", "ignore:`torch.jit"
    ),
]


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(name: str) -> Model:
    return catalog.random_init(name)


def drawn(*sizes: tuple[int, int], classes: int = CLASSES) -> list[View]:
    """Views of noise; a fifth of the labels does not count."""
    found = []
    for size in sizes:
        image = torch.randint(256, (3, *size), generator=random()).byte()
        labels = torch.randint(classes, size, generator=random()).byte()
        labels[torch.rand(size, generator=random(1)) < 0.2] = VOID
        found.append(View(image, labels))
    return found


def batch(views: Sequence[View], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What a network is given of them, and their labels, padded to that size."""
    x, truth = torch.zeros(len(views), 3, *size), torch.full((len(views), *size), VOID)
    mean, std = (torch.tensor(part)[:, None, None] for part in (Input().mean, Input().std))
    for row, view in enumerate(views):
        rows, columns = view.labels.shape
        x[row, :, :rows, :columns] = (view.image / 255 - mean) / std
        truth[row, :rows, :columns] = view.labels.long()
    return x, truth


class Tiny(nn.Module):
    """A network whose scores depend on what is around a pixel and on where its window ends."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.down, self.up = nn.Conv2d(3, 8, 5, 2, 2), nn.Conv2d(8, CLASSES, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.up(self.down(x).relu()), x.shape[-2:], mode="bilinear")


# ---- how an image of the test is looked at


@pytest.mark.parametrize(
    ("size", "window", "stride"),
    [((41, 67), 32, 20), ((33, 32), 32, 32), ((20, 70), 32, 21), ((64, 96), 32, 32), ((19, 11), 32, 16)],
)
@torch.inference_mode()
def test_windows_are_mmsegmentations(size: tuple[int, int], window: int, stride: int) -> None:
    pytest.importorskip("mmseg", reason="mmsegmentation is not installed: make setup")
    from jobs.lib import openmmlab

    openmmlab.prepare()
    from mmengine.config import ConfigDict
    from mmseg.models import EncoderDecoder

    tiny, x = Tiny().eval(), torch.randn(2, 3, *size, generator=random())
    theirs = EncoderDecoder.__new__(EncoderDecoder)
    nn.Module.__init__(theirs)
    theirs.test_cfg = ConfigDict(stride=(stride, stride), crop_size=(window, window))
    theirs.out_channels = CLASSES
    theirs.encode_decode = lambda part, metas: tiny(part)
    expected = theirs.slide_inference(x, [{}])
    torch.testing.assert_close(by_windows(tiny, x, window, stride), expected)
    assert torch.allclose(expected, tiny(x), atol=1e-6) == (max(size) <= window)


@torch.inference_mode()
def test_a_window_that_holds_all_is_the_whole() -> None:
    tiny, x = Tiny().eval(), torch.randn(1, 3, 30, 50, generator=random())
    for window, stride in ((0, 0), (50, 30), (64, 1)):
        assert torch.equal(by_windows(tiny, x, window, stride), tiny(x))


@torch.inference_mode()
def test_windows_of_half_precision_are_added_up_in_full() -> None:
    scores = torch.randn(1, CLASSES, 20, 20, generator=random()).bfloat16()
    found = by_windows(lambda part: scores[..., : part.shape[-1]], torch.zeros(1, 3, 20, 30), 20, 1)
    expected = torch.zeros(1, CLASSES, 20, 30, dtype=torch.float64)
    for left in range(11):
        expected[..., left : left + 20] += scores
    expected /= torch.tensor([min(column + 1, 30 - column, 11) for column in range(30)])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-5)


def by_loop(logits: Callable[[Tensor], Tensor], shown: Shown, made_by: Input, multiple: int, flip: bool) -> Tensor:
    """The mean over sizes and sides, one after the other."""
    found = []
    for image in shown.images:
        rows, columns = image.shape[1:]
        for side in (False, True) if flip else (False,):
            x = image.flip(-1) if side else image
            x = (x / 255 - torch.tensor(made_by.mean)[:, None, None]) / torch.tensor(made_by.std)[:, None, None]
            x = F.pad(x, (0, -columns % multiple, 0, -rows % multiple))[None]
            scores = F.interpolate(logits(x)[..., :rows, :columns], shown.size, mode="bilinear", align_corners=False)[0]
            found.append((scores.flip(-1) if side else scores).softmax(0))
    return torch.stack(found).mean(0)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("multiple", [1, 32])
@pytest.mark.parametrize("sizes", [[(37, 53)], [(30, 44), (37, 53), (75, 107)]])
@torch.inference_mode()
def test_probabilities_are_the_mean_over_sizes_and_sides(
    sizes: Sequence[tuple[int, int]], multiple: int, flip: bool
) -> None:
    tiny, made_by = Tiny().eval(), Input()
    shown = Shown([view.image for view in drawn(*sizes)], (37, 53))
    settings = {"test_flip": flip, "test_window": 0, "test_stride": 0, "multiple": multiple, "align_corners": False}
    found = probabilities(tiny, shown, made_by, settings, CPU)
    assert found.shape == (CLASSES, 37, 53)
    torch.testing.assert_close(found.sum(0), torch.ones(37, 53))
    torch.testing.assert_close(found, by_loop(tiny, shown, made_by, multiple, flip), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_probabilities_by_windows() -> None:
    tiny, shown = Tiny().eval(), Shown([view.image for view in drawn((40, 60))], (20, 33))
    settings = {"test_flip": True, "test_window": 32, "test_stride": 16, "multiple": 1, "align_corners": False}
    found = probabilities(tiny, shown, Input(), settings, CPU)
    expected = by_loop(lambda x: by_windows(tiny, x, 32, 16), shown, Input(), 1, True)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, by_loop(tiny, shown, Input(), 1, True), atol=1e-4)


# ---- decoders of mmsegmentation


def built(name: str, decoder: str = "fcn", network: nn.Module | None = None, **settings: Any) -> Segmenter:
    pytest.importorskip("mmseg", reason="mmsegmentation is not installed: make setup")
    from jobs.lib.mmsegmentation import Mmsegmentation

    how = {**(FCN if decoder == "fcn" else UPERNET), **SMALL, **settings}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Mmsegmentation(network or backbone.build(model(name)), model(name), CLASSES, how)


def stages(network: nn.Module, x: Tensor) -> list[Tensor]:
    """Of torchvision's ResNets."""
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    return [x := layer(x) for layer in (network.layer1, network.layer2, network.layer3, network.layer4)]


@pytest.mark.parametrize(("name", "output_stride"), [("resnet18", 0), ("resnet50", 8)])
@torch.inference_mode()
def test_the_backbone_of_a_decoder_is_torchvisions(name: str, output_stride: int) -> None:
    given, x = backbone.build(model(name)), torch.randn(1, 3, 75, 101, generator=random())
    theirs = torchvision.models.get_model(
        name, weights=None, replace_stride_with_dilation=[False, *[output_stride == 8] * 2]
    ).eval()
    theirs.load_state_dict(given.state_dict(), strict=False)
    before = stages(given, x)
    made = built(name, network=given, output_stride=output_stride).eval()
    found = made.network.backbone(x)
    assert isinstance(found, tuple) and len(found) == 4
    assert all(torch.equal(one, stage) for one, stage in zip(found, stages(theirs, x), strict=True))
    assert made.network.backbone.strides == [4, 8, *([8, 8] if output_stride else [16, 32])]
    # What other cells work with is as it was, and nothing of it is trained.
    assert all(torch.equal(stage, was) for stage, was in zip(stages(given, x), before, strict=True))
    assert all(module.dilation == (1, 1) for module in given.modules() if isinstance(module, nn.Conv2d))
    own = {tensor.data_ptr() for tensor in given.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in made.state_dict().values()}


@pytest.mark.parametrize("decoder", ["fcn", "upernet"])
@pytest.mark.parametrize(("align_corners", "stride"), [(False, 1), (True, 4)])
def test_losses_are_cross_entropies_of_the_logits(decoder: str, align_corners: bool, stride: int) -> None:
    made = built("resnet18", decoder, align_corners=align_corners, multiple=32, label_stride=stride)
    views = drawn((60, 90), (64, 40))
    with torch.no_grad():
        losses = made.train().losses(views)
    assert set(losses) == {"decode.loss_ce", "aux.loss_ce"}

    x, truth = batch(views, (64, 96))
    truth = truth[:, ::stride, ::stride]
    network = built("resnet18", decoder, align_corners=align_corners).network.train()
    with torch.no_grad():
        maps = network.backbone(x)
        scores = {"decode.loss_ce": network.decode_head(maps), "aux.loss_ce": network.auxiliary_head(maps)}
    assert (network.auxiliary_head.in_index, network.auxiliary_head.in_channels) == (2, 256)  # the last map but one
    there = truth != VOID
    for (name, found), weight in zip(scores.items(), (1, 0.4), strict=True):
        found = F.interpolate(found, truth.shape[1:], mode="bilinear", align_corners=align_corners)
        likely = found.log_softmax(1).gather(1, truth.where(there, 0)[:, None])[:, 0]
        expected = -likely[there].sum() / truth.numel()  # over all pixels, as mmsegmentation has it
        torch.testing.assert_close(losses[name], weight * expected)


@pytest.mark.parametrize("decoder", ["fcn", "upernet"])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "timm:vit_tiny_patch16_224"])
def test_decoders_learn(name: str, decoder: str) -> None:
    made = built(name, decoder, output_stride=8 if decoder == "fcn" else 0).train()
    views = drawn((48, 64), (64, 48), classes=1)
    optimizer = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=0.05)
    before, losses = copy.deepcopy(made.state_dict()), []
    for _ in range(3):
        optimizer.zero_grad()
        loss = torch.stack(list(made.losses(views).values())).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    changed = {key.split(".")[1] for key, tensor in made.state_dict().items() if not torch.equal(tensor, before[key])}
    one_map = name.startswith("timm:vit") and decoder == "fcn"
    assert changed == {"backbone", "decode_head"} | (set() if one_map else {"auxiliary_head"})
    assert ("no auxiliary head, as there is one map only" in made.kind) == one_map
    assert ("with an auxiliary head" in made.kind) == (not one_map)
    assert made.kind.startswith(f"mmsegmentation {decoder} on strides [") and "mmcv " in made.kind
    with torch.inference_mode():
        logits = made.eval().logits(torch.randn(2, 3, 49, 70, generator=random()))
    assert logits.shape == (2, CLASSES, 49, 70)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("name", "strides"), PATCHES)
@torch.inference_mode()
def test_a_pyramid_on_one_map_is_of_the_strides_that_are_told(name: str, strides: list[int]) -> None:
    made = built(name, "upernet").eval()
    assert f"on strides {strides}," in made.kind
    found = made.network.backbone(torch.randn(1, 3, 64, 128, generator=random()))
    assert [(64 // one.shape[2], 128 // one.shape[3]) for one in found] == [(stride, stride) for stride in strides]


def test_an_auxiliary_head_can_be_left_out_and_begins_as_published() -> None:
    without = built("resnet18", auxiliary_weight=0.0)
    assert set(without.train().losses(drawn((64, 64), (64, 64)))) == {"decode.loss_ce"}
    made = built("resnet18", auxiliary_channels=256, channels=256).network
    for head in (made.decode_head, made.auxiliary_head):  # normal with a deviation of 0.01
        assert float(head.conv_seg.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
        assert not head.conv_seg.bias.any()


# ---- the decoder on a frozen backbone


def psp(name: str, network: nn.Module | None = None, **settings: Any) -> Psp:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        given = network or backbone.build(model(name))
        return Psp(given, model(name), CLASSES, {**PSP, "channels": 16, "dropout": 0.0, **settings})


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_a_frozen_backbone_stays_what_it_was_to_the_last_bit(name: str) -> None:
    given = backbone.build(model(name))
    made = psp(name, given)
    before = copy.deepcopy(given.state_dict())
    assert [module.training for module in made.train().maps.modules()].count(True) == 0
    decoder = {key: tensor.clone() for key, tensor in made.state_dict().items() if not key.startswith("maps.")}
    trained = [parameter for parameter in made.parameters() if parameter.requires_grad]
    assert {id(p) for p in trained} == {id(p) for part in (made.pools, made.decoder) for p in part.parameters()}
    views = drawn((64, 96), (56, 80), classes=1)
    optimizer, losses = torch.optim.SGD(made.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2), []
    for _ in range(3):
        optimizer.zero_grad()
        loss = made.losses(views)["labels"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    frozen = made.maps.network.state_dict()
    assert frozen.keys() == before.keys()
    assert not {tensor.data_ptr() for tensor in frozen.values()} & {t.data_ptr() for t in given.state_dict().values()}
    assert all(module.dilation == (1, 1) for module in given.modules() if isinstance(module, nn.Conv2d))
    for state in (frozen, given.state_dict()):
        assert all(torch.equal(tensor, before[key]) for key, tensor in state.items())
    moved = made.state_dict()
    assert not any(torch.equal(moved[key], tensor) for key, tensor in decoder.items())


@pytest.mark.parametrize(
    ("name", "asked", "stride"), [("resnet18", 8, 8), ("resnet18", 0, 32), ("timm:vit_tiny_patch16_224", 8, 16)]
)
def test_its_output_stride(name: str, asked: int, stride: int) -> None:
    made = psp(name, output_stride=asked).eval()
    why = "; not dilated: its map of stride 16 has 28 x 56 cells for 448 x 896 pixels, not 56 x 112"
    assert made.kind == f"pyramid pooling on a frozen map of stride {stride}{why if stride == 16 else ''}"
    x = torch.randn(1, 3, 70, 101, generator=random())
    with torch.inference_mode():
        assert made._decoded(x).shape == (1, CLASSES, math.ceil(70 / stride), math.ceil(101 / stride))
        assert made.logits(x).shape == (1, CLASSES, 70, 101)


@pytest.mark.parametrize(("output_stride", "label_stride"), [(8, 8), (0, 8), (8, 1)])
def test_its_loss_is_the_cross_entropy_of_its_logits(output_stride: int, label_stride: int) -> None:
    made = psp("resnet18", output_stride=output_stride, label_stride=label_stride).train()
    views = drawn((64, 96), (60, 90))
    losses = made.losses(views)
    assert set(losses) == {"labels"}
    x, truth = batch(views, (64, 96))
    truth = truth[:, ::label_stride, ::label_stride]
    made = psp("resnet18", output_stride=output_stride).train()
    found = F.interpolate(made._decoded(x), truth.shape[1:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(losses["labels"], F.cross_entropy(found, truth, ignore_index=VOID))


def test_its_loss_where_nothing_counts() -> None:
    views = [View(view.image, torch.full_like(view.labels, VOID)) for view in drawn((64, 64), (64, 64))]
    loss = psp("resnet18").train().losses(views)["labels"]
    loss.backward()
    assert loss == 0


@torch.inference_mode()
def test_its_decoder_is_that_of_the_paper() -> None:
    """By hand: bins of 1, 2, 3 and 6, each a convolution of one pixel; then one of three, and one of one."""
    made, x = psp("resnet18").eval(), torch.randn(2, 3, 64, 96, generator=random())
    top = made.maps(x)[32]
    parts = [top]
    for bins, (_, convolution, norm, relu) in zip((1, 2, 3, 6), made.pools, strict=True):
        cells = relu(norm(convolution(F.adaptive_avg_pool2d(top, bins))))
        assert cells.shape == (2, 16, bins, bins)
        parts.append(F.interpolate(cells, top.shape[2:], mode="bilinear", align_corners=False))
    torch.testing.assert_close(made._decoded(x), made.decoder(torch.cat(parts, 1)))
    kernels = [m.kernel_size for m in made.decoder if isinstance(m, nn.Conv2d)]
    assert kernels == [(3, 3), (1, 1)]
    np.testing.assert_allclose(made.maps.at[32], 8)
