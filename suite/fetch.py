"""Fetch: brings the embedded datasets and published weights into the store, whole and checked."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from suite import architecture, catalog, checkpoint, png, scans, scenes
from suite.catalog import Catalog
from suite.entry import Refusal, as_json
from suite.model import Model, Weights
from suite.store import lock, write_json

CHUNK = 1 << 20
Progress = Callable[[int, int], None]  # bytes so far, bytes in all (0 = unknown)


def fetch(name: str, known: Catalog, progress: Progress) -> str:
    """Brings a dataset or a model's weights by its name and returns a line saying where it is. Refusal if it can't."""
    if name in EMBEDDED:
        return EMBEDDED[name](known.store.data / known.datasets[name].path)
    if name.startswith("timm:"):
        return _timm(name.removesuffix("?pretrained"), known, progress)
    if name in known.datasets:
        data = known.datasets[name]
        raise Refusal(
            f"{name}: unpack {data.source} into {known.store.data / data.path}, or name it where it is: "
            f"--datasets {name}:PATH"
        )
    return weights(known.model(name), known, progress)


def digits(root: Path) -> str:
    """Lays the digit scans out as 8x8 PNGs, one folder a split and class."""
    return _whole(root, _digits, "scans")


def digit_scenes(root: Path) -> str:
    """Composes the scenes of digits, in VOC's layout."""
    return _whole(root, scenes.write, "scenes")


# What needs no download: name -> what makes it in a folder.
EMBEDDED = {"digits": digits, "digit-scenes": digit_scenes, "digit-scenes-masks": digit_scenes}


def _digits(root: Path) -> int:
    total = 0
    for scan in scans.scans():
        folder = root / scan.split / str(scan.digit)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = bytes(round(value * 255 / scans.DARKEST) for value in scan.ink)
        (folder / f"{scan.number:04d}.png").write_bytes(png.grey(pixels, scans.SIDE))
        total += 1
    return total


def _whole(root: Path, write: Callable[[Path], int], what: str) -> str:
    """Fills a folder aside and moves it into place; what is there already stays."""
    if root.is_dir():
        return f"{root.name} are in {root}"
    aside = root.with_name(f".{root.name}.{os.getpid()}")
    try:
        total = write(aside)
        os.rename(aside, root)
    except OSError:
        if not root.is_dir():  # else another process was first
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return f"{root.name}: {total} {what} in {root}"


def weights(model: Model, known: Catalog, progress: Progress) -> str:
    """Downloads a model's weights from the first address that gives a file with the right digest."""
    if model.weights is None:
        return f"{model.name} needs no weights: it is a random initialisation"
    to = known.store.weights / model.weights.file
    if not to.exists():
        download(model.weights.urls, to, model.weights.sha256, progress)
    return f"{model.name}: {to} ({model.licence or 'licence unknown'})"


def download(urls: Sequence[str], to: Path, sha256: str, progress: Progress) -> None:
    """Brings the first of `urls` that works to `to`, whole; Refusal says what each of them answered."""
    told = []
    with lock(to.with_name(f".{to.name}.lock")):
        for url in () if to.exists() else urls:
            aside = to.with_name(f".{to.name}.{os.getpid()}")
            try:
                found = _download(url, aside, progress)
                checkpoint.inspect(aside)
                if not found.startswith(sha256):
                    raise checkpoint.CheckpointError(f"its SHA-256 is {found[:16]}..., not {sha256[:16]}...")
                os.replace(aside, to)
                return
            except (OSError, checkpoint.CheckpointError) as error:
                told.append(f"{url}: {error}")
            finally:
                aside.unlink(missing_ok=True)
    if not to.exists():
        raise Refusal(f"{to.name} could not be brought: {'; '.join(told)}; put the file at {to} by hand")


def _download(url: str, to: Path, progress: Progress) -> str:
    total = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=30) as answer, open(to, "wb") as file:
        size, done = int(answer.headers.get("Content-Length") or 0), 0
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            total.update(chunk)
            done += len(chunk)
            progress(done, size)
    if size and done != size:
        raise OSError(f"the connection ended after {done} of {size} bytes")
    return total.hexdigest()


def _timm(name: str, known: Catalog, progress: Progress) -> str:
    model = catalog.of_architecture("pretrained", name)
    hub = architecture.find(name).weights
    if not hub:
        raise Refusal(f"timm has no published weights for {name}; without them it is --models {name}")
    file = f"{model.name}.safetensors"
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    download([f"{host}/{hub}/resolve/main/model.safetensors"], known.store.weights / file, "", progress)
    found = checkpoint.sha256(known.store.weights / file, None)
    model = replace(model, weights=Weights(file, found), pretraining=hub)
    write_json(known.store.weights / f"{model.name}.json", as_json(model))
    return f"{model.name}: {known.store.weights / file}; use it as --models '{name}?pretrained'"
