"""Pairs: images and the files of their labels, a mask or a map of normals each; what is checked before the queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

from suite import header
from suite.index import Index, LayoutError, Split, absent, images, lines, require_once, require_present, some

LABELS = {"segmentation": "mask", "normals": "map of normals"}  # what the file of a label is called in messages
THREADS = 16  # that read headers: on network file systems the time is spent waiting
MOST_CLASSES = 255  # the values of 8 bits without the one that is void


def require_pairs(root: Path, index: Index) -> Index:
    """The index, if each image is there, in one split, and has a label file of its size; LayoutError otherwise. Who
    names the same images for two splits wants to see a network overfit: that is let through."""
    label = LABELS[index.kind]
    if empty := [name for name, split in index.splits.items() if not split.items]:
        raise LayoutError(f"{root}: the {empty[0]} split has no image; expected one or more; add some")
    each = {frozenset(split.items): split for split in index.splits.values()}
    pairs = [pair for split in each.values() for pair in zip(split.items, label_files(split), strict=True)]
    require_present(root, (item for item, _ in pairs))
    if gone := absent(root, (mask for _, mask in pairs)):
        raise LayoutError(
            f"{root}: {len(gone)} images have no {label} ({some(gone)} not there); expected one for each listed image; "
            "unpack them again, or take the images off the lists"
        )
    require_once(root, [item for item, _ in pairs])
    if odd := _unlike(root, pairs):
        raise LayoutError(
            f"{root}: {len(odd)} images have a {label} of another size ({some(odd)}); expected the image's; "
            "make them again, or remove both"
        )
    return index


def label_files(split: Split) -> list[str]:
    """The label files of a split."""
    return cast("list[str]", split.labels)


def _unlike(root: Path, pairs: list[tuple[str, str]]) -> list[str]:
    """The images whose label file is of another size, as far as their headers say one, with both sizes."""
    with ThreadPoolExecutor(THREADS) as pool:
        parts = pool.map(lambda first: _odd(root, pairs[first::THREADS]), range(THREADS))
        return sorted(told for part in parts for told in part)


def _odd(root: Path, pairs: list[tuple[str, str]]) -> list[str]:
    told = []
    for item, mask in pairs:
        own, other = header.size(f"{root}/{item}"), header.size(f"{root}/{mask}")
        if own and other and own != other:
            told.append(f"{item} {own[0]}x{own[1]}, not {other[0]}x{other[1]}")
    return told


def by_name(root: Path, folder: str, ending: str = "") -> dict[str, str]:
    """The images under a folder by their names in it: without `ending`, which each has, or without its extension."""
    files = [file for file in images(root / folder) if file.endswith(ending)]
    names = [file.removesuffix(ending) if ending else file.rpartition(".")[0] for file in files]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise LayoutError(
            f"{root / folder}: {len(twice)} images have a name that differs from another's in its extension only "
            f"({some(twice)}); expected one image a name; remove or rename one of each"
        )
    return {name: f"{folder}/{file}" for name, file in zip(names, files, strict=True)}


def paired(root: Path, found: Mapping[str, str], labels: Mapping[str, str]) -> Split:
    """The split of the images and masks that share a name; LayoutError where one has no other."""
    for own, others, told in ((found, labels, "images have no mask"), (labels, found, "masks have no image")):
        if alone := [own[name] for name in own if name not in others]:
            raise LayoutError(
                f"{root}: {len(alone)} {told} ({some(alone)}); expected an image and a mask of each name; "
                "bring the others or remove these"
            )
    return Split(list(found.values()), [labels[name] for name in found])


def require_folders(root: Path, folders: Iterable[str], what: str) -> None:
    """Raise LayoutError where a folder that a split is read from is not there."""
    gone = [folder for folder in folders if not (root / folder).is_dir()]
    if gone:
        raise LayoutError(f"{root}: no folder {some(gone)}; expected {what}; unpack it beside the others")


def classes(path: Path, first: str = "") -> list[str]:
    """The names in a file, a line each in the order of their values 0, 1, 2 ...; `first` is put there if it is not."""
    names = lines(path)
    if first and [name.casefold() for name in names[:1]] != [first]:
        names = [first, *names]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not 0 < len(names) <= MOST_CLASSES:
        told = f"names {len(twice)} classes twice ({some(twice)})" if twice else f"names {len(names)} classes"
        raise LayoutError(f"{path}: {told}; expected 1 to {MOST_CLASSES}, a line each, each once; mend it")
    return names
