"""Tensors: what a published checkpoint holds, by the names in it, read without running anything that is in it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch

from jobs.lib import haiku, tf_checkpoint, weights
from jobs.lib.failure import BadWeights
from suite import checkpoint
from suite.checkpoint import Checkpoint, CheckpointError
from suite.model import Origin
from suite.unpickle import UNREADABLE

KINDS = {  # of PyTorch's storages
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
_DAMAGED: tuple[type[Exception], ...] = (RuntimeError, *UNREADABLE)


def read(files: Sequence[Path], origin: Origin) -> dict[str, torch.Tensor]:
    """Whole name in the file -> tensor, of one checkpoint, in the format that its origin says. BadWeights if not."""
    try:
        if origin.reader == "tensorflow":
            return tf_checkpoint.read(files)
        if len(files) != 1:
            raise BadWeights(f"a checkpoint of one file was expected, not {len(files)}")
        if origin.reader == "haiku":
            return haiku.read(files[0], origin.opaque)
        return _torch(files[0], origin.opaque)
    except CheckpointError as error:
        raise BadWeights(str(error)) from error


def _torch(file: Path, opaque: Sequence[str]) -> dict[str, torch.Tensor]:
    found = checkpoint.inspect(file, opaque)
    if found.format == "torchscript" or (opaque and found.format != "safetensors"):
        return _built(file, found)
    return dict(weights.flat(weights.read(file)))


def _built(file: Path, found: Checkpoint) -> dict[str, torch.Tensor]:
    """The tensors of a file that torch.load would have to run something of; without those of kinds not in KINDS."""
    known = [(name, part, part.storage) for name, part in found.parts.items() if part.storage]
    known = [(name, part, storage) for name, part, storage in known if storage.kind in KINDS]
    sizes: dict[str, int] = {}
    for _, _, storage in known:
        sizes[storage.key] = max(storage.size, sizes.get(storage.key, 0))
    held = _storages(file, {key: (found.places[key], size) for key, size in sizes.items()})
    made = {}
    for name, part, storage in known:
        numbers, dtype = held[storage.key], KINDS[storage.kind]
        try:
            flat = torch.frombuffer(numbers, dtype=dtype) if numbers else torch.empty(0, dtype=dtype)
            made[name] = flat.as_strided(part.shape, part.stride, part.offset)
        except _DAMAGED as error:
            raise BadWeights(f"{file} is damaged: {name} is not within its storage ({error})") from error
    return made


def _storages(file: Path, places: dict[str, tuple[str | int, int]]) -> dict[str, bytearray]:
    """key -> bytes of each storage, from its (entry of the archive or first byte, size)."""
    if not zipfile.is_zipfile(file):
        found = {}
        with open(file, "rb") as opened:
            for key, (start, size) in places.items():
                opened.seek(int(start))
                found[key] = bytearray(opened.read(size))
        return found
    try:
        with zipfile.ZipFile(file) as archive:
            return {key: bytearray(archive.read(str(entry))) for key, (entry, _) in places.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BadWeights(f"{file} is damaged ({error}); fetch it again") from error
