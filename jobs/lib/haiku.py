"""Pickles of Haiku's networks, as BYOL's: arrays of numpy or JAX in nested dicts, read without running what they name.

JAX's arrays are pickled as numpy's, alone or within a function that puts them on a device; Haiku's immutable dicts as
dicts; and dill, which many use, puts a named tuple's fields into the file, and has functions be looked up in modules.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs.lib.failure import BadWeights
from suite import unpickle
from suite.unpickle import Dict, Inert

_NUMBERS = re.compile(r"b1|[iuf]\d+")  # of numpy's types; arrays of the others (objects, text) are left out


def read(file: Path, opaque: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """Keys from the outermost on, joined by dots (a module's own name has slashes) -> tensor. CheckpointError."""
    try:
        with open(file, "rb") as opened:
            held = _Reader(file, opened, opaque).read()
    except OSError as error:
        raise BadWeights(f"{file} cannot be read: {error.strerror}") from error
    found = {}
    for name, array in unpickle.leaves(file, held, _Array):
        try:
            tensor = _tensor(array)
        except unpickle.UNREADABLE as error:
            raise BadWeights(f"{file} is damaged: its array {name} cannot be read ({error})") from error
        if tensor is not None:
            found[name] = tensor
    if not found:
        raise BadWeights(f"{file} holds no array; name a file of weights")
    return found


class _Reader(unpickle.Unpickler):
    """Keeps what arrays are made of, and takes mappings and named tuples for dicts; the rest is as in torch's files."""

    def standin(self, full: str) -> type | None:
        if re.fullmatch(r"dill\.(_dill|dill)\._get_attr", full):
            return type("_Attribute", (Inert,), {"__new__": lambda _, of, name: self.attribute(of, name)})
        found = next((standin for pattern, standin in _STANDINS.items() if re.fullmatch(pattern, full)), None)
        return found or super().standin(full)

    def attribute(self, of: Any, name: Any) -> type:
        """What stands for a name in a module, as if the pickle had named it itself."""
        module = of.name if isinstance(of, _Module) else of
        if not isinstance(module, str) or not isinstance(name, str):
            raise pickle.UnpicklingError(f"an attribute of {str(module)[:40]}")
        return self.find_class(module, name)


class _Module(Inert):
    """Stands for a module, by its name."""

    def __init__(self, *made_from: Any) -> None:
        self.name = made_from[0]


class _Array(Inert):
    """Stands for an array, whose state is (version, shape, type, whether columns come first, bytes)."""

    def __init__(self, *made_from: Any) -> None:
        """What it is made from makes an empty array: the state follows."""


class _Of(_Array):
    """Stands for functions of JAX and dill that make an array of (function, arguments, state, ...)."""

    def __init__(self, *made_from: Any) -> None:
        self.state = made_from[2]


class _FromBuffer(_Array):
    """Stands for the function that makes an array of (bytes, type, shape, order): that is pickle's protocol 5."""

    def __init__(self, *made_from: Any) -> None:
        numbers, kind, shape, order = made_from
        self.state = 1, shape, kind, order == "F", numbers


class _Scalar(_Array):
    """Stands for the function that makes one number of (type, bytes)."""

    def __init__(self, *made_from: Any) -> None:
        self.state = 1, (), *made_from[:1], False, *made_from[1:]


class _Type(Inert):
    """Stands for numpy.dtype, made from a text without the order of the bytes, which is in its state."""

    def __init__(self, *made_from: Any) -> None:
        self.text = str(made_from[0])


def _tensor(array: _Array) -> torch.Tensor | None:
    _, shape, kind, columns, numbers = array.state
    if not isinstance(kind, _Type) or not _NUMBERS.fullmatch(kind.text):
        return None
    dtype = np.dtype((kind.state[1] if kind.state else "|") + kind.text)
    read: np.ndarray = np.ndarray(shape, dtype, numbers, order="F" if columns else "C")
    return torch.from_numpy(np.array(read, dtype=dtype.newbyteorder("="), order="C"))


class _Encoded(Inert):
    """Stands for codecs.encode, of which protocol 2 makes bytes."""

    def __new__(cls, text: Any, encoding: Any = "latin1") -> Any:
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"bytes of the encoding {str(encoding)[:40]}")
        return text.encode("latin-1")


class _NoBytes(Inert):
    """Stands for bytes(), which protocol 2 calls where there are none."""

    def __new__(cls) -> Any:
        return b""


class _Named(Inert):
    """Stands for a class of named tuples: a dict of its fields."""

    fields: tuple[str, ...] = ()

    def __new__(cls, *values: Any) -> Any:
        return dict(zip(cls.fields, values, strict=True))


class _Byol(_Named):
    """Stands for BYOL's state, where dill has not put the fields into the file."""

    fields = ("online_params", "target_params", "online_state", "target_state", "opt_state")


class _Factory(Inert):
    """Stands for dill's function that makes a class of named tuples of (name, fields, module, ...)."""

    def __new__(cls, name: Any, fields: Any, *_: Any) -> Any:
        return type(str(name), (_Named,), {"fields": tuple(str(field) for field in fields)})


_STANDINS: dict[str, type] = {
    r"numpy\._?core\.(_multiarray_umath|multiarray)\._reconstruct": _Array,
    r"numpy\._?core\.(_multiarray_umath|multiarray)\.scalar": _Scalar,
    r"numpy\._?core\.numeric\._frombuffer": _FromBuffer,
    r"numpy\.dtype": _Type,
    r"_codecs\.encode": _Encoded,
    r"builtins\.bytes": _NoBytes,
    r"jax\.(_src|interpreters)\.\w+\._?reconstruct_(device_)?array": _Of,
    r"dill\.(_dill|dill)\._import_module": _Module,
    r"dill\.(_dill|dill)\._create_array": _Of,
    r"dill\.(_dill|dill)\._create_namedtuple": _Factory,
    r"haiku\._src\.data_structures\.(FlatMapping|FlatMap|frozendict|FrozenDict)": Dict,
    r"byol\.byol_experiment\._ByolExperimentState": _Byol,
}
