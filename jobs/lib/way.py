"""Way: how feature maps are got out of a network that is loaded already, whichever library it is of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from jobs.lib.failure import BadTask

Outputs = dict[Any, Tensor]
Way = Callable[[nn.Module, Tensor, "Sequence[Any] | None"], Outputs]
"""How outputs are got from a network for an input: those of some keys, or (None) of all keys, in order."""


class NoMaps(BadTask):
    """An architecture that gives no feature maps."""


def way_of(network: nn.Module, architecture: str) -> Way:
    """The way for a headless network of `architecture`; NoMaps where there is none. One of timm's transformers takes
    images of any size from now on."""
    if hasattr(network, "forward_intermediates"):  # timm's, and ours that are made of them
        _take_any_size(network)
        return partial(_intermediates, norm=not type(network).__name__.startswith("Hiera"))  # which refuses it
    if architecture.startswith("timm:"):
        raise NoMaps("timm has no forward_intermediates for it")
    if not isinstance(network, nn.Flatten):
        from torchvision.models import ResNet, VisionTransformer

        if isinstance(network, ResNet):
            return _stages
        if isinstance(network, VisionTransformer):
            return _tokens
    return _hooked


def _stages(network: nn.Module, images: Tensor, wanted: Sequence[Any] | None) -> Outputs:
    """Of torchvision's ResNets: layer1 to layer4."""
    found = {}
    x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    for name in ("layer1", "layer2", "layer3", "layer4"):
        x = found[name] = getattr(network, name)(x)
    return found


def _tokens(network: nn.Module, images: Tensor, wanted: Sequence[Any] | None) -> Outputs:
    """Of torchvision's vision transformers: the last tokens, with interpolated position embeddings."""
    from timm.layers import resample_abs_pos_embed

    grid = network.conv_proj(images)
    size = list(grid.shape[-2:])
    tokens = torch.cat([network.class_token.expand(len(images), -1, -1), grid.flatten(2).mT], dim=1)
    encoder = network.encoder
    side = network.image_size // network.patch_size
    places = resample_abs_pos_embed(encoder.pos_embedding, new_size=size, old_size=[side, side], num_prefix_tokens=1)
    tokens = encoder.ln(encoder.layers(encoder.dropout(tokens + places)))
    return {"encoder": tokens[:, 1:].mT.unflatten(2, size)}


def _intermediates(network: nn.Module, images: Tensor, wanted: Sequence[Any] | None, *, norm: bool) -> Outputs:
    """Of timm's networks: the outputs that timm counts, the last with the final norm where there is one."""
    keys = None if wanted is None else list(wanted)
    found = network.forward_intermediates(
        images, indices=keys, norm=norm, stop_early=True, output_fmt="NCHW", intermediates_only=True
    )
    return dict(zip(keys or range(len(found)), found, strict=True))


def _take_any_size(network: nn.Module) -> None:
    """What timm's constructors do for dynamic_img_size=True, to a network that is there."""
    for module in network.modules():
        if hasattr(module, "strict_img_size"):
            module.strict_img_size = False
        if hasattr(module, "dynamic_mask"):  # Swin: a mask for every size
            module.dynamic_mask = True
        if hasattr(module, "_use_cached_embed"):  # rotary position embeddings
            module._use_cached_embed = False
    if getattr(network, "dynamic_img_size", True):
        return
    network.dynamic_img_size = True
    if not any(hasattr(module, "dynamic_mask") for module in network.modules()):
        from timm.layers import Format

        network.patch_embed.flatten = False
        network.patch_embed.output_fmt = Format.NHWC


class _Enough(Exception):
    """All wanted outputs are there: the rest of the network need not run."""


def _hooked(network: nn.Module, images: Tensor, wanted: Sequence[Any] | None) -> Outputs:
    """Of any network: what its modules give; keys are their names."""
    if wanted is None:
        return _trunk(network, images)
    found: Outputs = {}

    def keep(name: str, output: Tensor) -> None:
        found[name] = output
        if len(found) == len(wanted):
            raise _Enough

    _listen(network, images, wanted, lambda name, _, output: keep(name, output))
    return found


def _trunk(network: nn.Module, images: Tensor) -> Outputs:
    """Outputs of the modules that are called once, other than those inside a block that changes the resolution.

    What such a block makes on its way (MobileNet's expansions, say) is no map that networks are used for.
    """
    calls: list[tuple[str, Tensor]] = []
    reducing: set[str] = set()

    def note(name: str, given: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            calls.append((name, output))
            plain = type(network.get_submodule(name)) is nn.Sequential
            if not plain and isinstance(given, Tensor) and given.shape[2:] != output.shape[2:]:
                reducing.add(name)

    _listen(
        network,
        images,
        [name for name, _ in network.named_modules() if name.partition(".")[0] not in ("", "classifier")],
        note,
    )
    times = Counter(name for name, _ in calls)
    return {
        name: output
        for name, output in calls
        if times[name] == 1 and not any(name.startswith(f"{block}.") for block in reducing)
    }


def _listen(network: nn.Module, images: Tensor, names: Sequence[str], hear: Callable[[str, Any, Any], None]) -> None:
    """Run the network, telling `hear` name, first input and output of each of the modules called `names`."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        return lambda _, given, output: hear(name, given[0] if given else None, output)

    handles = [network.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        network(images)
    except _Enough:
        pass
    finally:
        for handle in handles:
            handle.remove()
