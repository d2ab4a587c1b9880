"""Networks that neither torchvision nor timm has as their published weights need them: a file a family.

Each file has NETWORKS, name -> make(classes): make(0) gives N x 3 x S x S -> N x dimension, make(n) the n logits; and,
where it is not the protocol's default, how the input is made, in INPUTS.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType

from torch import nn

from suite.model import Input

Make = Callable[[int], nn.Module]


def names() -> list[str]:
    """All names, file by file."""
    return [name for module in _modules() for name in module.NETWORKS]


def find(name: str) -> Make | None:
    """What makes the network of that name, None where no file has it."""
    found: dict[str, Make] = {known: make for module in _modules() for known, make in module.NETWORKS.items()}
    return found.get(name)


def usual_input(name: str) -> Input:
    """How the input of the network of that name is made where nothing else is said."""
    found: dict[str, Input] = {known: i for module in _modules() for known, i in getattr(module, "INPUTS", {}).items()}
    return found.get(name, Input())


@functools.cache
def _modules() -> list[ModuleType]:
    return [importlib.import_module(module.name) for module in pkgutil.iter_modules(__path__, f"{__name__}.")]
