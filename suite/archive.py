"""Archive: what a zip or a tar holds, unpacked by a pattern or as a whole; all of it appears or nothing."""

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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

from suite.disk import CHUNK, pour, room, writing
from suite.entry import Refusal
from suite.part import Failed, Progress

PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}  # around a tar
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError)
STRANGE = (NotImplementedError, RuntimeError, ValueError)  # a kind of packing that is not known, a password
TAR = re.compile(r"\.(tar|tgz|tbz2|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
NAMED = re.compile(rf"\.zip$|{TAR.pattern}", re.IGNORECASE)
ADDED = re.compile(r"__MACOSX|\._.*|\.DS_Store|\.brought\.json")  # by macOS, in whatever it packs; the last only by us


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
    with _reading(path) as raw:
        for member in _members(raw):
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
    if not found:
        more = f" and {len(held) - 12} more" if len(held) > 12 else ""
        raise Failed(f"holds no {pattern}, but {', '.join(held[:12]) or 'nothing'}{more}")
    return found


# ---- as a whole


def whole(path: Path, folder: Path, progress: Progress) -> None:
    """Unpacks all of a zip or tar into `folder`, which is made for it, and each tar that it holds into a folder of that
    one's name; `progress` has the bytes of the archive that were read. Files and folders get the modes of new ones, and
    what macOS adds is left out.

    Failed where the archive is damaged, or has a member that is a link or a device, that points outside, or that is
    there twice; Refusal where there is no room. Nothing is then left of the folder.
    """
    size, shown = path.stat().st_size, 0
    with _made(folder), _reading(path) as raw:
        room(folder, max(size, _unpacked_size(raw)))

        def told() -> None:
            nonlocal shown
            if raw.tell() >= shown + CHUNK:  # not for each of a million members
                shown = raw.tell()
                progress(shown, size)

        _lay(_members(raw), folder, told, nested=True)
    progress(size, size)


def tars(path: Path) -> list[Path]:
    """The tars of ImageNet's classes, WNID.tar, that lie right in a folder."""
    return sorted(one for one in path.glob("n*.tar") if re.fullmatch(r"n\d{8}", one.stem))


def each(path: Path, folder: Path, progress: Progress) -> None:
    """Unpacks each of the `tars` of a folder, as `whole` does those of a tar that holds them."""
    held = {one: one.stat().st_size for one in tars(path)}
    done, size = 0, sum(held.values())
    with _made(folder):
        room(folder, size)
        for one, more in held.items():
            try:
                with _reading(one) as raw:
                    _inner(raw, one.name, folder / one.stem, lambda: None)
            except Failed as fault:
                raise Failed(f"{one.name} {fault}") from None
            done += more
            progress(done, size)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A new folder, of which nothing is left where what fills it fails."""
    with writing(folder):
        folder.mkdir(parents=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _lay(members: Iterable[_Member], folder: Path, told: Callable[[], object], *, nested: bool) -> None:
    made = {folder}
    for member in members:
        parts = _inside(member)
        if any(ADDED.fullmatch(part) for part in parts):
            continue
        to = folder.joinpath(*parts)
        if to.parent not in made:
            _folder(to.parent, member.name)
            made.add(to.parent)
        if nested and TAR.search(parts[-1]):
            with member.open() as packed:
                _inner(packed, member.name, to.with_name(TAR.sub("", parts[-1])), told)
        else:
            with member.open() as packed:
                _file(packed.read, to, member.name)
        told()


def _inner(packed: Any, name: str, folder: Path, told: Callable[[], object]) -> None:
    """Unpacks a tar of an archive into a folder of its name, which is not made twice where all that it holds is one."""
    if folder.is_symlink() or folder.exists():
        raise Failed(f"holds {name} twice")
    _folder(folder, name)
    _lay(_tar(packed), folder, told, nested=False)
    if [path.name for path in folder.iterdir()] == [folder.name]:
        outer = folder.with_name(f".{folder.name}.outer")
        folder.rename(outer)
        (outer / folder.name).rename(folder)
        outer.rmdir()


def _inside(member: _Member) -> list[str]:
    """The parts of a member's path; Failed where it leads out of the folder that it is unpacked in."""
    parts = [part for part in re.split(r"[/\\]", member.name) if part != "."]
    if not member.plain or not parts or not {"", ".."}.isdisjoint(parts) or parts[0].endswith(":"):
        raise Failed(f"its member {member.name} is a link or a device, or points outside: all of it stays packed")
    return parts


def _folder(path: Path, name: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise Failed(f"holds {name} below a file") from None
    except OSError as error:
        with writing(path):
            raise error


def _file(read: Callable[[int], bytes], to: Path, name: str) -> None:
    """Writes one of many files, of which a kill may leave one cut: until all are there, the archive is."""
    try:
        file = open(to, "xb")  # noqa: SIM115
    except (FileExistsError, IsADirectoryError):
        raise Failed(f"holds {name} twice") from None
    except OSError as error:
        with writing(to):
            raise error
    with file:
        while chunk := read(CHUNK):
            with writing(to):
                file.write(chunk)
        with writing(to):
            file.flush()


# ---- reading


@contextmanager
def _reading(path: Path) -> Iterator[BufferedReader]:
    """An archive, opened; Failed where it is none, or is damaged."""
    try:
        with open(path, "rb") as raw:
            yield raw
    except (Failed, Refusal):
        raise
    except (*DAMAGE, *STRANGE) as error:
        raise Failed(f"is no whole zip or tar archive ({error})") from None


def _members(raw: BufferedReader) -> Iterator[_Member]:
    return _zip(raw) if raw.peek(2).startswith(b"PK") else _tar(raw)


def _unpacked_size(raw: BufferedReader) -> int:
    """Bytes that a zip says it holds; 0 for a tar, which only says so member by member."""
    if not raw.peek(2).startswith(b"PK"):
        return 0
    with zipfile.ZipFile(raw) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    raw.seek(0)
    return size


def _zip(raw: BufferedReader) -> Iterator[_Member]:
    with zipfile.ZipFile(raw) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                plain = stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG)
                yield _Member(entry.filename, entry.file_size, plain, partial(archive.open, entry))


def _tar(raw: BufferedReader) -> Iterator[_Member]:
    head = raw.peek(8)
    opened = next((how for magic, how in PACKED.items() if head.startswith(magic)), None)
    stream = opened(raw, "rb") if opened else raw
    with tarfile.open(fileobj=stream, mode="r|") as archive:  # once, from its beginning to its end
        for entry in archive:
            if not entry.isdir():
                yield _Member(entry.name, entry.size, entry.isreg(), partial(archive.extractfile, entry))
    while stream.read(CHUNK):  # to the check sum at its end
        pass
