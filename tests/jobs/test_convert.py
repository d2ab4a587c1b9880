"""Conversion: of published files in their wrappings one uniform file, every tensor accounted for; naming schemes."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import tf_writer
import timm
import torch

from jobs import convert as program
from jobs.lib import backbone, names, networks, weights
from jobs.lib.convert import convert, renamed
from jobs.lib.failure import BadWeights
from suite import checkpoint
from suite.catalog import Catalog
from suite.entry import as_json
from suite.model import Input, Model, Origin, Weights

State = dict[str, Any]
SMALL = Input(size=64, resize=64)
MOCO = Origin(
    prefix="state_dict.module.encoder_q.",
    leftover=("state_dict.module.encoder_k.*", "*.queue", "optimizer.*", "never.*"),
    rename=((r"^head\.(\d)\.", r"fc\1."), (r"^fc0\.", "fc.")),
)


def model(origin: Origin, **more: Any) -> Model:
    given = {"architecture": "timm:test_resnet", "dimension": 96, "input": SMALL, "classes": 5, "licence": "MIT"}
    return Model("moco_tiny", **given | more, weights=Weights("moco_tiny.safetensors", origin=origin))


@pytest.fixture(scope="module")
def state() -> State:
    """A small ResNet with its classifier, numbers in its batch norms that are not the default."""
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=5)
    for name, buffer in network.named_buffers():
        if buffer.dtype.is_floating_point:
            buffer.uniform_(*((-0.1, 0.1) if name.endswith("running_mean") else (0.5, 1.5)))
    found: State = network.state_dict()
    return found


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def published(state: State) -> State:
    """As MoCo keeps it: two encoders of one shape, a queue, an optimiser; and the classifier by another name."""
    own = {name.replace("fc.", "head.0."): tensor for name, tensor in state.items()}
    both = prefixed(own, "module.encoder_q.") | prefixed(own, "module.encoder_k.")
    return {"state_dict": both | {"module.queue": torch.ones(2, 4)}, "optimizer": {"lr": torch.ones(1)}, "epoch": 3}


def written(held: Any, folder: Path, origin: Origin = MOCO, **more: Any) -> tuple[str, Path]:
    torch.save(held, folder / "published.pth")
    to = folder / "weights" / "moco_tiny.safetensors"
    told = convert(model(origin, **more), [folder / "published.pth"], to, "https://a/b.pth", "ab" * 32)
    return told, to


def test_what_is_written_is_the_network(state: State, tmp_path: Path) -> None:
    told, to = written(published(state), tmp_path)
    parameters = sum(p.numel() for p in timm.create_model("test_resnet", num_classes=0).parameters())
    assert told == (
        f"moco_tiny: 90 tensors, {parameters:,} parameters + a classifier of 5; left over: 94 "
        "(state_dict.module.encoder_k.conv1.0.weight, state_dict.module.encoder_k.conv1.1.weight, "
        "state_dict.module.encoder_k.conv1.1.bias, state_dict.module.encoder_k.conv1.1.running_mean, ...)"
    )
    entry = model(MOCO)
    truth, images = backbone.whole(entry), torch.randn(2, 3, 64, 64)
    truth.load_state_dict(state)
    whole = backbone.whole(entry)
    whole.load_state_dict(weights.read(to))
    bare = backbone.load(entry, to.parent).network
    with torch.inference_mode():
        assert torch.equal(whole(images), truth(images))
        assert torch.equal(bare(images), truth.forward_head(truth.forward_features(images), pre_logits=True))
    assert checkpoint.inspect(to).tensors.keys() == state.keys()
    assert list(to.parent.iterdir()) == [to]


def test_facts_and_bytes(state: State, tmp_path: Path) -> None:
    _, to = written(published(state), tmp_path)
    before = to.read_bytes()
    with safetensors.safe_open(to, "pt") as file:
        facts = file.metadata()
    assert json.loads(facts.pop("input")) == as_json(SMALL)
    assert facts == {
        "model": "moco_tiny",
        "architecture": "timm:test_resnet",
        "dimension": "96",
        "source": "https://a/b.pth",
        "sha256": "ab" * 32,
        "licence": "MIT",
    }
    for _ in range(3):
        written(published(state), tmp_path)
        assert to.read_bytes() == before
    assert int.from_bytes(before[:8], "little") % 8 == 0


def test_types_stay(state: State, tmp_path: Path) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    _, to = written(half, tmp_path, Origin())
    kinds = {tensor.dtype for tensor in weights.read(to).values()}
    assert kinds == {torch.float16, torch.int64}
    backbone.load(model(Origin()), to.parent)


def test_a_backbone_alone(state: State, tmp_path: Path) -> None:
    counters = {name for name in state if name.endswith("num_batches_tracked")}
    bare = {name: tensor for name, tensor in state.items() if name not in counters and not name.startswith("fc.")}
    told, to = written(bare, tmp_path, Origin(), classes=0)
    assert re.fullmatch(r"moco_tiny: 90 tensors, [\d,]+ parameters", told)
    found = weights.read(to)
    assert found.keys() == bare.keys() | counters
    assert not any(found[name] for name in counters)


def test_what_an_entry_says_is_missing_is_the_networks_own(state: State, tmp_path: Path) -> None:
    gone = {name: tensor for name, tensor in state.items() if not name.startswith("layer2.0.downsample.")}
    _, to = written(gone, tmp_path, Origin(missing=("layer2.0.downsample.*",)))
    own = backbone.whole(model(Origin())).state_dict()
    name = "layer2.0.downsample.1.weight"
    assert torch.equal(weights.read(to)[name], own[name])


def test_edges(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=5, in_chans=2)
    _, to = written(network.state_dict(), tmp_path, Origin(), input=replace(SMALL, channels="sobel"))
    assert checkpoint.inspect(to).tensors["conv1.0.weight"][1] == 2


# ---- what is refused


def refused(held: Any, folder: Path, origin: Origin = MOCO, **more: Any) -> str:
    with pytest.raises(BadWeights) as caught:
        written(held, folder, origin, **more)
    assert "\n" not in str(caught.value)
    assert not (folder / "weights").exists()
    return str(caught.value)


def test_every_tensor_is_accounted_for(state: State, tmp_path: Path) -> None:
    held = published(state)
    inner = held["state_dict"]
    inner["module.encoder_q.extra"] = torch.ones(1)
    held["other"] = {"tensor": torch.ones(1)}
    told = refused(held, tmp_path)
    assert "0 tensors of the network missing , 0 of another shape , 2 of the file" in told
    assert told.endswith("neither the network's nor left over (other.tensor, extra)")
    del inner["module.encoder_q.extra"], held["other"], inner["module.encoder_q.conv1.1.bias"]
    inner["module.encoder_q.conv1.0.weight"] = torch.ones(3)
    told = refused(held, tmp_path)
    assert "the checkpoint is not timm:test_resnet: 1 tensors of the network missing (conv1.1.bias)" in told
    assert "1 of another shape (conv1.0.weight (3,), not (" in told
    assert "2 of the file" in refused(published(state), tmp_path, classes=0)
    assert "2 of another shape (fc.weight (5, 96), not (7, 96), fc.bias (5,), not (7,))" in refused(
        published(state), tmp_path, classes=7
    )


def test_a_prefix_is_whole(state: State, tmp_path: Path) -> None:
    """What lies elsewhere by a name of the network's is not taken for it."""
    held = prefixed(state, "module.") | {"conv1.1.bias": state["conv1.1.bias"]}
    del held["module.conv1.1.bias"]
    told = refused(held, tmp_path, Origin(prefix="module."))
    assert "1 tensors of the network missing (conv1.1.bias)" in told
    assert "nor left over (conv1.1.bias)" in told


def test_numbers_are_looked_at(state: State, tmp_path: Path) -> None:
    for value in (float("nan"), float("inf")):
        broken = state | {"conv1.1.bias": torch.full_like(state["conv1.1.bias"], value)}
        assert "1 tensors hold NaN or infinity (conv1.1.bias)" in refused(broken, tmp_path, Origin())
    zero = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    assert "are not finite, or all zero" in refused(zero, tmp_path, Origin())
    told = refused(state, tmp_path, Origin(), dimension=95)
    assert "features of shape (2, 96) of 2 images, not (2, 95)" in told


def test_rules_that_cannot_be(state: State, tmp_path: Path) -> None:
    twice = Origin(rename=((r"^layer1\.0\.conv2\.", "layer1.0.conv1."),))
    told = refused(state, tmp_path, twice)
    assert "two tensors of the file are layer1.0.conv1.weight by the entry's rules" in told
    assert "no naming scheme 'tf_vit'" in refused(state, tmp_path, Origin(names="tf_vit"))
    with pytest.raises(BadWeights, match="names no published checkpoint"):
        convert(Model("random_resnet18", "resnet18", 512), [], tmp_path / "w", "", "")


# ---- the program


def test_the_program(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Catalog, "models", {"moco_tiny": model(MOCO)})
    torch.save(published(state), tmp_path / "w.pth")
    words = ["moco_tiny", "--store", str(tmp_path / "store"), "--source", "https://a/w.pth", "--sha256", "00"]
    monkeypatch.setattr(sys, "argv", ["jobs.convert", *words, str(tmp_path / "w.pth")])
    assert program.main() == 0
    said = capsys.readouterr()
    assert said.out.startswith("moco_tiny: 90 tensors, ")
    assert said.out.count("\n") == 1
    assert (tmp_path / "store/weights/moco_tiny.safetensors").is_file()
    for words in (["moco_tiny", "none.pth"], ["moco_tony", "w.pth"]):
        monkeypatch.setattr(sys, "argv", ["jobs.convert", *words, "--store", str(tmp_path / "store")])
        assert program.main() == os.EX_DATAERR
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert not said.out
    assert "did you mean moco_tiny" in said.err


# ---- the uniform file in the jobs

LIBRARIES = ("resnet18", "vgg11_bn", "inception_v3", "squeezenet1_0", "densenet121", "mobilenet_v3_small", "vit_b_16")
LIBRARIES += ("swin_t", "timm:test_resnet", "timm:test_vit", "timm:efficientnet_b1", "timm:mixer_b16_224")
LIBRARIES += ("timm:tresnet_m", "timm:mobilenetv3_large_100", "timm:deit_base_distilled_patch16_384")


@pytest.mark.parametrize("architecture", [*LIBRARIES, *networks.names()])
def test_a_classifier_beside_the_backbone_is_left_unused(architecture: str) -> None:
    """What `weights.load` finds in a uniform file beside the backbone has a head's name, and the backbone is whole."""
    entry = Model("m", architecture, classes=1000)
    with torch.device("meta"):
        whole, bare = backbone.whole(entry).state_dict(), backbone.build(entry).state_dict()
    assert bare.keys() <= whole.keys()
    heads = whole.keys() - bare.keys()
    assert [name for name in heads if not weights.like(name, weights.HEADS)] == []
    assert {whole[name].shape[0] for name in heads} <= {1000}


# ---- naming schemes: each tensor is one number, repeated, so that it is known wherever it goes


def marked(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(float(number)).expand(shape) for number, (name, shape) in enumerate(shapes.items())}


def mark(tensor: torch.Tensor) -> float:
    return float(tensor.flatten()[0])


def shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """Of a network with 1000 classes, without the counters."""
    with torch.device("meta"):
        made = backbone.whole(Model("m", architecture, classes=1000)).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in made.items() if not name.endswith("num_batches_tracked")}


def bottlenecks() -> Iterator[tuple[str, tuple[int, ...]]]:
    """The convolutions of a ResNet-50 as SimCLR's graph is built: where, and height, width, inputs, outputs."""
    yield "stem", (7, 7, 3, 64)
    before = 64
    for layer, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**layer
        for block in range(blocks):
            if block == 0:
                yield f"{layer} {block} shortcut", (1, 1, before, 4 * width)
            yield f"{layer} {block} 0", (1, 1, before, width)
            yield f"{layer} {block} 1", (3, 3, width, width)
            yield f"{layer} {block} 2", (1, 1, width, 4 * width)
            before = 4 * width


def simclr() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for number, (_, shape) in enumerate(bottlenecks()):
        own = f"_{number}" if number else ""
        found[f"base_model/conv2d{own}/kernel"] = shape
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            found[f"base_model/batch_normalization{own}/{part}"] = shape[-1:]
    head = "head_supervised/linear_layer/dense"
    return found | {f"{head}/kernel": (2048, 1000), f"{head}/bias": (1000,)}


def test_simclr() -> None:
    given = marked(simclr())
    found = names.tf_resnet(given)
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == shapes("resnet50")
    # Numbers of the public graph, whose 43rd convolution is the last shortcut: 1024 -> 2048.
    for number, name in {
        1: "layer1.0.downsample.0",
        2: "layer1.0.conv1",
        5: "layer1.1.conv1",
        11: "layer2.0.downsample.0",
        24: "layer3.0.downsample.0",
        43: "layer4.0.downsample.0",
        52: "layer4.2.conv3",
    }.items():
        assert mark(found[f"{name}.weight"]) == mark(given[f"base_model/conv2d_{number}/kernel"])
    for norm, (number, of) in {
        "bn1": ("", "bn1"),
        "layer1.0.downsample.1": ("_1", ""),
        "layer4.2.bn3": ("_52", ""),
    }.items():
        for own, part in {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean"}.items():
            there = given[f"base_model/batch_normalization{number}/{part}"]
            assert mark(found[f"{norm}.{own}"]) == mark(there), of
    kernel = torch.randn(7, 7, 3, 64)
    turned = names.tf_resnet(given | {"base_model/conv2d/kernel": kernel})["conv1.weight"]
    assert torch.equal(turned[5, 2], kernel[:, :, 2, 5])


def test_simclr_leaves_what_it_does_not_know() -> None:
    more = {"base_model/conv2d/kernel/Momentum": (1,), "global_step": (), "head_contrastive/nl_0/dense/kernel": (2, 2)}
    assert names.tf_resnet(marked(simclr() | more)).keys() == shapes("resnet50").keys() | more.keys()
    few = dict(list(simclr().items())[:20])
    with pytest.raises(BadWeights, match="4 convolutions"):
        names.tf_resnet(marked(few))


def byol() -> dict[str, tuple[int, ...]]:
    params, state = "experiment_state.online_params", "experiment_state.online_state"
    found: dict[str, tuple[int, ...]] = {}
    for where, shape in bottlenecks():
        layer, block, number = where.split() if where != "stem" else ("", "", "")
        at = f"res_net50/~/block_group_{layer}/~/block_{block}/~/"
        kinds = {"stem": "res_net50/~/initial_{}", f"{layer} {block} shortcut": f"{at}shortcut_{{}}"}
        name = kinds.get(where, f"{at}{{}}_{number}")
        norm = name.format("batchnorm")
        found[f"{params}.{name.format('conv')}.w"] = shape
        found[f"{params}.{norm}.scale"] = found[f"{params}.{norm}.offset"] = (1, 1, 1, shape[-1])
        for statistic in ("mean_ema", "var_ema"):
            for part in ("hidden", "average"):
                found[f"{state}.{norm}/~/{statistic}.{part}"] = (1, 1, 1, shape[-1])
            found[f"{state}.{norm}/~/{statistic}.counter"] = ()
    found |= {f"{params}.classifier.w": (2048, 1000), f"{params}.classifier.b": (1000,)}
    found[f"{params}.projector/linear.w"] = found[f"{params}.predictor/linear_1.w"] = (2048, 4)
    return found


def test_byol() -> None:
    left = ("*.projector/*", "*.predictor/*", "*.hidden", "*.counter")
    given = {name: tensor for name, tensor in marked(byol()).items() if not weights.like(name, left)}
    found = renamed(given, Origin(prefix="experiment_state.", names="haiku_resnet"))
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == shapes("resnet50")
    params, state = "experiment_state.online_params.res_net50/~/", "experiment_state.online_state.res_net50/~/"
    for there, name in {
        f"{params}initial_conv.w": "conv1.weight",
        f"{params}initial_batchnorm.offset": "bn1.bias",
        f"{state}initial_batchnorm/~/var_ema.average": "bn1.running_var",
        f"{params}block_group_0/~/block_0/~/shortcut_conv.w": "layer1.0.downsample.0.weight",
        f"{state}block_group_3/~/block_0/~/shortcut_batchnorm/~/mean_ema.average": "layer4.0.downsample.1.running_mean",
        f"{params}block_group_2/~/block_5/~/conv_2.w": "layer3.5.conv3.weight",
        f"{params}block_group_2/~/block_5/~/batchnorm_0.scale": "layer3.5.bn1.weight",
        "experiment_state.online_params.classifier.w": "fc.weight",
    }.items():
        assert mark(found[name]) == mark(given[there]), name
    again = {name.replace("initial_conv.", "initial_conv_1."): tensor for name, tensor in given.items()}
    assert renamed(again, Origin(prefix="experiment_state.online_", names="haiku_resnet")).keys() == found.keys()
    kernel = torch.randn(7, 7, 3, 64)
    turned = names.haiku_resnet({"params.res_net50/~/initial_conv.w": kernel})["conv1.weight"]
    assert torch.equal(turned[5, 2], kernel[:, :, 2, 5])
    assert names.haiku_resnet(marked({"online_params.projector/linear.w": (2, 2)})).keys() == {
        "online_params.projector/linear.w"
    }


EFFICIENTNETS = {  # stem, blocks and outputs of the stages, head: pycls's configurations
    "timm:efficientnet_b1": (32, (2, 3, 3, 4, 4, 5, 2), (16, 24, 40, 80, 112, 192, 320), 1280),
    "timm:efficientnet_b4": (48, (2, 4, 4, 6, 6, 8, 2), (24, 32, 56, 112, 160, 272, 448), 1792),
}


def pycls(stem: int, depths: tuple[int, ...], outputs: tuple[int, ...], head: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}

    def norm(name: str, width: int) -> None:
        found.update({f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")})

    def convolution(name: str, bn: str, *shape: int) -> None:
        found[f"{name}.weight"] = shape
        norm(bn, shape[0])

    convolution("stem.conv", "stem.bn", stem, 3, 3, 3)
    before = stem
    kernels, expansions = (3, 3, 5, 3, 5, 5, 3), (1, 6, 6, 6, 6, 6, 6)
    for stage, (depth, out, k, expand) in enumerate(zip(depths, outputs, kernels, expansions, strict=True), 1):
        for number in range(1, depth + 1):
            at, wide, squeezed = f"s{stage}.b{number}", before * expand, before // 4
            if expand != 1:
                convolution(f"{at}.exp", f"{at}.exp_bn", wide, before, 1, 1)
            convolution(f"{at}.dwise", f"{at}.dwise_bn", wide, 1, k, k)
            found |= {f"{at}.se.f_ex.0.weight": (squeezed, wide, 1, 1), f"{at}.se.f_ex.0.bias": (squeezed,)}
            found |= {f"{at}.se.f_ex.2.weight": (wide, squeezed, 1, 1), f"{at}.se.f_ex.2.bias": (wide,)}
            convolution(f"{at}.lin_proj", f"{at}.lin_proj_bn", out, wide, 1, 1)
            before = out
    convolution("head.conv", "head.conv_bn", head, before, 1, 1)
    return found | {"head.fc.weight": (1000, head), "head.fc.bias": (1000,)}


@pytest.mark.parametrize("architecture", EFFICIENTNETS)
def test_pycls(architecture: str) -> None:
    given = marked(pycls(*EFFICIENTNETS[architecture]))
    found = names.pycls_efficientnet(given)
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == shapes(architecture)
    for there, name in {
        "s1.b1.dwise_bn.bias": "blocks.0.0.bn1.bias",
        "s1.b2.lin_proj_bn.weight": "blocks.0.1.bn2.weight",
        "s1.b2.lin_proj.weight": "blocks.0.1.conv_pw.weight",
        "s2.b1.exp_bn.running_mean": "blocks.1.0.bn1.running_mean",
        "s2.b1.dwise_bn.running_mean": "blocks.1.0.bn2.running_mean",
        "s7.b2.lin_proj_bn.running_var": "blocks.6.1.bn3.running_var",
        "s3.b2.se.f_ex.2.bias": "blocks.2.1.se.conv_expand.bias",
        "head.conv_bn.weight": "bn2.weight",
        "stem.bn.weight": "bn1.weight",
    }.items():
        assert mark(found[name]) == mark(given[there]), name


def test_openmmlab() -> None:
    expected = shapes("timm:test_vit")
    inner = {"norm1": "ln1", "norm2": "ln2", "mlp.fc1": "ffn.layers.0.0", "mlp.fc2": "ffn.layers.1"}
    given = {}
    for name, shape in expected.items():
        module, _, part = name.rpartition(".")
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)", module)
        if block:
            module = f"layers.{block[1]}.{inner.get(block[2], block[2])}"
        module = {"patch_embed.proj": "patch_embed.projection", "norm": "ln1"}.get(module, module)
        given[f"{module}.{part}" if module else part] = shape
    found = names.mmcls_vit(marked(given))
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == expected
    assert [mark(found[name]) for name in expected] == list(range(len(expected)))


# ---- whole ways, from the published format to features


def test_from_tensorflow(state: State, tmp_path: Path) -> None:
    held = {name.replace(".", "/"): tensor.numpy() for name, tensor in state.items()}
    files = tf_writer.write(tmp_path, "model.ckpt-1", held | {"global_step": np.array(3)}, 2)
    entry = model(Origin(reader="tensorflow", leftover=("global_step",), rename=((r"/", "."),)))
    told = convert(entry, files, tmp_path / "w.safetensors", "", "")
    assert told.endswith("parameters + a classifier of 5; left over: 1 (global_step)")
    found = weights.read(tmp_path / "w.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
