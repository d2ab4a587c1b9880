"""MAT-files of MATLAB, versions 5 to 7: numbers, text, cells and structs, compressed or not, in either byte order.

    128 bytes       text; at 124 the version, 0x0100, and "IM" where numbers are little-endian, "MI" where big-endian
    element ...     type and size (4 bytes each; or 2 each, and 4 bytes of data), data, padding to 8 bytes

An array is an element of elements: its class, shape, name and values. Values come flat, in MATLAB's order (columns
first), without their shape, which is what lists need. Sparse and complex arrays, objects and functions are not read.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.index import LayoutError, some

HEADER = 128
HDF5 = b"\x89HDF\r\n\x1a\n"
NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}  # of data -> of struct
TEXTS = {1: "utf-8", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, CHAR = 1, 2, 4
NUMERIC = range(6, 16)  # double, single, and integers of 8 to 64 bits
COMPLEX = 0x0800


class _Damaged(ValueError):
    """What the bytes say cannot be."""


@dataclass(frozen=True)
class Named:
    """Values by their names: the variables of a file, or the fields of one struct. Each getter raises LayoutError where
    there is no such name, or its value is of another kind."""

    path: Path
    held: dict[str, Any]

    def numbers(self, name: str) -> list[int]:
        """Whole numbers, whatever type they are stored as."""
        found = self._list(name)
        if not all(isinstance(one, int | float) and float(one).is_integer() for one in found):
            raise self._unlike(name, "whole numbers")
        return [int(one) for one in found]

    def number(self, name: str) -> int:
        found = self.numbers(name)
        if len(found) != 1:
            raise self._unlike(name, f"one number, not {len(found)}")
        return found[0]

    def text(self, name: str) -> str:
        found = self._value(name)
        if not isinstance(found, str):
            raise self._unlike(name, "a line of text")
        return found

    def texts(self, name: str) -> list[str]:
        """The lines of text in the cells of an array."""
        found = self._list(name)
        if not all(isinstance(one, str) for one in found):
            raise self._unlike(name, "lines of text")
        return found

    def structs(self, name: str) -> list[Named]:
        found = self._list(name)
        if not all(isinstance(one, dict) for one in found):
            raise self._unlike(name, "structs")
        return [Named(self.path, one) for one in found]

    def _list(self, name: str) -> list[Any]:
        found = self._value(name)
        if not isinstance(found, list):
            raise self._unlike(name, "an array")
        return found

    def _value(self, name: str) -> Any:
        if name not in self.held:
            raise LayoutError(
                f"{self.path}: no '{name}' in it, but {some(sorted(self.held)) or 'nothing'}; unpack it again"
            )
        return self.held[name]

    def _unlike(self, name: str, expected: str) -> LayoutError:
        return LayoutError(f"{self.path}: '{name}' is not as it should be; expected {expected}; unpack it again")


def read(path: Path) -> Named:
    """All variables of a file. Raises LayoutError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read ({error.strerror}); unpack it again") from None
    if data.startswith((b"MATLAB 7.3", HDF5)):
        raise LayoutError(
            f"{path}: a MAT-file of version 7.3 (HDF5); expected version 5 to 7; in MATLAB: save(FILE, ..., '-v7')"
        )
    order = {b"IM\0\1": "<", b"MI\1\0": ">"}.get(data[126:128] + data[124:126])
    if order is None:
        told = f"begins with {data[:20]!r}" if data else "is empty"
        raise LayoutError(f"{path}: {told}; expected a MAT-file of version 5 to 7; bring it again")
    try:
        return Named(path, dict(_Reader(order).variables(data[HEADER:])))
    # What cut or changed bytes raise; nothing but plain data is made of them.
    except (_Damaged, struct.error, zlib.error, UnicodeDecodeError, RecursionError) as error:
        raise LayoutError(f"{path}: damaged ({error}); bring it again") from None


@dataclass(frozen=True)
class _Reader:
    """Reads elements of one byte order: "<" little-endian, ">" big-endian."""

    order: str

    def variables(self, data: bytes) -> Iterator[tuple[str, Any]]:
        for kind, held in self._elements(data):
            if kind == COMPRESSED:
                yield from self.variables(zlib.decompress(held))
            elif kind == MATRIX:
                yield self._array(held)

    def _elements(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The type and bytes of each element."""
        at = 0
        while at < len(data):
            kind, size = struct.unpack_from(f"{self.order}II", data, at)
            start, step = at + 8, 8
            if kind >> 16:  # a small element, within its own tag
                kind, size, start, step = kind & 0xFFFF, kind >> 16, at + 4, 4
            if start + size > len(data) or (step == 4 and size > 4):
                raise _Damaged(f"cut off: {size} bytes at {start} of {len(data)}")
            yield kind, data[start : start + size]
            # What is compressed has no padding behind it.
            at = start + (size if kind == COMPRESSED else math.ceil(size / step) * step)

    def _array(self, data: bytes) -> tuple[str, Any]:
        """Name and value. An empty element stands for an empty array."""
        if not data:
            return "", []
        parts = self._elements(data)
        flags, shape, name = self._first(parts), self._numbers(parts), self._next(parts)[1]
        kind = flags & 0xFF
        if flags & COMPLEX or kind not in (CELL, STRUCT, CHAR, *NUMERIC):
            raise _Damaged(f"an array of class {kind}{', complex' if flags & COMPLEX else ''}, which is not read")
        return name.decode(), self._values(kind, math.prod(shape), parts)

    def _values(self, kind: int, count: int, parts: Iterator[tuple[int, bytes]]) -> Any:
        if kind == CHAR:
            return self._text(*self._next(parts))
        if kind == STRUCT:
            return self._structs(count, parts)
        found = [self._array(held)[1] for _, held in parts] if kind == CELL else self._numbers(parts)
        if len(found) != count:
            raise _Damaged(f"{len(found)} values where its shape has {count}")
        return found

    def _structs(self, count: int, parts: Iterator[tuple[int, bytes]]) -> list[dict[str, Any]]:
        width = self._first(parts)
        names = self._next(parts)[1]
        if width < 1 or len(names) % width:
            raise _Damaged(f"{len(names)} bytes of field names of {width} each")
        fields = [names[at : at + width].split(b"\0")[0].decode() for at in range(0, len(names), width)]
        values = [self._array(held)[1] for _, held in parts]
        if len(values) != count * len(fields):
            raise _Damaged(f"{len(values)} values for {count} structs of {len(fields)} fields")
        starts = range(0, len(values), len(fields) or 1)
        return [dict(zip(fields, values[at : at + len(fields)], strict=True)) for at in starts]

    def _next(self, parts: Iterator[tuple[int, bytes]]) -> tuple[int, bytes]:
        found = next(parts, None)
        if found is None:
            raise _Damaged("an array without all of its parts")
        return found

    def _first(self, parts: Iterator[tuple[int, bytes]]) -> int:
        found = self._numbers(parts)
        if not found or not isinstance(found[0], int):
            raise _Damaged("an array without its class, or a struct without its fields")
        return found[0]

    def _numbers(self, parts: Iterator[tuple[int, bytes]]) -> list[Any]:
        kind, data = self._next(parts)
        if kind not in NUMBERS:
            raise _Damaged(f"data of type {kind} where numbers should be")
        letter = NUMBERS[kind]
        return list(struct.unpack(f"{self.order}{len(data) // struct.calcsize(letter)}{letter}", data))

    def _text(self, kind: int, data: bytes) -> str:
        if kind not in TEXTS:
            raise _Damaged(f"data of type {kind} where text should be")
        name = TEXTS[kind]
        return data.decode(name if name == "utf-8" else name + {"<": "-le", ">": "-be"}[self.order])
