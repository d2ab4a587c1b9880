"""Archive: what a zip or a tar holds, unpacked by a pattern; all of it appears or nothing."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from suite.disk import CHUNK, pour, room, writing
from suite.entry import Refusal
from suite.part import Failed

PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}  # around a tar
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError)
STRANGE = (NotImplementedError, RuntimeError, ValueError)  # a kind of packing that is not known, a password


class _Member(NamedTuple):
    name: str
    size: int
    plain: bool  # no link, no device
    open: Callable[[], Any]


def unpack(path: Path, pattern: str, beside: Path) -> list[Path]:
    """Unpacks the members of a zip or tar whose path or name matches `pattern`, flat, `beside` the archive's place.

    Failed where the archive is damaged or holds no such member, or one that is a link or points outside.
    """
    aside = beside.with_name(".unpacked")
    shutil.rmtree(aside, ignore_errors=True)
    with writing(aside):
        aside.mkdir(parents=True)
    try:
        found = _unpack(path, pattern, aside, beside.name)
        for name in found:
            with writing(beside):
                os.replace(aside / name, beside.with_name(name))
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return [beside.with_name(name) for name in sorted(found)]


def _unpack(path: Path, pattern: str, folder: Path, taken: str) -> list[str]:
    held, found = list[str](), list[str]()
    try:
        for member in _zip(path) if _head(path).startswith(b"PK") else _tar(path):
            held.append(member.name)
            *folders, name = re.split(r"[/\\]", member.name)
            if name.startswith(".") or not (fnmatchcase(member.name, pattern) or fnmatchcase(name, pattern)):
                continue
            if ".." in folders or not member.plain:
                raise Failed(f"its member {member.name} is a link or points outside: it stays packed")
            if name in (*found, taken):
                raise Failed(f"holds more than one {name}")
            room(folder / name, member.size)
            with member.open() as packed:
                pour(packed.read, folder / name)
            found.append(name)
    except (Failed, Refusal):
        raise
    except (*DAMAGE, *STRANGE) as error:
        raise Failed(f"is no whole zip or tar archive ({error})") from None
    if not found:
        more = f" and {len(held) - 12} more" if len(held) > 12 else ""
        raise Failed(f"holds no {pattern}, but {', '.join(held[:12]) or 'nothing'}{more}")
    return found


def _zip(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                plain = not stat.S_ISLNK(entry.external_attr >> 16)
                yield _Member(entry.filename, entry.file_size, plain, partial(archive.open, entry))


def _tar(path: Path) -> Iterator[_Member]:
    opened = next((how for magic, how in PACKED.items() if _head(path).startswith(magic)), open)
    with opened(path, "rb") as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:  # once, from its beginning to its end
            for entry in archive:
                if not entry.isdir():
                    yield _Member(entry.name, entry.size, entry.isreg(), partial(archive.extractfile, entry))
        while stream.read(CHUNK):  # to the check sum at its end
            pass


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(8)
