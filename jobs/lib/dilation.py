"""Dilation: finer maps of the same weights, by the atrous algorithm (Chen et al., DeepLab, TPAMI 2018, section 3.1).

Where a network would reduce its maps beyond a stride it no longer does, and the kernels of what follows have holes: at
the positions that there were before, each sees what it saw before. ResNets become what torchvision makes of them.
What looks at a whole map (squeeze and excitation, group norm, attention) sees more of it then: its numbers change.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.utils import _pair

LOCAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)  # what sees neighbours

Ends = tuple[int, ...]  # rows, columns
Strides = dict[nn.Module, set[int]]
"""Of each LOCAL module, the strides of its inputs; 0 stands for what is no map."""


class NotDilatable(Exception):
    """A network that cannot be dilated, with the reason."""


@contextmanager
def listening(network: nn.Module, size: tuple[int, int]) -> Iterator[Strides]:
    """The strides of what is called in the meantime, for images of this size."""
    heard: Strides = {}

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        heard.setdefault(module, set()).add(_stride(given[0], size) if given else 0)

    with ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, LOCAL):
                hooks.callback(module.register_forward_pre_hook(note).remove)
        yield heard


def _stride(given: Tensor, size: tuple[int, int]) -> int:
    """Of a map, a power of 2 where the map is padded or cut; 0 where rows and columns say different things."""
    sides = [(side, max(cells, 1)) for side, cells in zip(size, given.shape[-2:], strict=True)]
    strides = {side / cells for side, cells in sides}
    if len(strides) > 1 or any(side % cells for side, cells in sides):
        strides = {2.0 ** round(math.log2(stride)) for stride in strides}
    return int(strides.pop()) if len(strides) == 1 else 0


def dilate(heard: Strides, limit: int, undo: ExitStack) -> None:
    """Change the modules that make, or see, maps of more than `limit`; closing `undo` changes them back.

    What goes beyond the limit at once, as the patches of a ViT do, is none of them.
    """
    for module, strides in heard.items():
        step = max(_pair(module.stride))
        if step == max(_pair(module.kernel_size)) == 1:
            continue
        if 0 in strides:
            raise NotDilatable(f"{type(module).__name__} is given what is no map")
        if max(strides) * step > limit and max(strides) >= limit:
            if len(strides) > 1 or max(strides) % limit:
                raise NotDilatable(f"{type(module).__name__} is given maps of strides {sorted(strides)}")
            _dilate(module, max(strides) // limit, undo)


def _dilate(module: nn.Module, factor: int, undo: ExitStack) -> None:
    """Make a module's stride 1 and its holes, and what it pads, `factor` times as large."""
    if isinstance(module, nn.AvgPool2d) or getattr(module, "padding_mode", "zeros") != "zeros":
        raise NotDilatable(f"{type(module).__name__} cannot be given holes")
    padding, ahead, behind, shift = _borders(module, factor)
    if min(behind) < 0:
        raise NotDilatable(f"{type(module).__name__} pads more than its kernel")
    kernels = zip(_pair(module.kernel_size), _pair(module.dilation), strict=True)
    holes = tuple(hole * factor if kernel > 1 else hole for kernel, hole in kernels)
    _set(module, undo, stride=(1, 1), padding=padding, dilation=holes)
    if any(ahead + behind):
        fill = float("-inf") if isinstance(module, nn.MaxPool2d) else 0.0
        pad = partial(_pad, ahead=ahead, behind=behind, fill=fill)
        undo.callback(module.register_forward_pre_hook(pad).remove)
    if any(shift):
        undo.callback(module.register_forward_hook(partial(_drop, shift=shift)).remove)


def _borders(module: nn.Module, factor: int) -> tuple[Any, Ends, Ends, Ends]:
    """What a module then pads; what is padded for it before, and behind, the map; what it gives too much before it."""
    steps, padding, sides = _pair(module.stride), module.padding, (0, 1)
    reach = [(_pair(module.kernel_size)[side] - 1) * _pair(module.dilation)[side] for side in sides]
    if padding == "same" or type(module).__name__.endswith("Same"):  # the latter are timm's, for TensorFlow's weights
        # These pad when they are called: half of their reach before the map, but less as long as they stride.
        less = [max(reach[side] + 1 - steps[side], 0) // 2 for side in sides]
        shift = tuple(reach[side] * factor // 2 - less[side] * factor for side in sides)
        return padding, (0, 0), shift, shift
    ahead = tuple(cells * factor for cells in _pair(0 if padding == "valid" else padding))
    # What strides need not pad behind the map as much as before it; kernels of 2 pad nothing.
    behind = tuple((reach[side] * factor - 2 * ahead[side]) * (steps[side] > 1) for side in sides)
    if isinstance(module, nn.MaxPool2d):  # which itself pads no more than half of its kernel, holes or not
        return 0, ahead, tuple(ahead[side] + behind[side] for side in sides), (0, 0)
    return ahead, (0, 0), behind, (0, 0)


def _set(module: nn.Module, undo: ExitStack, **values: Any) -> None:
    for name, value in values.items():
        undo.callback(setattr, module, name, getattr(module, name))
        setattr(module, name, value)


def _pad(module: nn.Module, given: tuple[Tensor, ...], *, ahead: Ends, behind: Ends, fill: float) -> Tensor:
    """A hook: rows above and below the map, and columns to its left and right."""
    return functional.pad(given[0], (ahead[1], behind[1], ahead[0], behind[0]), value=fill)


def _drop(module: nn.Module, given: Any, output: Tensor, *, shift: Ends) -> Tensor:
    """A hook: without the first rows and columns."""
    return output[:, :, shift[0] :, shift[1] :]
