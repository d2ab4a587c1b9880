"""Maps: the feature maps of a backbone, one for each of its strides, from the network that is loaded already."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from jobs.lib.dilation import NotDilatable, dilate, listening
from jobs.lib.failure import first_line
from jobs.lib.way import NoMaps, Outputs, Way, way_of

STRIDES = range(4, 33)  # of the maps that are given
PROBE = (448, 896)  # divisible by the patches and windows that are in use: strides are read from it
TRIED = ((256, 320), (250, 333))  # sizes that a network must take, the second with padding if need be
REFUSALS = (RuntimeError, AssertionError, ValueError, TypeError, IndexError)


class Reading(NamedTuple):
    """What one of a network's outputs is."""

    key: Any
    stride: int
    channels: int
    channels_last: bool


def maps(network: nn.Module, architecture: str, output_stride: int = 0) -> Maps:
    """`network`, a headless one that `backbone.build` gave for `architecture`, as a giver of maps. NoMaps if it cannot.

    Calling `network` itself gives what it gave before; a timm transformer takes images of any size from now on. With an
    `output_stride` (8 or 16) the network is changed for good: dilated so that no map is coarser, if all of it can be.
    """
    try:
        return Maps(network, way_of(network, architecture), output_stride)
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
    remark: str  # "; not dilated: WHY" where that was asked for and could not be, or else ""

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
        why = self._dilate(output_stride) if 0 < output_stride < max(self.strides) else ""
        self.remark = f"; not dilated: {why}" if why else ""

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

    def _dilate(self, output_stride: int) -> str:
        """Make no map coarser than this; why not, with all as it was, where something does not let it."""
        own = self.at
        with ExitStack() as undo:
            undo.callback(setattr, self, "at", own)
            with listening(self.network, PROBE) as heard:
                _on_meta(self, self.network, PROBE)
            try:
                dilate(heard, output_stride, undo)
                self.at = {stride: min(stride, output_stride) for stride in self.strides}
                self._compare()
            except (NotDilatable, *REFUSALS) as why:
                return first_line(why)
            undo.pop_all()
        return ""

    def _compare(self) -> None:
        """NotDilatable where a map is not of the stride that `at` says."""
        outputs = _on_meta(_All(self.network, self._way), self.network, PROBE)
        for key, stride, _, channels_last in self._read:
            sides = list(outputs[key].shape[1:3] if channels_last else outputs[key].shape[2:])
            expected = [side // self.at[stride] for side in PROBE]
            if sides != expected:
                found, asked, pixels = (" x ".join(map(str, size)) for size in (sides, expected, PROBE))
                raise NotDilatable(f"its map of stride {stride} has {found} cells for {pixels} pixels, not {asked}")
        if any(self._short(size) for size in TRIED):
            raise NotDilatable("its maps become smaller than they should be")


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
