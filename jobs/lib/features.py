"""Features: what a frozen backbone gives for every image of a split, extracted once and kept in the store.

    features/MODEL/DATASET-DIGEST/SPLIT/features.npy     N x D, float32 or float16, in the order of the index
                                       /labels.npy       N class indices, or N x K 0/1 for multi-label (int64)
                                       /manifest.json    with what they were made, images/s, share of waiting for data

DIGEST is over the weights, the input, the dataset's files and the precision. While it is being written the folder is
called SPLIT.partial: every SHARD images are flushed to disk and then counted in progress.json, from where the next
process goes on. A lock keeps two processes from extracting the same features twice.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from jobs.lib.backbone import Backbone
from jobs.lib.failure import Diverged, NoSpace
from jobs.lib.images import Images, normalise, prepare
from jobs.lib.loader import Clock, Loader
from suite import entry
from suite.store import lock, read_json, write_json

SHARD = 1024
LOST = 1e-2  # of a row's length, at most, by being kept as float16


@dataclass(frozen=True)
class Features:
    """A split's features, memory-mapped, its labels, and the manifest."""

    x: np.ndarray
    y: np.ndarray
    manifest: dict[str, object]


def folder(root: Path, backbone: Backbone, dataset: str, files: str, precision: str, recipe: str = "") -> Path:
    """Where the features of a backbone on a dataset lie; `files` is the digest of the dataset's index, `recipe` that of
    the image that they are extracted in: another one has another torch, and features of its own."""
    model = backbone.model
    software = (recipe,) if recipe else ()
    made = (backbone.digest, model.architecture, entry.as_json(model.input), files, precision, *software)
    return root / model.name / f"{dataset}-{entry.digest(made, 12)}"


def get(at: Path, backbone: Backbone, images: Images, precision: str, loader: Loader, batch: int) -> Features:
    """The features under `at` (the folder of one split), extracted first if they are not there."""
    with lock(at.with_name(f"{at.name}.lock")):
        if not (at / "manifest.json").exists():
            extract(at, backbone, images, precision, loader, batch)
    return Features(
        np.load(at / "features.npy", mmap_mode="r"), np.load(at / "labels.npy"), read_json(at / "manifest.json")
    )


def extract(at: Path, backbone: Backbone, images: Images, precision: str, loader: Loader, batch: int) -> None:
    """Extracts what is not there yet of a split, and moves the finished folder into place."""
    partial = at.with_name(f"{at.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    progress = read_json(partial / "progress.json") or {"rows": 0, "seconds": 0.0, "waiting": 0.0}
    rows = _open(partial, images, backbone.model.dimension, precision, begun=progress["rows"] > 0)
    clock = Clock(loader, progress["seconds"], progress["waiting"])
    done, begun = progress["rows"], progress["rows"]
    for block in _shards(_run(backbone, images, done, loader, batch)):
        if not np.isfinite(block).all():
            raise Diverged(f"{backbone.model.name} gives features that are not finite, near {images.items[done]}")
        rows[done : done + len(block)] = _fitted(block, precision, backbone.model.name)
        rows.flush()
        done += len(block)
        write_json(partial / "progress.json", {"rows": done, **clock.read()})
        print(f"{at.parent.name}/{at.name}: {done}/{len(images)} images, {clock.told(done)}", flush=True)
    if done != len(images):
        raise RuntimeError(f"{partial}: {done} features of {len(images)} images")
    spent = clock.read()
    manifest = {
        "model": backbone.model.name,
        "weights": backbone.digest,
        "report": backbone.report,
        "input": entry.as_json(backbone.model.input),
        "precision": precision,
        "images": len(images),
        "dimension": backbone.model.dimension,
        "resumed_at": begun,
        "seconds": round(spent["seconds"], 3),
        "images_per_second": round(len(images) / max(spent["seconds"], 1e-9), 1),
        "waiting_share": clock.share,
        "device": str(loader.device),
    }
    write_json(partial / "manifest.json", manifest)
    (partial / "progress.json").unlink(missing_ok=True)
    os.rename(partial, at)


def _open(partial: Path, images: Images, dimension: int, precision: str, *, begun: bool) -> np.memmap:
    if begun:
        return np.lib.format.open_memmap(partial / "features.npy", mode="r+")
    size = len(images) * dimension * np.dtype(precision).itemsize
    free = shutil.disk_usage(partial).free
    if size + len(images.labels.tobytes()) > free:
        raise NoSpace(f"the features need {size / 1e6:.1f} MB, but {partial.parent} has {free / 1e6:.1f} MB free")
    np.save(partial / "labels.npy", images.labels)
    shape = (len(images), dimension)
    rows = np.lib.format.open_memmap(partial / "features.npy", mode="w+", dtype=precision, shape=shape)
    with open(partial / "features.npy", "r+b") as file:  # a full disk is an error now, not a bus error later
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return rows


def _fitted(block: np.ndarray, precision: str, name: str) -> np.ndarray:
    """Features as they are kept. Diverged where a row does not survive that: float16 ends at 65,504 and 6e-8."""
    with np.errstate(over="ignore"):
        made = block.astype(precision, copy=False)
    if precision != "float32":
        whole = np.linalg.norm(block, axis=1)
        off = np.linalg.norm(made.astype(np.float32) - block, axis=1)
        if not (off <= LOST * whole).all():
            raise Diverged(
                f"{name} gives features from {np.abs(block).min():.2g} to {np.abs(block).max():.2g}, which {precision} "
                "does not hold; take a task that keeps float32, such as its -paper form"
            )
    return made


def _run(backbone: Backbone, images: Images, start: int, loader: Loader, batch: int) -> Iterator[np.ndarray]:
    """Features of one batch after another, float32; images are decoded in threads while the network works."""
    device, made_by = loader.device, backbone.model.input
    network = backbone.network.to(device, memory_format=torch.channels_last)
    with torch.inference_mode():
        for pixels in loader.batches(lambda row: prepare(images[row], made_by), range(start, len(images)), batch):
            stacked = torch.stack(pixels).contiguous(memory_format=torch.channels_last)  # while it is bytes: cheap
            x = normalise(stacked.to(device, non_blocking=True), made_by)
            yield network(x).float().cpu().numpy()


def _shards(batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same rows in blocks of SHARD."""
    kept: list[np.ndarray] = []
    for block in batches:
        kept.append(block)
        if sum(map(len, kept)) >= SHARD:
            yield np.concatenate(kept)
            kept = []
    if kept:
        yield np.concatenate(kept)
