"""A weights file, looked into: its tensors' names and shapes, without PyTorch and without running what is in it."""

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256 as _sha256
from pathlib import Path
from typing import BinaryIO

from suite.unpickle import HARMLESS, UNREADABLE, CheckpointError, Tensor, Unpickler, leaves

__all__ = ["HARMLESS", "Checkpoint", "CheckpointError", "inspect", "sha256"]

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file that torch.save wrote before PyTorch 1.6
_PROTOCOL = 1001  # the second


@dataclass(frozen=True)
class Checkpoint:
    """What a weights file holds."""

    format: str  # "torch-zip" | "torch-legacy" | "safetensors" | "torchscript"
    tensors: dict[str, tuple[int, ...]]  # dotted name, as nested in the file (state_dict.conv1.weight) -> shape
    size: int  # of the file, in bytes
    # Of PyTorch's files, what reads the numbers: each tensor, and of each storage its entry or its first byte.
    parts: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    places: Mapping[str, str | int] = field(default_factory=dict, compare=False, repr=False)


def inspect(path: Path, opaque: Sequence[str] = ()) -> Checkpoint:
    """Names and shapes of the tensors in a file of PyTorch (both formats, TorchScript) or safetensors.

    Reads no tensor data and runs nothing. Raises CheckpointError for what is missing, cut short, foreign or would run
    code; what a pickle names of `opaque`'s patterns stays closed.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; check the path, or fetch it")
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder; name the weights file in it")
    try:
        return _inspect(path, opaque)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); check its permissions and the disk"
        ) from None


def _inspect(path: Path, opaque: Sequence[str]) -> Checkpoint:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(0)
        if head.startswith(b"PK\x03\x04"):
            found = _zip(path, file, size, opaque)
        elif head[8:9] == b"{":
            found = Checkpoint("safetensors", _safetensors(path, file, size), size)
        elif head.startswith(b"\x80") and head[1:2] <= b"\x05":
            found = _legacy(path, file, size, opaque)
        else:
            raise CheckpointError(f"{path}: {_foreign(head)}")
    if not found.tensors:
        raise CheckpointError(f"{path}: holds no tensor; name a file of weights")
    return found


def _of_torch(format: str, size: int, parts: Mapping[str, Tensor], places: Mapping[str, str | int]) -> Checkpoint:
    return Checkpoint(format, {name: part.shape for name, part in parts.items()}, size, parts, places)


def sha256(path: Path, cache: Path | None = None) -> str:
    """SHA-256 (hex) of a file. `cache`, a JSON file, spares reading a file again whose path, size, time are known."""
    state = path.stat()
    key = f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
    known = _known(cache)
    if key not in known:
        total = _sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 22):
                total.update(chunk)
        known[key] = total.hexdigest()
        if cache is not None:
            aside = cache.with_name(f"{cache.name}.{os.getpid()}")
            with suppress(OSError):  # within a container weights are read-only
                aside.write_text(json.dumps(known, indent=0, sort_keys=True), encoding="utf-8")
                os.replace(aside, cache)
    return known[key]


def _known(cache: Path | None) -> dict[str, str]:
    """What the cache holds; nothing where there is none, or where it is damaged: it is then written anew."""
    if cache is None or not cache.exists():
        return {}
    try:
        held = json.loads(cache.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in held.items()} if isinstance(held, dict) else {}


def _foreign(head: bytes) -> str:
    """What a file is that is no checkpoint, by its first bytes."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty; fetch it again"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page, not weights: a log-in, consent or error page; fetch the file again, by hand if need be"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights; fetch the file itself (git lfs pull)"
    if head.startswith(b"PK"):
        return "is an empty zip archive; fetch it again"
    return f"is not a checkpoint of PyTorch or safetensors (it begins with {head[:8]!r}); name a weights file"


# ---- zip: torch.save since PyTorch 1.6, and TorchScript


def _zip(path: Path, file: BinaryIO, size: int, opaque: Sequence[str]) -> Checkpoint:
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError):
        raise CheckpointError(f"{path}: is cut short (a zip archive without its end); fetch it again") from None
    with archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        found = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if not found:
            raise CheckpointError(
                f"{path}: is a zip archive without data.pkl, not a checkpoint; unpack it and name a file in it"
            )
        prefix = found[0].removesuffix("data.pkl")
        script = f"{prefix}constants.pkl" in entries
        try:
            pickled = archive.read(found[0])
        except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
            raise CheckpointError(f"{path}: its data.pkl is damaged ({error}); fetch it again") from None
        reader = Unpickler(path, io.BytesIO(pickled), opaque, script)
        held = reader.read()
        for storage in reader.storages.values():
            entry = entries.get(f"{prefix}data/{storage.key}")
            whole = entry is not None and entry.header_offset + entry.file_size <= archive.start_dir
            if entry is None or not whole or entry.file_size < storage.size:
                found_size = "missing" if entry is None else f"{entry.file_size} bytes"
                raise CheckpointError(
                    f"{path}: is cut short: the data of tensor {prefix}data/{storage.key} "
                    f"should be {storage.size} bytes and is {found_size}; fetch it again"
                )
    places = {key: f"{prefix}data/{key}" for key in reader.storages}
    return _of_torch("torchscript" if script else "torch-zip", size, dict(leaves(path, held, Tensor)), places)


# ---- legacy: torch.save before PyTorch 1.6: five pickles, then the storages one after another


def _legacy(path: Path, file: BinaryIO, size: int, opaque: Sequence[str]) -> Checkpoint:
    if Unpickler(path, file).read() != _MAGIC:
        raise CheckpointError(f"{path}: is a pickle that torch.save did not write; convert it to a state dict first")
    version = Unpickler(path, file).read()
    if version != _PROTOCOL:
        raise CheckpointError(f"{path}: has protocol {version}, expected {_PROTOCOL}; save it with a newer PyTorch")
    Unpickler(path, file).read()  # the byte order and the sizes of C types where it was written
    reader = Unpickler(path, file, opaque)
    held = reader.read()
    keys = Unpickler(path, file).read()
    if not isinstance(keys, list) or {str(key) for key in keys} != reader.storages.keys():
        raise CheckpointError(f"{path}: is damaged: its list of storages is not that of its tensors; fetch it again")
    end, places = file.tell(), {}
    for key in keys:
        storage = reader.storages[str(key)]
        places[str(key)] = end + 8  # its count of numbers, then the numbers
        end += 8 + storage.size
        if end > size:
            raise CheckpointError(
                f"{path}: is cut short: storage {key} should end at byte {end} and the file at {size}; fetch it again"
            )
    return _of_torch("torch-legacy", size, dict(leaves(path, held, Tensor)), places)


# ---- safetensors: the length of a JSON header, the header, the data


def _safetensors(path: Path, file: BinaryIO, size: int) -> dict[str, tuple[int, ...]]:
    (length,) = struct.unpack("<Q", file.read(8))
    if 8 + length > size:
        raise CheckpointError(f"{path}: is cut short: its header should be {length} bytes of {size}; fetch it again")
    try:
        header = json.loads(file.read(length))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        shapes = {name: tuple(int(side) for side in entry["shape"]) for name, entry in tensors.items()}
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    except UNREADABLE as error:
        raise CheckpointError(f"{path}: its safetensors header is damaged ({error}); fetch it again") from None
    if end > size:
        raise CheckpointError(f"{path}: is cut short: it should be {end} bytes and is {size}; fetch it again")
    return shapes
