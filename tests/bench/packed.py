"""Packed folders: how long the index of ImageNet-1K's 1.33 M images takes to be read, and with how much memory, beside
the walk over the folder that it stands for (at a tenth of the images, times ten; its files are empty).

    python tests/bench/packed.py [IMAGES]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from suite import pack, packed
from suite.adhoc import Place
from suite.index import Index, Split

SHARD = 8000  # images
READ = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from suite import adhoc, index, packed
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before, root, began = peak(), Path(sys.argv[3]), time.perf_counter()
found = adhoc.read(sys.argv[2], root)
read = time.perf_counter() - began
digest = index.digest(found, root)
hashed = time.perf_counter() - began - read
for split in found.splits.values():
    for item in split.items[::1000]:
        packed._place(root / item)
print(sum(len(split.items) for split in found.splits.values()), read, hashed, (peak() - before) / 1024)
"""


def main() -> None:
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 1_331_167
    with tempfile.TemporaryDirectory() as folder:
        packed_one, plain = Path(folder) / "packed", Path(folder) / "plain"
        write_index(packed_one, images)
        write_files(plain, images // 10)
        rows, read, hashed, peak = run("imagefolder", packed_one)
        size = packed.file(packed_one, "imagefolder").stat().st_size / 1e6
        print(f"packed: {rows:.0f} rows of {size:.0f} MB read in {read:.1f} s, digest {hashed:.1f} s, {peak:.0f} MB")
        few, walked, stats, more = run("imagefolder", plain)
        times = rows / few
        print(f"folder: walked in {times * walked:.1f} s, digest {times * stats:.1f} s, {times * more:.0f} MB (warm)")
        print(f"ratio folder/packed: {times * (walked + stats) / (read + hashed):.1f}")


def write_index(root: Path, images: int) -> None:
    """The index of that many images in shards of which nothing is written."""
    held = packed.folder(root)
    held.mkdir(parents=True)
    shards = [held / f"train-{number:06d}.tar" for number in range(-(-images // SHARD))]
    for shard in shards:
        with open(shard, "wb") as file:
            file.truncate(SHARD * 120_000)
    items = [name(number) for number in range(images)]
    places = packed.Places(shards)
    places.add(
        items,
        (number // SHARD for number in range(images)),
        (512 + number % SHARD * 110_000 for number in range(images)),
        (100_000 + number % 9973 for number in range(images)),
    )
    rows = Split(items, [number * 1000 // images for number in range(images)])
    found = Index("classification", [f"n{label:08d}" for label in range(1000)], {"train": rows, "test": Split([], [])})
    pack._write_index(Place("imagefolder", root, None), found, places)


def write_files(root: Path, images: int) -> None:
    made = set[Path]()
    for number in range(images):
        path = root / name(number * 10)
        if path.parent not in made:
            path.parent.mkdir(parents=True)
            made.add(path.parent)
        os.close(os.open(path, os.O_CREAT))
    (root / "test").symlink_to("train")


def name(number: int) -> str:
    wnid = f"n{number // 1331:08d}"
    return f"train/{wnid}/{wnid}_{number % 1331}.JPEG"


def run(layout: str, root: Path) -> tuple[float, ...]:
    words = [sys.executable, "-c", READ, str(ROOT), layout, str(root)]
    return tuple(map(float, subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()))


if __name__ == "__main__":
    main()
