"""A pickle of weights, read without building anything but tensors' shapes: what would run code is refused by name."""

import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from suite.entry import Refusal

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

ITEM_BYTES = {
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    "ComplexDouble": 16,
}  # of PyTorch's storage types; the others take one byte
_DEEPEST = 64  # containers within containers
_MOST = 5_000_000  # values looked at: a file can name one list in itself so often that walking it has no end
# What a damaged pickle or header raises, and no more: an error of ours passes.
UNREADABLE: tuple[type[Exception], ...] = (pickle.UnpicklingError, EOFError, AttributeError, ImportError, LookupError)
UNREADABLE += (TypeError, ValueError, OverflowError, MemoryError, RecursionError)


class CheckpointError(Refusal):
    """A file is not a checkpoint that can be read. One line: what it is, and what to do."""


@dataclass(frozen=True)
class Storage:
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


class Unpickler(pickle.Unpickler):
    """Reads one pickle into plain data and stand-ins, and notes the storages that it names."""

    def __init__(self, path: Path, file: BinaryIO, script: bool = False) -> None:
        super().__init__(file, encoding="latin-1")  # text of Python 2
        self.path = path
        self.script = script
        self.storages: dict[str, Storage] = {}
        # Made anew for each file: a pickle can set attributes of what it names, even of a class.
        self.standins: dict[str, type] = {}

    def read(self) -> Any:
        """The object; raises CheckpointError."""
        try:
            return self.load()
        except CheckpointError:
            raise
        except UNREADABLE as error:
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

    def persistent_load(self, pid: Any) -> Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[4], int):
            raise pickle.UnpicklingError(f"a reference to {str(pid)[:80]}, not to a storage")
        kind = pid[1].__name__ if isinstance(pid[1], type) else ""
        storage = Storage(str(pid[2]), pid[4] * ITEM_BYTES.get(kind.removesuffix("Storage"), 1))
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


def tensors_in(path: Path, held: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
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
