"""Weights: from a checkpoint in any of the usual wrappings to one network's state dict, every tensor accounted for."""

from __future__ import annotations

import fnmatch
import importlib
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from jobs.lib.failure import BadWeights, first_line
from suite import checkpoint
from suite.model import Weights
from suite.unpickle import UNREADABLE

# What is left of a pre-trained file beside the backbone: classifiers, projections, prototypes.
HEADS = ("fc*", "classifier*", "head*", "last_linear*", "proj*", "predictor*", "prototypes*", "linear*", "norm.mean*")
# Where a file holds two networks of equal shape, the one that the method's authors evaluate comes first.
PREFERRED = (
    "encoder_q",
    "base_encoder",
    "teacher",
    "online",
    "state_dict_ema",
    "model_ema",
    "encoder",
    "backbone",
    "model",
    "state_dict",
)
# Counters and tables that networks fill by themselves.
COMPUTED = ("*num_batches_tracked", "*relative_position_index", "*attn_mask")


def load(network: torch.nn.Module, weights: Weights, file: Path) -> str:
    """Loads `file` into `network`, strictly, and returns the report: matched, left over, missing. BadWeights if not."""
    return fit(network, dict(flat(read(file))), weights, file.name)


def fit(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], weights: Weights, file: str) -> str:
    """Loads the tensors of a file of that name into `network`, as `load` does."""
    wanted = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    prefix = _prefix(tensors, wanted, weights.prefix)
    named = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    missing = [n for n in wanted if n not in named and not like(n, COMPUTED)]
    odd = [f"{n} {tuple(named[n].shape)}, not {s}" for n, s in wanted.items() if n in named and named[n].shape != s]
    allowed = (*COMPUTED, *(weights.leftover or HEADS))
    inside = [n for n in named if n not in wanted]
    left = [n for n in inside if not like(n, allowed)]
    if missing or odd or left:
        raise BadWeights(
            f"{file} does not fit: {len(missing)} tensors missing {few(missing)}, "
            f"{len(odd)} of another shape {few(odd)}, {len(left)} left over {few(left)}"
        )
    broken = [n for n in wanted if n in named and not torch.isfinite(named[n]).all()]
    if broken:
        raise BadWeights(f"{file}: {len(broken)} tensors hold NaN or infinity {few(broken)}")
    network.load_state_dict({n: named[n] for n in wanted if n in named}, strict=False)
    return (
        f"{file}: {len(wanted)} tensors wanted under {prefix or 'no prefix'!r}, {len(missing)} missing, "
        f"{len(inside)} heads left unused {few(inside)}, {len(tensors) - len(named)} of other networks"
    )


def read(file: Path) -> Any:
    """The content of a checkpoint, read without running anything that is in it."""
    try:
        with open(file, "rb") as opened:
            start = opened.read(16)
        if start[8:9] == b"{":
            return safetensors.torch.load_file(file)
        with torch.serialization.safe_globals(list(_harmless())):
            return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, safetensors.SafetensorError, *UNREADABLE) as error:
        raise BadWeights(f"{file} cannot be read: {first_line(error)}") from error


def _harmless() -> Iterator[tuple[Any, str]]:
    """The plain data types that published files hold beside tensors, as torch wants them: (object, its name there)."""
    for name in checkpoint.HARMLESS:
        module, _, attribute = name.replace("numpy.core.", "numpy._core.").rpartition(".")
        found = getattr(importlib.import_module(module), attribute, None)
        if found is not None:
            yield (OrderedDict if found is defaultdict else found), name


def flat(value: Any, prefix: str = "") -> Iterable[tuple[str, torch.Tensor]]:
    """Dotted names and tensors of nested dicts, lists and tuples."""
    if isinstance(value, torch.Tensor):
        yield prefix.rstrip("."), value
    elif isinstance(value, Mapping | list | tuple):
        for name, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from flat(inner, f"{prefix}{name}.")


def _prefix(tensors: Mapping[str, torch.Tensor], wanted: Mapping[str, tuple[int, ...]], asked: str) -> str:
    """The prefix under which `tensors` has most of `wanted`: with `asked`, the one that ends with it."""
    anchor = next(iter(wanted), "")
    found = {name[: -len(anchor)] for name in tensors if name == anchor or name.endswith("." + anchor)} or {""}
    if asked:
        found = {p for p in found if p.endswith(asked)}
        if not found:
            raise BadWeights(f"no tensor named {asked}{anchor}; the file has {few(list(tensors))}")
    score = {p: sum(p + n in tensors and tensors[p + n].shape == s for n, s in wanted.items()) for p in found}
    best = [p for p in found if score[p] == max(score.values())]
    if len(best) == 1:
        return best[0]
    known = [p for word in PREFERRED for p in sorted(best, key=len) if word in p.split(".")]
    if not known:
        raise BadWeights(
            f"the file holds several networks that fit, {', '.join(sorted(best))}: an entry must say which"
        )
    return known[0]


def like(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def few(names: Sequence[str], most: int = 4) -> str:
    """The first of some names, in brackets, as a message tells them."""
    return f"({', '.join(names[:most])}{', ...' if len(names) > most else ''})" if names else ""
