"""Conversion: of a published checkpoint, the network's tensors by the names of its library, in one uniform file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch

from jobs.lib import backbone, names, tensors, weights
from jobs.lib.failure import BadWeights
from jobs.lib.images import normalise
from jobs.lib.weights import few, like
from suite import entry
from suite.model import Model, Origin, Weights
from suite.store import write_bytes

Tensors = Mapping[str, torch.Tensor]


def convert(model: Model, files: Sequence[Path], to: Path, source: str, sha256: str) -> str:
    """Writes `to`, a model's weights as safetensors, of its published files, and returns the report.

    Every tensor of the files is the network's or of a leftover pattern, every one of the network is in the files or of
    a missing pattern, shapes agree, all are finite, and the features are as wide as the entry says; else BadWeights.
    """
    if model.weights is None or model.weights.origin is None:
        raise BadWeights(f"{model.name}: its entry names no published checkpoint")
    origin = model.weights.origin
    held = tensors.read(files, origin)
    left = [name for name in held if like(name, origin.leftover)]
    rest = {name: tensor for name, tensor in held.items() if not like(name, origin.leftover)}
    found = renamed({name: tensor for name, tensor in rest.items() if name.startswith(origin.prefix)}, origin)
    kept = matched(model, found, [name for name in rest if not name.startswith(origin.prefix)])
    network = checked(model, kept)
    write_bytes(to, uniform(kept, _facts(model, source, sha256)))
    return _report(model, network, kept, left)


def renamed(found: Tensors, origin: Origin) -> dict[str, torch.Tensor]:
    """The tensors by the network's names and with its axes, as the origin's rules say."""
    made: dict[str, torch.Tensor] = {}
    for whole, tensor in found.items():
        name = whole.removeprefix(origin.prefix)
        for pattern, replacement in origin.rename:
            name = re.sub(pattern, replacement, name)
        if name in made:
            raise BadWeights(f"two tensors of the file are {name} by the entry's rules, one of them {whole}")
        made[name] = tensor
    if origin.names:
        scheme = getattr(names, origin.names, None)
        if scheme is None:
            raise BadWeights(f"no naming scheme {origin.names!r} in jobs/lib/names.py")
        schemed = scheme(made)
        if len(schemed) != len(made):
            raise BadWeights(f"the naming scheme {origin.names} gives {len(made)} tensors {len(schemed)} names")
        return dict(schemed)
    return made


def matched(model: Model, found: Tensors, others: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """The tensors of the network and its classifier, in its order; BadWeights with the lists of what does not fit,
    `others` among them.

    What may be missing, as counters may, is as the network initialises it.
    """
    own = backbone.whole(model).state_dict()
    origin = model.weights.origin if model.weights else None
    may_miss = (*weights.COMPUTED, *(origin.missing if origin else ()))
    missing = [name for name in own if name not in found and not like(name, may_miss)]
    odd = [
        f"{name} {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in found and found[name].shape != tensor.shape
    ]
    stray = [*others, *(name for name in found if name not in own)]
    if missing or odd or stray:
        raise BadWeights(
            f"{model.name}: the checkpoint is not {model.architecture}: {len(missing)} tensors of the network missing "
            f"{few(missing, 12)}, {len(odd)} of another shape {few(odd, 12)}, {len(stray)} of the file neither the "
            f"network's nor left over {few(stray, 12)}"
        )
    broken = [name for name in own if name in found and not torch.isfinite(found[name]).all()]
    if broken:
        raise BadWeights(f"{model.name}: {len(broken)} tensors hold NaN or infinity {few(broken)}")
    return {name: found.get(name, tensor) for name, tensor in own.items()}


def checked(model: Model, kept: Tensors) -> torch.nn.Module:
    """The backbone with these tensors, loaded as jobs load them; BadWeights unless it gives features of the entry's
    dimension."""
    network = backbone.build(model)
    weights.fit(network, kept, Weights(), model.name)
    size, draw = model.input.size, torch.Generator().manual_seed(0)
    images = torch.randint(256, (2, 3, size, size), generator=draw, dtype=torch.uint8)
    with torch.no_grad():
        made = network(normalise(images, model.input))
    if made.shape != (2, model.dimension):
        raise BadWeights(f"{model.name}: features of shape {tuple(made.shape)} of 2 images, not (2, {model.dimension})")
    if not torch.isfinite(made).all() or not made.any():
        raise BadWeights(f"{model.name}: the features of random images are not finite, or all zero")
    return network


def uniform(kept: Tensors, facts: Mapping[str, str]) -> bytes:
    """The safetensors file of tensors and facts: of the same ones, always the same bytes."""
    content = safetensors.torch.save(
        {n: t.detach().clone(memory_format=torch.contiguous_format) for n, t in kept.items()}
    )
    length = int.from_bytes(content[:8], "little")
    # The library writes facts in an order that is another in every process.
    header = {"__metadata__": dict(sorted(facts.items())), **json.loads(content[8 : 8 + length])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _facts(model: Model, source: str, sha256: str) -> dict[str, str]:
    return {
        "model": model.name,
        "architecture": model.architecture,
        "dimension": str(model.dimension),
        "input": json.dumps(entry.as_json(model.input), sort_keys=True),
        "source": source,
        "sha256": sha256,
        "licence": model.licence,
    }


def _report(model: Model, network: torch.nn.Module, kept: Tensors, left: Sequence[str]) -> str:
    own = network.state_dict()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    classifier = f" + a classifier of {model.classes}" if kept.keys() - own.keys() else ""
    told = f"; left over: {len(left)} {few(left)}" if left else ""
    return f"{model.name}: {len(own)} tensors, {parameters:,} parameters{classifier}{told}"
