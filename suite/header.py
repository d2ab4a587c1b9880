"""Header: an image's width and height from its file's first bytes, without decoding it."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
JPEG = b"\xff\xd8"
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG's segments that say the size; those three are tables
BARE = {0x01, *range(0xD0, 0xD8)}  # JPEG's marks without a segment
ENDS = {0x00, 0xD9, 0xDA}  # no size stands behind these


def size(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Width and height of a PNG or a JPEG as stored, whatever its EXIF says; None where it is neither, or broken."""
    try:
        with open(path, "rb") as file:
            head = file.read(24)
            if head.startswith(PNG):
                width, height = struct.unpack(">II", head[16:])
            elif head.startswith(JPEG):
                file.seek(len(JPEG))
                width, height = _frame(file)
            else:
                return None
    except (OSError, struct.error):  # who decodes it has more to say
        return None
    return (width, height) if width and height else None


def _frame(file: BinaryIO) -> tuple[int, int]:
    """Width and height of a JPEG from where its segments start, 0 where none says them; struct.error where cut."""
    while True:
        mark, code = struct.unpack("BB", file.read(2))
        while mark == code == 0xFF:  # any number of them may stand before a segment
            (code,) = file.read(1) or (0,)
        if mark != 0xFF or code in ENDS:
            return 0, 0
        if code in FRAMES:
            _, _, height, width = struct.unpack(">HBHH", file.read(7))
            return width, height
        if code not in BARE:
            (length,) = struct.unpack(">H", file.read(2))
            file.seek(max(length, 2) - 2, os.SEEK_CUR)
