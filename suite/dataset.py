"""Dataset: labelled images, their layout on disk and the metric they are published with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from suite.entry import remark


@dataclass(frozen=True)
class Archive:
    """A file that a data set is unpacked from: `urls` are tried in turn, each the same file; `to` is the folder, below
    the data set's, that it is unpacked in, or laid in where it is no archive ("": the data set's own folder).

    `sha256` and `md5` are the whole digests, in hex; empty where none was published. What stands behind '#' in an
    address is the file's name, or ZIP/NAME where it is published within a zip; an address that is the data set's `page`
    is for a person to open.
    """

    urls: tuple[str, ...]
    sha256: str = ""
    md5: str = ""
    to: str = ""


@dataclass(frozen=True)
class Dataset:
    """Labelled images. `path` is absolute, or relative to the store's data/ folder; `layout` names its reader.

    `counts` are the published images per split, checked when the images are read; `digest` pins the exact files of a
    folder that a user named (empty for catalogue entries, whose counts and archives pin them); `masks` says whether the
    things of a detection set have masks beside their boxes; `images`, of a folder that a user named, how many each
    class has. `page` is what to open in a browser for archives that need an account, or are nowhere to be had by a
    program.
    """

    name: str = remark()
    kind: str = "classification"
    layout: str = "imagefolder"
    path: str = remark()
    classes: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    metric: str = "top1"
    digest: str = ""
    masks: bool = remark(False)
    images: tuple[int, ...] = remark(())
    source: str = remark()
    archives: tuple[Archive, ...] = remark(())
    page: str = remark()
    licence: str = remark()
    citation: str = remark()


def from_json(record: Mapping[str, Any]) -> Dataset:
    """The dataset that `entry.as_json` wrote."""
    kept = {name: value for name, value in record.items() if name != "archives"}  # which a record needs not
    return Dataset(**kept | {"images": tuple(record.get("images", ()))})
