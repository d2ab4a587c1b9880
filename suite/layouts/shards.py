"""Tar shards, as WebDataset writes them: few large files in place of millions of small ones.

    train-000000.tar ...        KEY.jpg (or .png ...) and, behind it, KEY.cls with the number of its class
    val-000000.tar ...          optional; where there is no test-*.tar, it is the test split
    test-000000.tar ...

Shards of other names, or without KEY.cls, are images without labels, all of them for training. The tars are plain, not
compressed: an image is read where it lies. An item is "train-000000.tar#17": file, and which of its images.
"""

from __future__ import annotations

import tarfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from suite.index import IMAGE_EXTENSIONS, Index, LayoutError, Split, folders, require_all_labelled, some, unlike

KIND = "classification"
EXPECTED = "*.tar, such as train-000000.tar and test-000000.tar"


class Member(NamedTuple):
    """An image in a shard: where its bytes are; its class, or -1 where it has none."""

    start: int
    size: int
    label: int


def recognise(root: Path) -> bool:
    """Whether the folder holds tars of images, and no folders: it is not where an archive lies beside what was unpacked
    of it. Of the first tar the first sample is looked at."""
    names = sorted(path.name for path in root.glob("*.tar")) if root.is_dir() else []
    return bool(names) and not folders(root) and _begins_with_an_image(root / names[0])


def _begins_with_an_image(path: Path) -> bool:
    """Whether one of the members that stand first in a tar, and share their key, is an image."""
    first = ""
    try:
        with tarfile.open(path, "r:") as tar:
            for one in tar:
                if one.isdir():
                    continue
                key = _key(one.name)
                if not one.isfile() or key != (first or key):
                    break
                if one.name.lower().endswith(IMAGE_EXTENSIONS):
                    return True
                first = key
    except (tarfile.TarError, OSError):  # who names the layout is told
        return False
    return False


def _key(name: str) -> str:
    """What the files of a sample share: the path up to the first dot of the name."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"


def index(root: Path) -> Index:
    """Read the tars' headers; raises LayoutError."""
    names = sorted(path.name for path in root.glob("*.tar"))
    if not names:
        raise unlike(root, EXPECTED)
    groups: dict[str, list[str]] = {}
    for name in names:
        split = next((s for s in ("train", "val", "test") if name.startswith(s)), "")
        groups.setdefault(split, []).append(name)
    if "train" in groups and len(groups) > 1 and "" not in groups:
        present = [split for split in ("train", "val", "test") if split in groups]
        splits: dict[str, Split] = {split: _split(root, groups[split]) for split in present}
        if "test" not in splits:
            splits["test"] = splits.pop("val")
        if all(label >= 0 for split in splits.values() for label in split.labels):  # type: ignore[operator]
            return _labelled(root, splits)
    everything = _split(root, names)
    return Index("images", [], {"train": Split(everything.items, [0] * len(everything.items))})


def _labelled(root: Path, splits: dict[str, Split]) -> Index:
    classes = [str(number) for number in range(1 + max(label for s in splits.values() for label in s.labels))]  # type: ignore[operator]
    require_all_labelled(root, classes, splits["train"].labels, "train")
    return Index(KIND, classes, splits)


def _split(root: Path, names: list[str]) -> Split:
    held = {name: members(root / name) for name in names}
    if empty := [name for name, found in held.items() if not found]:
        raise LayoutError(
            f"{root}: no image in {len(empty)} shards ({some(empty)}); expected KEY.jpg or the like in each"
        )
    items = [f"{name}#{row}" for name, found in held.items() for row in range(len(found))]
    return Split(items, [member.label for found in held.values() for member in found])


@lru_cache(maxsize=4096)
def members(path: Path) -> list[Member]:
    """The images of a shard, in order. LayoutError where it is no plain tar, or is cut off."""
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for one in tar:
                key = _key(one.name)
                if one.name.lower().endswith(IMAGE_EXTENSIONS):
                    images.setdefault(key, (one.offset_data, one.size))
                elif one.name == f"{key.removeprefix('/')}.cls" and (held := tar.extractfile(one)):
                    labels[key] = int(held.read())
    except (tarfile.TarError, OSError, ValueError) as error:
        raise LayoutError(f"{path}: cannot be read as a plain tar ({error}); write it again") from None
    end = max((start + size for start, size in images.values()), default=0)
    if end > path.stat().st_size:
        raise LayoutError(f"{path}: is cut off, {path.stat().st_size} of at least {end} bytes; copy it again")
    return [Member(*where, labels.get(key, -1)) for key, where in images.items()]


def read(path: Path, row: int) -> bytes:
    """The file of one image of a shard."""
    where = members(path)[row]
    with open(path, "rb") as file:
        file.seek(where.start)
        return file.read(where.size)
