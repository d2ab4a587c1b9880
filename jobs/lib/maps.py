"""Maps: the feature maps of a backbone, one for each of its strides, from the network that is loaded already."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from jobs.lib.dilation import NotDilatable, dilate, listening
from jobs.lib.failure import BadTask, first_line

STRIDES = range(4, 33)  # of the maps that are given
PROBE = (448, 896)  # divisible by the patches and windows that are in use: strides are read from it
TRIED = ((256, 320), (250, 333))  # sizes that a network must take, the second with padding if need be
REFUSALS = (RuntimeError, AssertionError, ValueError, TypeError, IndexError)

Outputs = dict[Any, Tensor]
Way = Callable[[nn.Module, Tensor, "Sequence[Any] | None"], Outputs]
"""How outputs are got from a network for an input: those of some keys, or (None) of all keys, in order."""


class Reading(NamedTuple):
    """What one of a network's outputs is."""

    key: Any
    stride: int
    channels: int
    channels_last: bool


class NoMaps(BadTask):
    """An architecture that gives no feature maps."""


def maps(network: nn.Module, architecture: str, output_stride: int = 0) -> Maps:
    """`network`, a headless one that `backbone.build` gave for `architecture`, as a giver of maps. NoMaps if it cannot.

    Calling `network` itself gives what it gave before; a timm transformer takes images of any size from now on. With an
    `output_stride` (8 or 16) the network is changed for good: dilated so that no map is coarser, if all of it can be.
    """
    try:
        return Maps(network, _way(network, architecture), output_stride)
    except NoMaps as why:
        raise NoMaps(f"{architecture} gives no feature maps: {why}") from why


class Maps(nn.Module):
    """Maps N x 3 x H x W, of any H and W, to {stride: N x channels[stride] x ceil(H / at[stride]) x ceil(W / ...)}.

    A map is the last one of its stride, a transformer's after its final norm. Some old networks (Inception, SqueezeNet)
    do not pad, and give a cell or two less than ceil(). Pooling and what follows it are not run. A map of a dilated
    network is found under the stride that it has without dilation.
    """

    strides: tuple[int, ...]  # ascending, of STRIDES
    channels: dict[int, int]
    at: dict[int, int]  # the true strides: other than the keys where the network is dilated
    dilated: bool

    def __init__(self, network: nn.Module, way: Way, output_stride: int = 0) -> None:
        super().__init__()
        self.network = network
        self._way = way
        readings = _readings(network, way)
        last = {reading.stride: reading for reading in readings}
        if not last:
            raise NoMaps(f"no output is a map of stride {STRIDES[0]} to {STRIDES[-1]}")
        self.strides = tuple(sorted(last))
        self.channels = {stride: last[stride].channels for stride in self.strides}
        self._read = [reading for reading in readings if reading is last[reading.stride]]
        self.at = {stride: stride for stride in self.strides}
        self._multiple = 1
        self._multiple = self._padding()
        self.dilated = 0 < output_stride < max(self.strides) and self._dilate(output_stride)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        height, width = images.shape[-2:]
        right, below = -width % self._multiple, -height % self._multiple
        padded = functional.pad(images, (0, right, 0, below)) if right or below else images
        outputs = self._way(self.network, padded, [reading.key for reading in self._read])
        found = {}
        for key, stride, _, channels_last in self._read:
            output = outputs[key].permute(0, 3, 1, 2) if channels_last else outputs[key]
            found[stride] = output[:, :, : math.ceil(height / self.at[stride]), : math.ceil(width / self.at[stride])]
        return {stride: found[stride] for stride in self.strides}

    def _padding(self) -> int:
        """To what multiple images are padded: 1 if the network itself gives ceil(H / stride) for all that is TRIED."""
        short: dict[int, int] = {}
        reason = ""
        for multiple in (1, max(self.strides)):
            self._multiple = multiple
            try:
                short[multiple] = sum(self._short(size) for size in TRIED)
            except REFUSALS as error:
                reason = first_line(error)
            if short.get(multiple) == 0:
                break
        if not short:
            raise NoMaps(f"not for {TRIED[0][0]} x {TRIED[0][1]} pixels: {reason}")
        return min(short, key=lambda multiple: short[multiple])

    def _short(self, size: tuple[int, int]) -> int:
        """Cells by which maps of images of that size fall short of ceil(); ValueError where they are no such maps."""
        short = 0
        for stride, found in _on_meta(self, self.network, size).items():
            rows, columns = (math.ceil(side / self.at[stride]) for side in size)
            lacking = max(rows - found.shape[2], columns - found.shape[3])
            if found.shape[:2] != (2, self.channels[stride]) or lacking > 4:
                raise ValueError(f"its map of stride {stride} is {list(found.shape[1:])}")
            short += lacking
        return short

    def _dilate(self, output_stride: int) -> bool:
        """Make no map coarser than this; False, with all as it was, where something does not let it."""
        own = self.at
        with ExitStack() as undo:
            undo.callback(setattr, self, "at", own)
            with listening(self.network, PROBE) as heard:
                _on_meta(self, self.network, PROBE)
            try:
                dilate(heard, output_stride, undo)
                self.at = {stride: min(stride, output_stride) for stride in self.strides}
                if self._is_exact():
                    undo.pop_all()
                    return True
            except (NotDilatable, *REFUSALS):
                pass
        return False

    def _is_exact(self) -> bool:
        """Whether all maps are of the strides that `at` says."""
        outputs = _on_meta(_All(self.network, self._way), self.network, PROBE)
        for key, stride, _, channels_last in self._read:
            sides = outputs[key].shape[1:3] if channels_last else outputs[key].shape[2:]
            if [cells * self.at[stride] for cells in sides] != list(PROBE):
                return False
        return not any(self._short(size) for size in TRIED)


class _All(nn.Module):
    """All outputs of a network, as a module: what is run once to read strides."""

    def __init__(self, network: nn.Module, way: Way) -> None:
        super().__init__()
        self.network = network
        self._way = way

    def forward(self, images: Tensor) -> Outputs:
        return self._way(self.network, images, None)


def _readings(network: nn.Module, way: Way) -> list[Reading]:
    """The outputs that are maps, in order."""
    try:
        outputs = _on_meta(_All(network, way), network, PROBE)
    except REFUSALS as error:
        raise NoMaps(f"not for {PROBE[0]} x {PROBE[1]} pixels: {first_line(error)}") from error
    found = (_reading(key, output) for key, output in outputs.items())
    return [reading for reading in found if reading and reading.stride in STRIDES]


def _reading(key: Any, output: Tensor) -> Reading | None:
    """What an output for PROBE is; None where it is no map."""
    if output.ndim != 4 or len(output) != 2 or not output.numel():
        return None
    _, first, second, third = output.shape
    height, width = PROBE
    for rows, columns, channels, last in ((second, third, first, False), (first, second, third, True)):
        if height % rows == 0 and height * columns == width * rows:
            return Reading(key, height // rows, channels, last)
    powers = {2 ** round(math.log2(side / cells)) for side, cells in ((height, second), (width, third))}
    return Reading(key, powers.pop(), first, False) if len(powers) == 1 else None


def _on_meta(module: nn.Module, network: nn.Module, size: tuple[int, int]) -> Any:
    """What `module`, which has `network` under that name, gives for two images: shapes only, nothing is computed."""
    named = [*network.named_parameters(), *network.named_buffers()]
    shapes = {f"network.{name}": torch.empty_like(tensor, device="meta") for name, tensor in named}
    with _evaluating(network), torch.no_grad():
        return functional_call(module, shapes, (torch.empty(2, 3, *size, device="meta"),))


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _way(network: nn.Module, architecture: str) -> Way:
    if architecture.startswith("timm:"):
        if not hasattr(network, "forward_intermediates"):
            raise NoMaps("timm has no forward_intermediates for it")
        _take_any_size(network)
        return partial(_intermediates, norm=not type(network).__name__.startswith("Hiera"))  # which refuses it
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
