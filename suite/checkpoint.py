"""A weights file, looked into: its tensors' names and shapes, without PyTorch and without running what is in it."""

import io
import json
import os
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256 as _sha256
from pathlib import Path
from typing import Any, BinaryIO

# Globals that a checkpoint may name beyond those that torch.load(weights_only=True) permits: plain data, met in
# published files (arguments, best accuracies). The jobs pass them to torch.serialization.safe_globals, each as
# (object, name), leaving out what the installed numpy does not have. numpy.dtypes.* stand in no file: they are the
# types of numpy.dtype's results. collections.defaultdict needs a stand-in there, a function that returns an
# OrderedDict: torch fills no defaultdict.
HARMLESS = (
    "argparse.Namespace",
    "collections.defaultdict",
    "builtins.bool",
    "builtins.bytes",
    "builtins.dict",
    "builtins.float",
    "builtins.frozenset",
    "builtins.int",
    "builtins.list",
    "builtins.range",
    "builtins.slice",
    "builtins.str",
    "builtins.tuple",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
    *(
        f"numpy.{kind}{bits}"
        for kind in ("int", "uint", "float")
        for bits in (8, 16, 32, 64)
        if (kind, bits) != ("float", 8)
    ),
    *(f"numpy.dtypes.{kind}{bits}DType" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)),
    *(f"numpy.dtypes.{name}DType" for name in ("Float16", "Float32", "Float64", "Bool", "Str", "Bytes")),
)

# What torch.load(weights_only=True) permits (torch 2.11, torch/_weights_only_unpickler.py), as patterns.
_TORCH = re.compile(
    r"torch\.(cuda\.)?[A-Z]\w*Storage|torch\.storage\.(Typed|Untyped)Storage"
    r"|torch\.((cuda|sparse|cuda\.sparse)\.)?([A-Z]\w*)?Tensor|torch\.nn\.parameter\.Parameter|torch\.(Size|device)"
    r"|torch\.(u?int\d+|q?u?int\d+(x\d)?|b?float\w+|complex\d+|bits\w+|bool|per_(tensor|channel)_\w+)"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2|torch\.serialization\._get_layout"
)
_PLAIN = ("_codecs.encode", "builtins.bytearray", "builtins.complex", "builtins.set")
_DICTS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter")
_SCRIPT = re.compile(r"__torch__\..+|torch\.jit\._pickle\.\w+")  # only in a TorchScript archive
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file that torch.save wrote before PyTorch 1.6
_PROTOCOL = 1001  # the second
_ITEM_BYTES = {
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    "ComplexDouble": 16,
}  # of PyTorch's storage types; the others take one byte
_DEEPEST = 64  # containers within containers
_MOST = 5_000_000  # values looked at: a file can name one list in itself so often that walking it has no end
# What a damaged pickle or header raises, and no more: an error of ours passes.
_UNREADABLE: tuple[type[Exception], ...] = (pickle.UnpicklingError, EOFError, AttributeError, ImportError, LookupError)
_UNREADABLE += (TypeError, ValueError, OverflowError, MemoryError, RecursionError)


class CheckpointError(ValueError):
    """A file is not a checkpoint that can be read. One line: what it is, and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """What a weights file holds."""

    format: str  # "torch-zip" | "torch-legacy" | "safetensors" | "torchscript"
    tensors: dict[str, tuple[int, ...]]  # dotted name, as nested in the file (state_dict.conv1.weight) -> shape
    size: int  # of the file, in bytes


def inspect(path: Path) -> Checkpoint:
    """Names and shapes of the tensors in a file of PyTorch (both formats, TorchScript) or safetensors.

    Reads no tensor data and runs nothing. Raises CheckpointError for what is missing, cut short, foreign or would run
    code.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; check the path, or fetch it")
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder; name the weights file in it")
    try:
        return _inspect(path)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); check its permissions and the disk"
        ) from None


def _inspect(path: Path) -> Checkpoint:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(0)
        if head.startswith(b"PK\x03\x04"):
            kind, tensors = _zip(path, file)
        elif head.startswith(b"\x80") and head[1:2] <= b"\x05":
            kind, tensors = "torch-legacy", _legacy(path, file, size)
        elif head[8:9] == b"{":
            kind, tensors = "safetensors", _safetensors(path, file, size)
        else:
            raise CheckpointError(f"{path}: {_foreign(head)}")
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensor; name a file of weights")
    return Checkpoint(kind, tensors, size)


def sha256(path: Path, cache: Path | None = None) -> str:
    """SHA-256 (hex) of a file. `cache`, a JSON file, spares reading a file again: same path, size and time, same digest."""
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


def _zip(path: Path, file: BinaryIO) -> tuple[str, dict[str, tuple[int, ...]]]:
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
        reader = _Unpickler(path, io.BytesIO(pickled), script)
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
    return ("torchscript" if script else "torch-zip"), dict(_tensors(path, held))


# ---- legacy: torch.save before PyTorch 1.6: five pickles, then the storages one after another


def _legacy(path: Path, file: BinaryIO, size: int) -> dict[str, tuple[int, ...]]:
    if _Unpickler(path, file).read() != _MAGIC:
        raise CheckpointError(f"{path}: is a pickle that torch.save did not write; convert it to a state dict first")
    version = _Unpickler(path, file).read()
    if version != _PROTOCOL:
        raise CheckpointError(f"{path}: has protocol {version}, expected {_PROTOCOL}; save it with a newer PyTorch")
    _Unpickler(path, file).read()  # the byte order and the sizes of C types where it was written
    reader = _Unpickler(path, file)
    held = reader.read()
    keys = _Unpickler(path, file).read()
    if not isinstance(keys, list) or {str(key) for key in keys} != reader.storages.keys():
        raise CheckpointError(f"{path}: is damaged: its list of storages is not that of its tensors; fetch it again")
    end = file.tell()
    for key in keys:
        storage = reader.storages[str(key)]
        end += 8 + storage.size  # its count of numbers, then the numbers
        if end > size:
            raise CheckpointError(
                f"{path}: is cut short: storage {key} should end at byte {end} and the file at {size}; fetch it again"
            )
    return dict(_tensors(path, held))


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
    except _UNREADABLE as error:
        raise CheckpointError(f"{path}: its safetensors header is damaged ({error}); fetch it again") from None
    if end > size:
        raise CheckpointError(f"{path}: is cut short: it should be {end} bytes and is {size}; fetch it again")
    return shapes


# ---- the pickle: every global becomes a stand-in that does nothing, or is refused


@dataclass(frozen=True)
class _Storage:
    key: str
    size: int  # bytes


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]


class _Inert:
    """Stands for any permitted object: keeps its state, does nothing."""

    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """What it would have been made from is not needed."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dict(dict[Any, Any]):
    """Stands for OrderedDict, defaultdict and Counter."""

    def __init__(self, *parts: Any) -> None:
        super().__init__()
        for part in parts:
            if isinstance(part, dict | list | tuple):
                self.update(part)

    def __setstate__(self, _: Any) -> None:
        """A module's state dict carries its version here."""


class _Size(_Inert):
    """Stands for torch.Size."""

    def __new__(cls, sides: Any = ()) -> Any:
        return tuple(sides)


class _Rebuild(_Inert):
    """Stands for the functions that put tensors together; which one is its class's name."""

    def __new__(cls, *args: Any) -> Any:
        return _rebuilt(cls.__name__, args)


_SHAPE_AT = {
    "_rebuild_tensor": 2,
    "_rebuild_tensor_v2": 2,
    "_rebuild_tensor_v3": 2,
    "_rebuild_qtensor": 2,
    "_rebuild_wrapper_subclass": 2,
    "_rebuild_meta_tensor_no_storage": 1,
}


def _rebuilt(name: str, args: tuple[Any, ...]) -> Any:
    if name in _SHAPE_AT:
        return _tensor(args[_SHAPE_AT[name]])
    if name == "_rebuild_sparse_tensor":  # layout, (parts ..., size)
        return _tensor(next(part for part in args[1] if isinstance(part, tuple)))
    if name == "_rebuild_device_tensor_from_numpy":
        return _tensor(args[0].state[1])
    if name == "_rebuild_from_type_v2":  # function, type, arguments, state
        return _rebuilt(args[0].__name__, args[2])
    if name.startswith(("_rebuild_parameter", "_rebuild_device_tensor")):
        return args[0]
    return None


def _tensor(shape: Any) -> _Tensor:
    sides = tuple(shape)
    if not all(isinstance(side, int) and side >= 0 for side in sides):
        raise pickle.UnpicklingError(f"a tensor of shape {sides}")
    return _Tensor(sides)


class _Unpickler(pickle.Unpickler):
    """Reads one pickle into plain data and stand-ins, and notes the storages that it names."""

    def __init__(self, path: Path, file: BinaryIO, script: bool = False) -> None:
        super().__init__(file, encoding="latin-1")  # text of Python 2
        self.path = path
        self.script = script
        self.storages: dict[str, _Storage] = {}
        # Made anew for each file: a pickle can set attributes of what it names, even of a class.
        self.standins: dict[str, type] = {}

    def read(self) -> Any:
        """The object; raises CheckpointError."""
        try:
            return self.load()
        except CheckpointError:
            raise
        except _UNREADABLE as error:
            raise CheckpointError(
                f"{self.path}: is cut short, or no checkpoint: its pickle cannot be read ({error}); fetch it again"
            ) from None

    def find_class(self, module: str, name: str) -> type:
        full = f"{_PYTHON_2.get(module, module)}.{name}"
        if full not in self.standins:
            if not _permitted(full) and not (self.script and _SCRIPT.fullmatch(full)):
                raise CheckpointError(
                    f"{self.path}: refused: its pickle names '{full}', which is neither tensor nor plain data, so that "
                    "loading it could run code; use a plain state dict or safetensors instead"
                )
            self.standins[full] = type(full.rpartition(".")[2], (_base(full),), {})
        return self.standins[full]

    def persistent_load(self, pid: Any) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[4], int):
            raise pickle.UnpicklingError(f"a reference to {str(pid)[:80]}, not to a storage")
        kind = pid[1].__name__ if isinstance(pid[1], type) else ""
        storage = _Storage(str(pid[2]), pid[4] * _ITEM_BYTES.get(kind.removesuffix("Storage"), 1))
        # One storage serves several tensors, and is as long as the longest of them says.
        known = self.storages.get(storage.key)
        self.storages[storage.key] = max(known or storage, storage, key=lambda each: each.size)
        return storage


def _permitted(full: str) -> bool:
    return full in _PLAIN or full in _DICTS or full in HARMLESS or _TORCH.fullmatch(full) is not None


def _base(full: str) -> type:
    if full in _DICTS or full == "builtins.dict":
        return _Dict
    if full == "torch.Size":
        return _Size
    return _Rebuild if "._rebuild_" in full else _Inert


def _tensors(path: Path, held: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Dotted names and shapes of the tensors in nested containers, in the file's order."""
    looked = 0

    def walk(name: str, value: Any, depth: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        nonlocal looked
        parts = _parts(value)
        looked += 1 + len(parts)
        if depth > _DEEPEST or looked > _MOST:
            raise CheckpointError(f"{path}: refused: containers nested without end; use a plain state dict instead")
        if isinstance(value, _Tensor):
            yield name, value.shape
        for key, part in parts.items() if isinstance(parts, dict) else enumerate(parts):
            if isinstance(part, _HOLDERS):
                yield from walk(f"{name}.{key}" if name else str(key), part, depth + 1)

    yield from walk("", held, 0)


_HOLDERS = (_Tensor, _Inert, dict, list, tuple)


def _parts(value: Any) -> dict[Any, Any] | list[Any] | tuple[Any, ...]:
    if isinstance(value, _Inert):
        value = value.state
    return value if isinstance(value, dict | list | tuple) else ()
