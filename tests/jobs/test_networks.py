"""Networks of our own against the libraries, against the same mathematics written out, and against published facts."""

from __future__ import annotations

import csv
import math
import pickle
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import timm
import torch
from networks import build, images
from torch import Tensor, nn
from torch.nn import functional

from jobs.lib import architectures, networks
from jobs.lib.maps import maps
from jobs.lib.networks.t2t import T2T
from suite import architecture

Tensors = dict[str, Tensor]
pytestmark = pytest.mark.usefixtures("one_thread")


def made(name: str, classes: int = 0) -> nn.Module:
    make = networks.find(name)
    assert make is not None
    return make(classes).eval()


def shapes(name: str, classes: int = 0) -> nn.Module:
    """A network that has shapes only."""
    with torch.device("meta"):
        return made(name, classes)


def lively(network: nn.Module) -> nn.Module:
    """The same network with norms as after a training, and convolutions through which the input is felt to the end."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        owner = network.get_submodule(name.rpartition(".")[0])
        if isinstance(owner, nn.BatchNorm2d | nn.LayerNorm) and tensor.is_floating_point():
            low, high = (-0.2, 0.2) if name.endswith(("bias", "mean")) else (0.5, 1.5)
            tensor.uniform_(low, high, generator=generator)
        elif isinstance(owner, nn.Conv2d) and tensor.ndim == 4:
            nn.init.kaiming_normal_(tensor, generator=generator)
    return network.eval()


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def operations(network: nn.Module, side: int) -> int:
    """Multiplications of the convolutions and linear layers for one image."""
    total = 0

    def add(layer: nn.Module, given: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer.weight, Tensor)
        total += output.numel() * layer.weight[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    network(torch.empty(1, 3, side, side, device="meta"))
    return total


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> bool:
    return found.shape == expected.shape and bool((found - expected).abs().max() <= tolerance * expected.abs().max())


def test_the_table_has_them_between_torchvisions_and_timms() -> None:
    with architecture.TABLE.open(newline="", encoding="utf-8") as file:
        table = {row[0]: row for row in csv.reader(file)}
    ours = networks.names()
    order = list(table)
    first = order.index(ours[0])
    assert order[first : first + len(ours)] == ours
    assert order[first - 1] == "wide_resnet50_2"
    assert order[first + len(ours)].startswith("timm:")
    assert {tuple(table[name][1:]) for name in ours if name.startswith("cifar")} == {tuple(table[ours[0]][1:])}
    for name in [one for one in ours if one not in ("cifar_resnet32", "cifar_resnet44", "cifar_resnet56")]:
        assert architectures.cells(architectures.own_architecture(name)) == table[name]


def test_a_name_that_is_not_ours() -> None:
    assert networks.find("resnet50") is None
    assert networks.usual_input("clip_resnet50").mean[0] == 0.48145466


SIZES = {
    "cifar_resnet20": (64, 10, 269_072 + 650),
    "cifar_resnet110": (64, 10, 1_727_312 + 650),
    "clip_resnet50": (1024, 0, 38_316_896),
    "deit_base_distilled_384": (768, 0, 86_092_032),
    "deit_small_distilled": (384, 0, 21_666_432),
    "nat_m4": (1536, 1000, 9_135_928),
    "ofa_595m": (1536, 1000, 9_135_928),
    "resnet50_same": (2048, 1000, 25_557_032),
    "resnet50_same_pool": (2048, 0, 23_508_032),
    "t2t_vit_t_14": (384, 1000, 21_465_422),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str) -> None:
    dimension, classes, parameters = SIZES[name]
    row = architecture.find(name)
    assert row.dimension == dimension
    assert size(shapes(name, classes)) == parameters
    image = torch.empty(1, 3, row.size, row.size, device="meta")
    assert shapes(name)(image).shape == (1, dimension)
    assert shapes(name, 7)(image).shape == (1, 7)


@torch.inference_mode()
def test_clip_is_timms() -> None:
    ours = lively(made("clip_resnet50"))
    given = ours.state_dict()
    with torch.device("meta"):
        theirs = timm.create_model("resnet50_clip").eval()
    theirs.load_state_dict({timms_clip(name): tensor for name, tensor in given.items()}, assign=True)
    x = images(2, 3, 224, 224)
    assert close(ours(x), theirs(x))
    assert {name for name in made("clip_resnet50", 5).state_dict() if name not in given} == {"fc.weight", "fc.bias"}


CLIP = (
    (r"^(conv|bn)(\d)\.", r"stem.conv\2.\1."),
    (r"^layer1", "stages.0"),
    (r"^layer2", "stages.1"),
    (r"^layer3", "stages.2"),
    (r"^layer4", "stages.3"),
    (r"(\d)\.(conv|bn)([13])\.", r"\1.conv\3_1x1.\2."),
    (r"(\d)\.(conv|bn)2\.", r"\1.conv2_kxk.\2."),
    (r"downsample\.0", "shortcut.conv.conv"),
    (r"downsample\.1", "shortcut.conv.bn"),
    (r"attnpool\.positional_embedding", "head.pos_embed"),
    (r"attnpool\.([qkv])_proj", r"head.\1"),
    (r"attnpool\.c_proj", "head.proj"),
)


def timms_clip(name: str) -> str:
    """timm's name of a tensor of CLIP's."""
    for pattern, to in CLIP:
        name = re.sub(pattern, to, name)
    return name


@pytest.mark.parametrize(
    ("name", "timms"),
    [
        ("deit_small_distilled", "deit_small_distilled_patch16_224"),
        ("deit_base_distilled_384", "deit_base_distilled_patch16_384"),
    ],
)
def test_deits_are_timms(name: str, timms: str) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(timms)
    for classes in (0, 1000):
        theirs.reset_classifier(classes)
        given = {known: tensor.shape for known, tensor in theirs.state_dict().items()}
        assert {known: tensor.shape for known, tensor in shapes(name, classes).state_dict().items()} == given


@torch.inference_mode()
def test_the_feature_of_a_deit_is_its_class_token() -> None:
    theirs = lively(timm.create_model("deit_small_distilled_patch16_224"))
    ours, whole, x = shapes("deit_small_distilled"), shapes("deit_small_distilled", 1000), images(1, 3, 224, 224)
    given = theirs.state_dict()
    ours.load_state_dict({name: tensor for name, tensor in given.items() if not name.startswith("head")}, assign=True)
    whole.load_state_dict(given, assign=True)
    tokens = theirs.forward_features(x)
    assert close(ours(x), tokens[:, 0])
    assert close(whole(x), theirs(x))
    assert not close(ours(x), theirs.forward_head(tokens, pre_logits=True), 1e-2)


# What EfficientNets and once-for-all networks have in common, written out.

Act = Callable[[Tensor], Tensor]


def normed(t: Tensors, conv: str, norm: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = t[f"{conv}.weight"]
    kernel, groups = weight.shape[2], x.shape[1] // weight.shape[1]
    x = functional.conv2d(x, weight, None, stride, (kernel - 1) // 2, 1, groups)
    mean, var, gain, shift = (
        t[f"{norm}.{n}"].view(-1, 1, 1) for n in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * gain + shift


def gated(t: Tensors, reduce: str, expand: str, x: Tensor, act: Act, gate: Act) -> Tensor:
    y = x.mean((2, 3))
    for name, after in ((reduce, act), (expand, gate)):
        y = after(functional.linear(y, t[f"{name}.weight"].flatten(1), t[f"{name}.bias"]))
    return x * y[:, :, None, None]


def swish(x: Tensor) -> Tensor:
    return x * x.sigmoid()


def mish(x: Tensor) -> Tensor:
    return x * (1 + x.exp()).log().tanh()


def hard_sigmoid(x: Tensor) -> Tensor:
    return (x / 6 + 0.5).clamp(0, 1)


HALVE = (1, 4, 8, 16)  # blocks of once-for-all that do
SQUEEZE = (4, 5, 6, 7, *range(12, 20))


def once_for_all(t: Tensors, x: Tensor, act: Act, first_acts: Act, gate: Act) -> Tensor:
    x = act(normed(t, "first_conv.conv", "first_conv.bn", x, 2))
    for number in range(20):
        at, kind = f"blocks.{number}.mobile_inverted_conv", first_acts if number < 8 else act
        y = x
        if number:
            y = kind(normed(t, f"{at}.inverted_bottleneck.conv", f"{at}.inverted_bottleneck.bn", y))
        y = kind(normed(t, f"{at}.depth_conv.conv", f"{at}.depth_conv.bn", y, 2 if number in HALVE else 1))
        if number in SQUEEZE:
            y = gated(t, f"{at}.depth_conv.se.fc.reduce", f"{at}.depth_conv.se.fc.expand", y, torch.relu, gate)
        y = normed(t, f"{at}.point_linear.conv", f"{at}.point_linear.bn", y)
        x = x + y if x.shape == y.shape else y
    x = act(normed(t, "final_expand_layer.conv", "final_expand_layer.bn", x))
    return act(functional.linear(x.mean((2, 3)), t["feature_mix_layer.conv.weight"].flatten(1)))


@pytest.mark.parametrize(
    ("name", "how"),
    [("ofa_595m", (swish, torch.relu, torch.sigmoid)), ("nat_m4", (mish, mish, hard_sigmoid))],
)
@torch.inference_mode()
def test_once_for_all(name: str, how: tuple[Act, Act, Act]) -> None:
    network, x = lively(made(name, 10)).double(), images(2, 3, 33, 48).double()
    t = network.state_dict()
    feature = once_for_all(t, x, *how)
    logits = functional.linear(feature, t["classifier.linear.weight"].flatten(1), t["classifier.linear.bias"])
    assert close(network(x), logits)
    assert close(network(x[:1]), logits[:1])
    assert t["classifier.linear.weight"].ndim == (4 if name == "ofa_595m" else 2)
    headless = shapes(name)
    features = {known: tensor for known, tensor in t.items() if not known.startswith("classifier")}
    headless.load_state_dict(features, assign=True)
    assert close(headless(x), feature)


def test_once_for_all_has_the_published_number_of_operations() -> None:
    assert round(operations(shapes("ofa_595m", 1000), 236) / 1e6) == 595
    assert round(operations(shapes("nat_m4", 1000), 240) / 1e6) == 600


def test_once_for_all_gives_maps() -> None:
    x = images(1, 3, 65, 96)
    given = maps(build("ofa_595m"), "ofa_595m")(x)
    assert {stride: tuple(found.shape[1:]) for stride, found in given.items()} == {
        4: (32, 17, 24), 8: (48, 9, 12), 16: (136, 5, 6), 32: (1152, 3, 3)
    }  # fmt: skip


EFFICIENTNETS = {  # of pycls: stem, depths, widths, head, millions of parameters
    "efficientnet_b1": (32, (2, 3, 3, 4, 4, 5, 2), (16, 24, 40, 80, 112, 192, 320), 1280, 7.8),
    "efficientnet_b4": (48, (2, 4, 4, 6, 6, 8, 2), (24, 32, 56, 112, 160, 272, 448), 1792, 19.3),
}
KERNELS, STRIDES, EXPANSIONS = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1), (1, 6, 6, 6, 6, 6, 6)


def pycls_efficientnet(t: Tensors, depths: tuple[int, ...], x: Tensor) -> Tensor:
    x = swish(normed(t, "conv_stem", "bn1", x, 2))
    for stage, (depth, stride) in enumerate(zip(depths, STRIDES, strict=True)):
        for block in range(depth):
            at, y = f"blocks.{stage}.{block}", x
            names = ("conv_dw", "bn1", "conv_pw", "bn2") if stage == 0 else ("conv_dw", "bn2", "conv_pwl", "bn3")
            depthwise, first, last, second = (f"{at}.{name}" for name in names)
            if stage:
                y = swish(normed(t, f"{at}.conv_pw", f"{at}.bn1", y))
            y = swish(normed(t, depthwise, first, y, 1 if block else stride))
            y = gated(t, f"{at}.se.conv_reduce", f"{at}.se.conv_expand", y, swish, torch.sigmoid)
            y = normed(t, last, second, y)
            x = x + y if x.shape == y.shape else y
    return swish(normed(t, "conv_head", "bn2", x)).mean((2, 3))


@pytest.mark.parametrize("name", EFFICIENTNETS)
@torch.inference_mode()
def test_timms_efficientnets_are_those_of_pycls(name: str) -> None:
    stem, depths, widths, head, millions = EFFICIENTNETS[name]
    network = lively(timm.create_model(name)).double()
    t = network.state_dict()
    assert round(size(network) / 1e6, 1) == millions
    assert [len(stage) for stage in network.blocks] == list(depths)
    assert t["conv_stem.weight"].shape == (stem, 3, 3, 3)
    assert t["conv_head.weight"].shape == (head, widths[-1], 1, 1)
    into = stem
    for stage, (out, kernel, expansion) in enumerate(zip(widths, KERNELS, EXPANSIONS, strict=True)):
        for block in range(depths[stage]):
            at = f"blocks.{stage}.{block}"
            assert t[f"{at}.conv_dw.weight"].shape == (into * expansion, 1, kernel, kernel)
            assert t[f"{at}.se.conv_reduce.weight"].shape == (into // 4, into * expansion, 1, 1)
            into = out
    x = images(1, 3, 33, 48).double()
    feature = pycls_efficientnet(t, depths, x)
    assert close(network(x), functional.linear(feature, t["classifier.weight"], t["classifier.bias"]))
    network.reset_classifier(0)
    assert close(network(x), feature)


@cache
def t2t() -> T2T:
    network = lively(T2T(0))
    assert isinstance(network, T2T)
    return network


@torch.inference_mode()
def test_the_blocks_of_t2t_are_timms() -> None:
    network, tokens = t2t(), images(2, 197, 384)
    theirs = nn.Sequential(
        *(timm.models.vision_transformer.Block(384, 6, mlp_ratio=3, qkv_bias=False, norm_layer=nn.LayerNorm)
          for _ in range(14))
    ).eval()  # fmt: skip
    theirs.load_state_dict(network.blocks.state_dict())
    assert close(network.blocks(tokens), theirs(tokens))


@torch.inference_mode()
def test_the_tokens_of_t2t() -> None:
    network, x = t2t().tokens_to_token, images(1, 3, 224, 224)
    t = network.state_dict()

    def narrowed(at: str, tokens: Tensor) -> Tensor:
        width = tokens.shape[-1]
        normed = functional.layer_norm(tokens, (width,), t[f"{at}.norm1.weight"], t[f"{at}.norm1.bias"])
        q, k, v = (normed @ part.T for part in t[f"{at}.attn.qkv.weight"].split(64))
        found = (q @ k.mT / width**0.5).softmax(-1) @ v
        y = v + functional.linear(found, t[f"{at}.attn.proj.weight"], t[f"{at}.attn.proj.bias"])
        z = functional.layer_norm(y, (64,), t[f"{at}.norm2.weight"], t[f"{at}.norm2.bias"])
        z = functional.gelu(functional.linear(z, t[f"{at}.mlp.fc1.weight"], t[f"{at}.mlp.fc1.bias"]))
        return y + functional.linear(z, t[f"{at}.mlp.fc2.weight"], t[f"{at}.mlp.fc2.bias"])

    first = narrowed("attention1", functional.unfold(x, 7, padding=2, stride=4).mT)
    assert first.shape == (1, 56 * 56, 64)
    grid = first.mT.reshape(1, 64, 56, 56)
    second = narrowed("attention2", functional.unfold(grid, 3, padding=1, stride=2).mT)
    grid = second.mT.reshape(1, 64, 28, 28)
    third = functional.unfold(grid, 3, padding=1, stride=2).mT
    assert third.shape == (1, 196, 576)
    assert close(network(x), functional.linear(third, t["project.weight"], t["project.bias"]), 1e-4)


@torch.inference_mode()
def test_the_feature_of_t2t_is_its_class_token() -> None:
    network, x = t2t(), images(1, 3, 224, 224)
    places = network.state_dict()["pos_embed"]
    assert places.shape == (1, 197, 384)
    for place, at in ((0, 0), (3, 0), (196, 12), (50, 382)):
        angle = place / 10000 ** (at / 384)
        assert places[0, place, at].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert places[0, place, at + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    assert "pos_embed" not in dict(network.named_parameters())  # it is not trained
    tokens = torch.cat([network.cls_token, network.tokens_to_token(x)], 1) + places
    assert close(network(x), network.norm(network.blocks(tokens))[:, 0])
    with pytest.raises(RuntimeError):
        network(images(1, 3, 256, 256))


@torch.inference_mode()
def test_a_cifar_resnet_with_its_weights_knows_cifar(shared: Path) -> None:
    held = torch.load(shared / "weights" / "cifar10_resnet20-12fca82f.th", map_location="cpu", weights_only=True)
    network = made("cifar_resnet20", 10)
    left = network.load_state_dict(
        {name.removeprefix("module."): tensor for name, tensor in held["state_dict"].items()}, strict=False
    )
    assert not left.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in left.missing_keys)
    with open(shared / "cifar10_mini" / "cifar-10-batches-py" / "test_batch", "rb") as file:
        batch = pickle.load(file, encoding="latin1")
    usual = networks.usual_input("cifar_resnet20")
    mean, std = (torch.tensor(one)[:, None, None] for one in (usual.mean, usual.std))
    x = (torch.from_numpy(batch["data"]).view(-1, 3, 32, 32) / 255 - mean) / std
    right = (network(x).argmax(1) == torch.tensor(batch["labels"])).sum().item()
    assert len(x) == 500
    assert right >= 455


@torch.inference_mode()
def test_a_cifar_resnet_takes_any_size() -> None:
    network = build("cifar_resnet32")
    assert network(images(2, 3, 33, 50)).shape == (2, 64)
    giver = maps(network, "cifar_resnet32")
    assert giver.at == {4: 4}
    assert giver(images(1, 3, 33, 50))[4].shape == (1, 64, 9, 13)
