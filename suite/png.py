"""PNG: 8-bit images as the bytes of a file, in grey, in colour, or with a palette."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

GREY, COLOUR, PALETTE = 0, 2, 3  # the format's own numbers
Ink = tuple[int, int, int]


def grey(pixels: bytes, width: int) -> bytes:
    """A grey image, one byte a pixel."""
    return _file(GREY, pixels, width, width)


def colour(pixels: bytes, width: int) -> bytes:
    """An RGB image, three bytes a pixel."""
    return _file(COLOUR, pixels, width, 3 * width)


def palette(pixels: bytes, width: int, inks: Sequence[Ink]) -> bytes:
    """An image of numbers, one byte a pixel; viewers show number i in colour `inks[i]`."""
    return _file(PALETTE, pixels, width, width, (b"PLTE", bytes(channel for ink in inks for channel in ink)))


def _file(kind: int, pixels: bytes, width: int, row: int, *more: tuple[bytes, bytes]) -> bytes:
    rows = (b"\0" + pixels[i : i + row] for i in range(0, len(pixels), row))  # 0: no filter
    head = struct.pack(">IIBBBBB", width, len(pixels) // row, 8, kind, 0, 0, 0)
    parts = ((b"IHDR", head), *more, (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
