"""A pickle of weights, read for where its tensors lie, nothing else being built: what would run code is refused."""

import pickle
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

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


class _Fixed:
    """What a pickle cannot change once it is made."""

    def __setstate__(self, _: Any) -> None:
        """A state is not taken."""


@dataclass(frozen=True)
class Storage(_Fixed):
    key: str
    size: int  # bytes
    kind: str = ""  # of PyTorch's storage types: Float, Half ...
    start: int = 0  # of a part of a storage: its first number


@dataclass(frozen=True)
class Tensor(_Fixed):
    """A tensor's shape and where its numbers lie; without a storage where it is of a kind that only PyTorch reads."""

    shape: tuple[int, ...]
    storage: Storage | None = None
    offset: int = 0  # in numbers, from the storage's first
    stride: tuple[int, ...] = ()


class Inert:
    """Stands for any permitted object: keeps its state, does nothing."""

    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """What it would have been made from is not needed."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Dict(dict[Any, Any]):
    """Stands for OrderedDict, defaultdict, Counter and the like."""

    def __init__(self, *parts: Any) -> None:
        super().__init__()
        for part in parts:
            if isinstance(part, dict | list | tuple):
                self.update(part)

    def __setstate__(self, _: Any) -> None:
        """A module's state dict carries its version here."""


class _Shut(type):
    """Of closed stand-ins: calling one, filling it or giving it a state does nothing, and leads to itself."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        return cls

    def __setitem__(cls, *_: Any) -> None:
        """Of a dict."""

    def __setstate__(cls, _: Any) -> None:
        """Of any object."""

    append = extend = add = __setstate__  # of a list, of a set


class Closed(metaclass=_Shut):
    """Stands for what an entry lists as opaque, and for whatever is made of it."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return cls


class _Size(Inert):
    """Stands for torch.Size."""

    def __new__(cls, sides: Any = ()) -> Any:
        return tuple(sides)


class _Rebuild(Inert):
    """Stands for the functions that put tensors together; which one is its class's name."""

    def __new__(cls, *args: Any) -> Any:
        return _rebuilt(cls.__name__, args)


_WITH_STRIDES = ("_rebuild_tensor", "_rebuild_tensor_v2")  # storage, offset, shape, stride
_SHAPE_AT = {
    **dict.fromkeys(_WITH_STRIDES, 2),
    "_rebuild_tensor_v3": 2,
    "_rebuild_qtensor": 2,
    "_rebuild_wrapper_subclass": 2,
    "_rebuild_meta_tensor_no_storage": 1,
}


def _rebuilt(name: str, args: tuple[Any, ...]) -> Any:
    if name in _WITH_STRIDES and isinstance(args[0], Storage):
        return Tensor(_sides(args[2]), args[0], args[0].start + _sides([args[1]])[0], _sides(args[3]))
    if name in _SHAPE_AT:
        return Tensor(_sides(args[_SHAPE_AT[name]]))
    if name == "_rebuild_sparse_tensor":  # layout, (parts ..., size)
        return Tensor(_sides(next(part for part in args[1] if isinstance(part, tuple))))
    if name == "_rebuild_device_tensor_from_numpy":
        return Tensor(_sides(args[0].state[1]))
    if name == "_rebuild_from_type_v2":  # function, type, arguments, state
        return _rebuilt(args[0].__name__, args[2])
    if name.startswith(("_rebuild_parameter", "_rebuild_device_tensor")):
        return args[0]
    return None


def _sides(shape: Any) -> tuple[int, ...]:
    sides = tuple(shape)
    if not all(isinstance(side, int) and side >= 0 for side in sides):
        raise pickle.UnpicklingError(f"a tensor of shape {sides}")
    return sides


class Unpickler(pickle.Unpickler):
    """Reads one pickle into plain data and stand-ins, and notes the storages that it names.

    What a name of `opaque`'s patterns stands for stays closed; `script` permits the names of a TorchScript archive.
    """

    def __init__(self, path: Path, file: BinaryIO, opaque: Sequence[str] = (), script: bool = False) -> None:
        super().__init__(file, encoding="latin-1")  # text of Python 2
        self.path = path
        self.opaque = opaque
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
            standin = self.standin(full)
            if standin is None:
                raise CheckpointError(
                    f"{self.path}: refused: its pickle names '{full}', which is neither tensor nor plain data, so that "
                    "loading it could run code; use a plain state dict or safetensors instead"
                )
            self.standins[full] = type(standin)(full.rpartition(".")[2], (standin,), {})
        return self.standins[full]

    def standin(self, full: str) -> type | None:
        """What stands for a name; None where it is not permitted."""
        if _permitted(full) or (self.script and _SCRIPT.fullmatch(full)):
            return _base(full)
        return Closed if any(fnmatchcase(full, pattern) for pattern in self.opaque) else None

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and pid[:1] == ("module",):  # a class, with its source
            return pid[1]
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[4], int):
            raise pickle.UnpicklingError(f"a reference to {str(pid)[:80]}, not to a storage")
        kind = pid[1].__name__.removesuffix("Storage") if isinstance(pid[1], type) else ""
        start = pid[5][1] if len(pid) > 5 and pid[5] else 0  # key, first number and count of a part of it
        storage = Storage(str(pid[2]), pid[4] * ITEM_BYTES.get(kind, 1), kind, *_sides([start]))
        # One storage serves several tensors, and is as long as the longest of them says.
        known = self.storages.get(storage.key)
        self.storages[storage.key] = max(known or storage, storage, key=lambda each: each.size)
        return storage


def _permitted(full: str) -> bool:
    return full in _PLAIN or full in _DICTS or full in HARMLESS or _TORCH.fullmatch(full) is not None


def _base(full: str) -> type:
    if full in _DICTS or full == "builtins.dict":
        return Dict
    if full == "torch.Size":
        return _Size
    return _Rebuild if "._rebuild_" in full else Inert


Leaf = TypeVar("Leaf")


def leaves(path: Path, held: Any, kind: type[Leaf]) -> Iterator[tuple[str, Leaf]]:
    """Dotted names and values of what is of a kind in nested containers, in the file's order."""
    looked = 0

    def walk(name: str, value: Any, depth: int) -> Iterator[tuple[str, Leaf]]:
        nonlocal looked
        parts = _parts(value)
        looked += 1 + len(parts)
        if depth > _DEEPEST or looked > _MOST:
            raise CheckpointError(f"{path}: refused: containers nested without end; use a plain state dict instead")
        if isinstance(value, kind):
            yield name, value
        for key, part in parts.items() if isinstance(parts, dict) else enumerate(parts):
            if isinstance(part, (kind, Inert, dict, list, tuple)):
                yield from walk(f"{name}.{key}" if name else str(key), part, depth + 1)

    yield from walk("", held, 0)


def _parts(value: Any) -> dict[Any, Any] | list[Any] | tuple[Any, ...]:
    if isinstance(value, Inert):
        value = value.state
    return value if isinstance(value, dict | list | tuple) else ()
