"""Packed: what a data set's folder was packed into (pack.py), read in that folder's place where it is not there.

    NAME.packed/                beside NAME/
        LAYOUT.index            a data set of the folder, as its layout read it: imagenet.index, imagenet-1percent.index
        train-000000.tar ...    plain tars, as WebDataset reads them
        rest-000000.tar ...     what else the folder has but images of no split

An index is lines of JSON: the Index without its splits, and the shards with their bytes; then blocks of rows, a split's
fields as columns, and for each item and label file the number of its shard, its first byte and its size. Blocks are
parsed in C, one at a time, so that a million rows take seconds, and memory for what is kept of them.
"""

from __future__ import annotations

import json
import os
import threading
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from suite.index import Index, LayoutError, Split, Thing, some

FORMAT = 1
SUFFIX, ENDING = ".packed", ".index"
OPEN = 64  # shards that are kept open
OTHERS = [one.name for one in fields(Split) if one.name not in ("items", "labels")]  # a split's further columns
DAMAGE = (OSError, ValueError, TypeError, KeyError, IndexError)  # of an index


class Place(NamedTuple):
    """Where a file's bytes are."""

    shard: Path
    start: int
    size: int


class Places(Mapping[str, int]):
    """Where each file of a packed folder is, by its path in the folder; as a mapping, its size in bytes."""

    def __init__(self, shards: Sequence[Path]) -> None:
        self.shards = list(shards)
        self.whole: dict[Path, int] = {}  # bytes of each shard, as it was written
        self._rows: dict[str, int] = {}
        self._shard, self._start, self._size = array("I"), array("Q"), array("Q")

    def add(self, files: Iterable[str], shards: Iterable[int], starts: Iterable[int], sizes: Iterable[int]) -> None:
        """More files, of which none needs to be new; ValueError where a column is longer than another."""
        first = len(self._shard)
        self._shard.extend(shards)
        self._start.extend(starts)
        self._size.extend(sizes)
        rows = range(first, len(self._shard))
        self._rows.update(zip(files, rows, strict=True))
        if not len(self._shard) == len(self._start) == len(self._size):
            raise ValueError("columns of different lengths")

    def place(self, file: str) -> Place | None:
        row = self._rows.get(file)
        return None if row is None else Place(self.shards[self._shard[row]], self._start[row], self._size[row])

    def __getitem__(self, file: str) -> int:
        return self._size[self._rows[file]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def folder(root: Path) -> Path:
    """Where a folder's packed form is."""
    return root.with_name(root.name + SUFFIX)


def file(root: Path, layout: str) -> Path:
    """The index of one of a folder's data sets."""
    return folder(root) / (layout.replace("/", "-") + ENDING)


def holds(root: Path, layout: str) -> bool:
    """Whether a data set is to be read from shards: its folder is not there, and was packed."""
    return not root.exists() and file(root, layout).is_file()


def index(root: Path, layout: str) -> Index:
    """The index that was packed, with the files' sizes; LayoutError where a shard is gone or cut, or it cannot be
    read."""
    return _opened(file(root, layout))[0]


def places(root: Path, layout: str) -> Places:
    """Where the files of a packed data set are; LayoutError as above."""
    return _opened(file(root, layout))[1]


def layouts(root: Path) -> list[str]:
    """The data sets of a folder that were packed, as layouts are spelled."""
    return [str(_header(path)["layout"]) for path in sorted(folder(root).glob(f"[!.]*{ENDING}"))]


def read(path: Path) -> bytes | None:
    """The bytes of a file that is in shards, because a folder above it is not there but packed; None where none is."""
    where = _place(path)
    if where is None:
        return None
    shard = _shard(where.shard)  # a name for it: else another thread that opens shards might close this one meanwhile
    return os.pread(shard.fileno(), where.size, where.start)


def _place(path: Path) -> Place | None:
    root = _root(str(path.parent))
    if root is None:
        return None
    name = str(path)[len(root) + 1 :]
    held = folder(Path(root))
    with _LOCK:  # those that are in memory first
        known = {at: opened for at, (_, (_, opened)) in _OPEN.items() if at.parent == held}
    for one in known.values():
        if where := one.place(name):
            return where
    for at in sorted(held.glob(f"[!.]*{ENDING}")):
        if at not in known and (where := _opened(at)[1].place(name)):
            return where
    return None


def _root(path: str) -> str | None:
    """The folder, of those that a path names, that is not there but packed."""
    try:
        return _known_root(path)
    except LookupError:
        return None


@lru_cache(maxsize=1 << 16)
def _known_root(path: str) -> str:
    """LookupError, which is not kept, where there is none: what is packed later is found."""
    for one in (Path(path), *Path(path).parents):
        if one.exists():
            break
        if one.name and folder(one).is_dir():
            return str(one)
    raise LookupError


@lru_cache(maxsize=OPEN)
def _shard(path: Path) -> BinaryIO:
    return open(path, "rb", buffering=0)


# ---- an index

_OPEN: dict[Path, tuple[tuple[int, int], tuple[Index, Places]]] = {}
_LOCK = threading.Lock()


def _opened(path: Path) -> tuple[Index, Places]:
    """An index, read once for as long as it stays the same."""
    try:
        told = os.stat(path)
        stamp = (told.st_mtime_ns, told.st_size)
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read ({error.strerror}); pack it again") from None
    with _LOCK:
        if path not in _OPEN or _OPEN[path][0] != stamp:
            _OPEN[path] = (stamp, _read(path))
        found = _OPEN[path][1]
    _require_whole(path.parent, found[1].whole)
    return found


def _header(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            found = json.loads(file.readline())
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']}, not {FORMAT}")
    except DAMAGE as error:
        raise LayoutError(f"{path}: no index of a packed folder ({error}); remove it, and pack it again") from None
    return dict(found)


def _read(path: Path) -> tuple[Index, Places]:
    head = _header(path)
    held = Places([path.with_name(name) for name, _ in head["shards"]])
    held.whole = {path.with_name(name): size for name, size in head["shards"]}
    splits = {name: Split([], []) for name in head["splits"]}
    try:
        with open(path, "rb") as file:
            file.readline()
            for line in file:
                _add(json.loads(line), head["index"]["kind"], splits, held)
        if {name: len(split.items) for name, split in splits.items()} != head["splits"]:
            raise ValueError("cut off")
        return Index(**head["index"], splits=splits, sizes=held), held
    except DAMAGE as error:
        raise LayoutError(f"{path}: damaged, or of another version ({error}); remove it, and pack it again") from None


def _add(block: dict[str, Any], kind: str, splits: Mapping[str, Split], held: Places) -> None:
    """A block of rows: its files, and, where it is one of a split and not of other files, its labels."""
    held.add(block["files"], *block["places"])
    if "split" not in block:
        return
    split, labels = splits[block["split"]], block["labels"]
    split.items.extend(block["files"][: len(labels)])
    kept: list[Any] = split.labels
    kept.extend([[_thing(row) for row in things] for things in labels] if kind == "detection" else labels)
    for name in OTHERS:
        column: list[Any] = getattr(split, name)
        column.extend(map(tuple, block[name]) if name == "sizes" else block[name])


def _thing(row: list[Any]) -> Thing:
    label, box, *rest = row
    return Thing(label, tuple(box), *rest)


def _require_whole(folder: Path, shards: Mapping[Path, int]) -> None:
    """LayoutError where a shard is not there as it was written."""
    there = {path: path.stat().st_size if path.is_file() else -1 for path in shards}
    if odd := [path.name for path, size in there.items() if size != shards[path]]:
        raise LayoutError(
            f"{folder}: {len(odd)} of {len(shards)} shards are gone or cut off ({some(odd)}); bring them again, or "
            "remove all of it and pack it again"
        )
