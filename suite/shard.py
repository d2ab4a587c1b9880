"""Shard: plain tars of many files, as WebDataset reads them: KEY.jpg and, where it has one class, KEY.cls behind it."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from suite import packed
from suite.disk import room, writing
from suite.entry import Refusal
from suite.packed import Places
from suite.part import Progress
from suite.store import write_text

BLOCK = 512  # bytes, of tar
ROWS = 10_000  # that are looked at together
THREADS, AHEAD = 16, 64  # that read files, which on network file systems is waiting; files that are read at a time
JOURNAL = ".packing"  # in the packed folder until all of it is there: which shards are written, and what is in them


class Member(NamedTuple):
    """What stands in a shard: a file, by its path in the folder, or a text."""

    name: str
    content: str | bytes
    size: int

    @property
    def header(self) -> bytes:
        one = tarfile.TarInfo(self.name)
        one.size = self.size
        return one.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@dataclass
class Shard:
    path: Path
    members: list[Member] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    size: int = 2 * BLOCK  # the end of a tar
    newest: int = 0  # when the last of its files was changed, in nanoseconds
    keys: set[str] = field(default_factory=set)

    def put(self, member: Member) -> None:
        self.members.append(member)
        self.starts.append(self.size - 2 * BLOCK + len(member.header))
        self.size += len(member.header) + _padded(member.size)

    @property
    def mark(self) -> str:
        """Tells it from one with other members."""
        names = "".join(f"{member.name}\0{member.size}\0" for member in self.members)
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()


class Writer:
    """Writes the shards of a folder, one after the other: where a file will be in one is known before any is read, for
    a tar's headers say no more than names and sizes."""

    def __init__(self, root: Path, limit: int, progress: Progress) -> None:
        self.root, self.to, self.limit, self.progress = root, packed.folder(root), limit, progress
        self.held, self.done, self.total = Places([]), 0, 0
        self.written = _journal(self.to)

    def reuse(self, others: Sequence[Places], wanted: Sequence[str]) -> None:
        """Takes what is in shards already, for another data set of the folder, and was not changed since."""
        self.held.shards += dict.fromkeys(shard for one in others for shard in one.shards)
        number = {shard: at for at, shard in enumerate(self.held.shards)}
        times = {shard: shard.stat().st_mtime_ns for shard in number}
        for places in others:
            for file in wanted:
                if file in self.held or not (where := places.place(file)):
                    continue
                told = os.stat(self.root / file)
                if told.st_size == where.size and told.st_mtime_ns <= times[where.shard]:
                    self.held.add([file], [number[where.shard]], [where.start], [where.size])

    def expect(self, files: Sequence[str]) -> None:
        """Refusal where there is no room for the files; their bytes are those of the progress."""
        new = [f"{self.root}{os.sep}{file}" for file in files if file not in self.held]
        with ThreadPoolExecutor(THREADS) as pool:
            self.total = sum(pool.map(os.path.getsize, new, chunksize=AHEAD))
        there = sum(path.stat().st_size for name in self.written if (path := self.to / name).is_file())
        room(self.to / "shards", self.total + 4 * BLOCK * len(new) - there)

    def write(self, kind: str, samples: Iterable[Sequence[tuple[str, str | None]]]) -> None:
        """Shards KIND-000000.tar and on, of samples: files, with the text of its class where one has one."""
        left, shard = iter(samples), self._next(kind)
        while some := list(islice(left, ROWS)):
            new = list(dict.fromkeys(file for sample in some for file, _ in sample if file not in self.held))
            with ThreadPoolExecutor(THREADS) as pool:
                told = dict(zip(new, pool.map(lambda file: os.stat(self.root / file), new), strict=True))
            for sample in some:
                files = [(file, label) for file, label in sample if file in told and file not in self.held]
                if shard.members and shard.size + sum(told[file].st_size for file, _ in files) > self.limit:
                    self._flush(shard)
                    shard = self._next(kind)
                for file, label in files:
                    self._put(shard, file, label, told[file])
        if shard.members:
            self._flush(shard)
        else:
            self.held.shards.pop()

    def end(self) -> None:
        """Once an index names what is there: what an earlier try left, and is in none, goes."""
        for name in self.written.keys() - {path.name for path in self.held.shards}:
            (self.to / name).unlink(missing_ok=True)
        (self.to / JOURNAL).unlink(missing_ok=True)

    def _next(self, kind: str) -> Shard:
        there = {path.name for path in self.held.shards}
        name = next(name for number in range(10**6) if (name := f"{kind}-{number:06d}.tar") not in there)
        self.held.shards.append(self.to / name)
        return Shard(self.to / name)

    def _put(self, shard: Shard, file: str, label: str | None, told: os.stat_result) -> None:
        name = file
        if label is not None:
            key, ending = _key(file, shard.keys)
            name = key + ending
        shard.put(Member(name, file, told.st_size))
        self.held.add([file], [len(self.held.shards) - 1], shard.starts[-1:], [told.st_size])
        if label is not None:
            shard.put(Member(f"{key}.cls", label.encode(), len(label)))
        shard.newest = max(shard.newest, told.st_mtime_ns)

    def _flush(self, shard: Shard) -> None:
        """Writes a shard, whole, unless it is there as it should be."""
        size = sum(member.size for member in shard.members if isinstance(member.content, str))
        if self.written.get(shard.path.name) != shard.mark or not _is_whole(shard):
            aside = shard.path.with_name(f".{shard.path.name}.aside")
            with writing(aside):
                file = open(aside, "wb")  # noqa: SIM115
            with file, ThreadPoolExecutor(THREADS) as pool:
                members, written = iter(shard.members), 0
                while some := list(islice(members, AHEAD)):
                    contents = list(pool.map(self._content, some))
                    with writing(aside):
                        for member, content in zip(some, contents, strict=True):
                            file.write(member.header + content.ljust(_padded(len(content)), b"\0"))
                    written += sum(member.size for member in some if isinstance(member.content, str))
                    self.progress(min(self.done + written, self.total), self.total)
                with writing(aside):
                    file.write(bytes(2 * BLOCK))
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(aside, shard.path)
            self.written[shard.path.name] = shard.mark
            write_text(self.to / JOURNAL, json.dumps(self.written))
        self.done += size
        self.progress(self.done, self.total)

    def _content(self, member: Member) -> bytes:
        if isinstance(member.content, bytes):
            return member.content
        content = (self.root / member.content).read_bytes()
        if len(content) != member.size:
            raise Refusal(f"{self.root / member.content}: changed while it was packed; pack it again")
        return content


def _key(file: str, keys: set[str]) -> tuple[str, str]:
    """What stands before a member's ending, and that. For WebDataset a key is what stands before the first dot of a
    name: so further dots are spelled %2E, and where two are alike, the second gets a number."""
    folder, slash, name = file.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    key = first = folder + slash + stem.replace(".", "%2E")
    number = 1
    while key in keys:
        key, number = f"{first}%{number}", number + 1
    keys.add(key)
    return key, dot + ending


def _is_whole(shard: Shard) -> bool:
    if not shard.path.is_file():
        return False
    told = shard.path.stat()
    return told.st_size == shard.size and told.st_mtime_ns >= shard.newest


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _journal(to: Path) -> dict[str, str]:
    """The shards that an earlier try wrote, with their marks."""
    try:
        return dict(json.loads((to / JOURNAL).read_text()))
    except (OSError, ValueError):
        return {}
