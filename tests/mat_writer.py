"""Writes MAT-files of version 5 as MATLAB does: small elements, padding, compression; for tests of what reads them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

INT8, UINT8, UINT16, INT32, UINT32, DOUBLE = 1, 2, 4, 5, 6, 9


def write(path: Path, variables: dict[str, Any], *, order: str = "<", compressed: bool = True) -> Path:
    """int or a list of ints: an array 1xN of doubles, kept as bytes where they fit, as MATLAB keeps them; floats:
    doubles; str: text; a tuple: cells; a list of dicts: structs."""
    text = b"MATLAB 5.0 MAT-file, Platform: GLNXA64, Created on: Sat Mar  3 04:39:26 2012".ljust(116)
    head = text + bytes(8) + struct.pack(f"{order}HH", 0x0100, 0x4D49)
    arrays = [array(order, value, name) for name, value in variables.items()]
    parts = [zlib.compress(one) for one in arrays]
    packed = [struct.pack(f"{order}II", 15, len(part)) + part for part in parts] if compressed else arrays
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + b"".join(packed))
    return path


def element(order: str, kind: int, data: bytes) -> bytes:
    if 0 < len(data) <= 4:
        return struct.pack(f"{order}I", len(data) << 16 | kind) + data.ljust(4, b"\0")
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def array(order: str, value: Any, name: str = "", flags: int = 0) -> bytes:
    kind, size, rest = _content(order, value)
    parts = [
        element(order, UINT32, struct.pack(f"{order}II", kind | flags, 0)),
        element(order, INT32, struct.pack(f"{order}ii", 1, size)),
        element(order, INT8, name.encode()),
    ]
    whole = b"".join([*parts, *rest])
    return struct.pack(f"{order}II", 14, len(whole)) + whole


def _content(order: str, value: Any) -> tuple[int, int, list[bytes]]:
    """Class, length and elements."""
    if isinstance(value, str):
        units = value.encode("utf-16-le" if order == "<" else "utf-16-be")
        return 4, len(units) // 2, [element(order, UINT16, units)]
    if isinstance(value, tuple):
        return 1, len(value), [array(order, one) for one in value]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        names = b"".join(name.encode().ljust(32, b"\0") for name in value[0])
        width = element(order, INT32, struct.pack(f"{order}i", 32))
        fields = [array(order, one) for row in value for one in row.values()]
        return 2, len(value), [width, element(order, INT8, names), *fields]
    numbers = value if isinstance(value, list) else [value]
    if all(isinstance(one, int) and 0 <= one < 256 for one in numbers):
        return 6, len(numbers), [element(order, UINT8, bytes(numbers))]
    return 6, len(numbers), [element(order, DOUBLE, struct.pack(f"{order}{len(numbers)}d", *numbers))]
