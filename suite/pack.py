"""Pack: the many files of a data set in a few large ones, for file systems that count files: shards with an index,
which are read in the folder's place (packed.py)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from suite import adhoc, archive, check, packed
from suite.adhoc import Place
from suite.disk import writing
from suite.entry import Refusal
from suite.index import IMAGE_EXTENSIONS, PIXELWISE, Index, Split, digest, locate
from suite.packed import OTHERS, Places
from suite.part import Progress
from suite.shard import Writer
from suite.store import lock

ROWS = 10_000  # of a block of the index
REST = "rest"  # what the shards of a folder's other files are called


def pack(place: Place, megabytes: int, progress: Progress) -> str:
    """Writes a data set's files into shards of that size beside its folder, and says where; one that is packed stays.
    `progress` has the bytes of the files.

    Refusal where it can't be. After a kill the same call goes on: shards that are written as they should be stay.
    """
    root, to = place.root, packed.folder(place.root)
    if packed.holds(root, place.layout):
        return f"{root.name}: is packed, in {to}"
    found = index(place)
    with lock(root.with_name(f".{to.name}.lock")):
        if packed.file(root, place.layout).is_file():
            if not _is_same(place, found):
                raise Refusal(f"{root}: changed since {to} was packed of it; move that away, and pack it again")
            return f"{root.name}: is packed, in {to}"
        with writing(to):
            to.mkdir(exist_ok=True)
        writer = Writer(root, megabytes * 10**6, progress)
        writer.reuse([packed.places(root, layout) for layout in packed.layouts(root)], check.files(found))
        rest = [] if any(path.name.startswith(f"{REST}-") for path in writer.held.shards) else list(_rest(root, found))
        writer.expect([*check.files(found), *rest])
        for name, split in found.splits.items():
            writer.write(name, _samples(found, split))
        writer.write(REST, ([(file, None)] for file in rest))
        _write_index(place, found, writer.held)
        writer.end()
        if not _is_same(place, found):
            packed.file(root, place.layout).unlink()
            raise Refusal(f"{root}: changed while it was packed; the same command packs it again")
    return _told(place, found, writer.held)


def index(place: Place) -> Index:
    """The index of the folder that is to be packed; Refusal where it is not there, or is packed as it is."""
    if not place.root.is_dir():
        raise Refusal(f"{place.root}: no such folder, so there is nothing to pack; bring it with: launch.py fetch")
    found = adhoc.layout(place.layout).index(place.root)
    files = {locate(item) for split in found.splits.values() for item in split.items[:1]}
    if any(row is not None for _, row in files):
        raise Refusal(f"{place.root}: its images are in {len(check.files(found))} files already: nothing to pack")
    return found


def _samples(found: Index, split: Split) -> Iterator[list[tuple[str, str | None]]]:
    """Of each image its file, with the number of its class where it has one, and the file of its mask."""
    for item, label in zip(split.items, split.labels, strict=True):
        if found.kind in PIXELWISE:
            yield [(item, None), (str(label), None)]
        else:
            yield [(item, str(label) if found.kind == "classification" else None)]


def _rest(root: Path, found: Index) -> Iterator[str]:
    """The folder's other files, which a layout reads: lists and annotations; no image of no split, no archive."""
    listed = set(check.files(found))
    for folder, inner, names in os.walk(root, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")
            other = name.lower().endswith(IMAGE_EXTENSIONS) or archive.NAMED.search(name) or name.startswith(".")
            if path not in listed and not other:
                yield path


# ---- the index


def _write_index(place: Place, found: Index, held: Places) -> None:
    to = packed.file(place.root, place.layout)
    used = {where.shard for file in held if (where := held.place(file))}
    shards = [shard for shard in held.shards if shard in used]
    number = {shard: at for at, shard in enumerate(shards)}
    head = {
        "format": packed.FORMAT,
        "layout": place.layout,
        "index": {one.name: getattr(found, one.name) for one in fields(Index) if one.name not in ("splits", "sizes")},
        "splits": {name: len(split.items) for name, split in found.splits.items()},
        "shards": [(shard.name, shard.stat().st_size) for shard in shards],
    }
    aside = to.with_name(f".{to.name}.aside")

    def lines() -> Iterator[dict[str, Any]]:
        yield head
        for name, split in found.splits.items():
            for first in range(0, len(split.items), ROWS):
                rows = slice(first, first + ROWS)
                masks = [str(label) for label in split.labels[rows]] if found.kind in PIXELWISE else []
                columns = {other: getattr(split, other)[rows] for other in OTHERS}
                labels = {"split": name, "labels": split.labels[rows], **columns}
                yield labels | _block([*split.items[rows], *masks], held, number)
        listed = set(check.files(found))
        left = (file for file in held if file not in listed)
        while files := list(islice(left, ROWS)):
            yield _block(files, held, number)

    with writing(aside), open(aside, "w", encoding="ascii") as file:
        for line in lines():
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, to)


def _block(files: list[str], held: Places, number: dict[Path, int]) -> dict[str, Any]:
    where = [place for file in files if (place := held.place(file))]
    columns = [number[one.shard] for one in where], [one.start for one in where], [one.size for one in where]
    return {"files": files, "places": columns}


# ---- afterwards


def _is_same(place: Place, found: Index) -> bool:
    """Whether what was packed is what the folder has."""
    held = packed.index(place.root, place.layout)
    return held == found and digest(held, place.root) == digest(found, place.root)


def _told(place: Place, found: Index, held: Places) -> str:
    root, to = place.root, packed.folder(place.root)
    size = sum(shard.stat().st_size for shard in held.shards)
    beside = check.extra(found, root)
    alone = f"; {len(beside)} images of no split are not in it" if beside else ""
    counted = len(list(to.glob("[!.]*")))
    return (
        f"{root.name}: {len(held)} files are now {counted} in {to}, {size / 1e9:.3g} GB{alone}; "
        f"it is read from there once {root} is not there any more"
    )
