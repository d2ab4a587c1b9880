"""python -m jobs.check LAYOUT ROOT [--decode]: opens every image and mask of a data set.

It reads each one's header or, with --decode, all of it, and writes lines of JSON: {"images": so far, "total": in all},
in the last one with "faults": [[file, why], ...]. Of a folder that its layout cannot read, the images in it are opened.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from jobs.lib import images, machine
from jobs.lib.failure import BadData, first_line
from suite import adhoc, check, index
from suite.index import Index, LayoutError

AHEAD = 256  # images that are opened at a time
SECONDS = 0.5  # between two lines


def main() -> None:
    asked = _arguments()
    files = _files(asked.layout, asked.root)
    faults, shown = list[tuple[str, str]](), 0.0
    for done, fault in enumerate(opened(asked.root, files, decode=asked.decode, threads=asked.threads), 1):
        faults += [fault] if fault else []
        if time.monotonic() > shown + SECONDS:
            shown = time.monotonic()
            print(json.dumps({"images": done, "total": len(files)}), flush=True)
    print(json.dumps({"images": len(files), "total": len(files), "faults": faults}), flush=True)


def opened(root: Path, files: Sequence[str], *, decode: bool, threads: int) -> Iterator[tuple[str, str] | None]:
    """Of each file, in order, None where it can be read, or its name and why it can't. "FILE#ROW" is one of a shard."""

    def look(file: str) -> tuple[str, str] | None:
        path, row = index.locate(file)
        try:
            images.looked_at(root / path, Image.Image.load if decode else (lambda image: image.size), row)
        except (BadData, LayoutError, OSError) as error:
            return file, first_line(error).removeprefix(f"{root / path} ")
        return None

    left = iter(files)
    with ThreadPoolExecutor(threads) as pool:
        while some := list(itertools.islice(left, AHEAD)):
            yield from pool.map(look, some)


def _files(layout: str, root: Path) -> list[str]:
    """What is to be opened. Batches of CIFAR are left out: their pixels were counted when they were indexed."""
    try:
        found = adhoc.read(layout, root)
    except LayoutError:
        return index.images(root) if root.is_dir() else []
    return [file for file in _each(found) if not _is_batch(file)]


def _each(found: Index) -> list[str]:
    rows = [item for split in found.splits.values() for item in split.items if index.locate(item)[1] is not None]
    return list(dict.fromkeys(rows)) if rows else check.files(found)


def _is_batch(file: str) -> bool:
    path, row = index.locate(file)
    return row is not None and not path.endswith(".tar")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m jobs.check", description=__doc__)
    parser.add_argument("layout", metavar="LAYOUT")
    parser.add_argument("root", type=Path, metavar="ROOT")
    parser.add_argument("--decode", action="store_true", help="all of each image, not its header alone")
    parser.add_argument("--threads", type=int, default=machine.cores())
    return parser.parse_args()


if __name__ == "__main__":
    main()
