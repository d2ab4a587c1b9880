"""Names: of published checkpoints whose names or axes no pattern turns into those of torchvision or timm.

An origin's `names` is one of these functions: it takes the tensors, as its prefix and patterns left them, and returns
the network's. What it does not know keeps its name: the conversion tells it as left over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import Tensor

from jobs.lib.failure import BadWeights

Tensors = dict[str, Tensor]
DEPTHS = {53: (3, 4, 6, 3), 104: (3, 4, 23, 3), 155: (3, 8, 36, 3)}  # convolutions of a ResNet -> blocks of its layers


def tf_resnet(tensors: Tensors) -> Tensors:
    """SimCLR's ResNets (versions 1 and 2, of TensorFlow 1) -> torchvision's.

    Convolutions and batch norms are numbered as the graph was built: the stem, then block by block, the shortcut's
    projection before the block's three. Kernels are H x W x in x out; the linear classifier is in x out.
    """
    convolutions = sum(re.fullmatch(r"(base_model/)?conv2d(_\d+)?/kernel", name) is not None for name in tensors)
    if convolutions not in DEPTHS:
        raise BadWeights(f"{convolutions} convolutions conv2d, conv2d_1 ...: a ResNet has one of {list(DEPTHS)}")
    layers = list(_graph_order(DEPTHS[convolutions]))
    parts = {"kernel": (0, "weight"), "gamma": (1, "weight"), "beta": (1, "bias")}
    parts |= {"moving_mean": (1, "running_mean"), "moving_variance": (1, "running_var")}
    found = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"(?:base_model/)?(conv2d|batch_normalization)(?:_(\d+))?/(\w+)", name)
        head = re.fullmatch(r"head_supervised/linear_layer/dense/(kernel|bias)", name)
        if match and match[3] in parts and int(match[2] or 0) < len(layers):
            which, part = parts[match[3]]
            found[f"{layers[int(match[2] or 0)][which]}.{part}"] = _turned(tensor)
        elif head:
            found["fc.weight" if head[1] == "kernel" else "fc.bias"] = _turned(tensor)
        else:
            found[name] = tensor
    return found


def _graph_order(depths: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """torchvision's names of each convolution and its batch norm, in the order of a TensorFlow graph."""
    yield "conv1", "bn1"
    for layer, blocks in enumerate(depths, 1):
        for block in range(blocks):
            at = f"layer{layer}.{block}"
            if block == 0:
                yield f"{at}.downsample.0", f"{at}.downsample.1"
            for part in (1, 2, 3):
                yield f"{at}.conv{part}", f"{at}.bn{part}"


def haiku_resnet(tensors: Tensors) -> Tensors:
    """BYOL's ResNets (of Haiku: modules of parameters `online_params`, of states `online_state`) -> torchvision's.

    Kernels are H x W x in x out, the classifier is in x out, and what batch norms have is 1 x 1 x 1 x channels. Their
    means and variances are the averages of two modules each, which keep two more tensors.
    """
    parts = {"w": "weight", "b": "bias", "scale": "weight", "offset": "bias"}
    found = {}
    for name, tensor in tensors.items():
        module, _, part = re.sub(r"^(\w+_)?(params|state)\.", "", name).rpartition(".")
        statistic = re.search(r"/~/(mean|var)_ema$", module)
        if statistic:
            module, own = module[: statistic.start()], f"running_{statistic[1]}" if part == "average" else None
        else:
            own = parts.get(part)
        layer = _haiku_layer(module)
        if layer and own:
            found[f"{layer}.{own}"] = tensor.reshape(-1) if _is_norm(module) else _turned(tensor)
        else:
            found[name] = tensor
    return found


def _haiku_layer(module: str) -> str | None:
    """torchvision's name of a module, whose path is that of the modules that made it."""
    if module == "classifier":
        return "fc"
    if match := re.search(r"/~/initial_(conv|batchnorm)(?:_1)?$", module):
        return "conv1" if match[1] == "conv" else "bn1"
    match = re.search(r"/~/block_group_(\d+)/~/block_(\d+)/~/(shortcut_)?(conv|batchnorm)(?:_(\d+))?$", module)
    if not match:
        return None
    at = f"layer{int(match[1]) + 1}.{match[2]}"
    if match[3]:
        return f"{at}.downsample.{'0' if match[4] == 'conv' else '1'}"
    return f"{at}.{'conv' if match[4] == 'conv' else 'bn'}{int(match[5] or 0) + 1}"


def _is_norm(module: str) -> bool:
    return "batchnorm" in module.rpartition("/")[2]


def _turned(tensor: Tensor) -> Tensor:
    """H x W x in x out -> out x in x H x W; in x out -> out x in; a vector as it is."""
    return tensor.permute(3, 2, 0, 1) if tensor.dim() == 4 else tensor.t()


def pycls_efficientnet(tensors: Tensors) -> Tensors:
    """pycls's EfficientNets -> timm's, which number a block's batch norms through: one that widens has three."""
    names = {"lin_proj": ("conv_pw", "conv_pwl"), "lin_proj_bn": ("bn2", "bn3")}  # of the block that does not, does
    names |= {
        "dwise": ("conv_dw", "conv_dw"),
        "dwise_bn": ("bn1", "bn2"),
        "exp": ("", "conv_pw"),
        "exp_bn": ("", "bn1"),
    }
    names |= {"se.f_ex.0": ("se.conv_reduce",) * 2, "se.f_ex.2": ("se.conv_expand",) * 2}
    outside = {"stem.conv": "conv_stem", "stem.bn": "bn1", "head.conv": "conv_head", "head.conv_bn": "bn2"}
    outside |= {"head.bn": "bn2", "head.fc": "classifier"}
    found = {}
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        block = re.fullmatch(r"(s(\d+)\.b(\d+))\.(.+)", module)
        if block and block[4] in names:
            widens = f"{block[1]}.exp.weight" in tensors
            module = f"blocks.{int(block[2]) - 1}.{int(block[3]) - 1}.{names[block[4]][widens]}"
        found[f"{outside.get(module, module)}.{part}" if module else name] = tensor
    return found


def mmcls_vit(tensors: Tensors) -> Tensors:
    """OpenMMLab's vision transformers -> timm's."""
    patterns = (
        (r"^patch_embed\.projection\.", "patch_embed.proj."),
        (r"^layers\.(\d+)\.(?:ln|norm)([12])\.", r"blocks.\1.norm\2."),
        (r"^layers\.(\d+)\.attn\.", r"blocks.\1.attn."),
        (r"^layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
        (r"^layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
        (r"^(?:ln|norm)1\.", "norm."),
    )
    found = {}
    for name, tensor in tensors.items():
        for pattern, replacement in patterns:
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    return found
