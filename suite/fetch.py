"""Fetch: brings the digits and published weights into the store, whole and checked."""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.util
import os
import shutil
import struct
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from suite import architecture, catalog, checkpoint
from suite.catalog import Catalog
from suite.entry import Refusal, as_json
from suite.model import Model, Weights
from suite.store import lock, write_json

CHUNK = 1 << 20
Progress = Callable[[int, int], None]  # bytes so far, bytes in all (0 = unknown)


def fetch(name: str, known: Catalog, progress: Progress) -> str:
    """Brings a dataset or a model's weights by its name and returns a line saying where it is. Refusal if it can't."""
    if name == "digits":
        return digits(known.store.data / "digits")
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
    """Lays scikit-learn's 1,797 digit scans out as 8x8 PNGs; of each class, every fifth is test. Pure of any draw."""
    if root.is_dir():
        return f"digits are in {root}"
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise Refusal("digits come with scikit-learn, which this Python does not have; install it with: make setup")
    aside = root.with_name(f".{root.name}.{os.getpid()}")
    seen: dict[str, int] = {}
    with gzip.open(Path(found.origin).parent / "datasets/data/digits.csv.gz", "rt") as file:
        for number, row in enumerate(csv.reader(file)):
            digit = str(int(float(row[-1])))
            seen[digit] = seen.get(digit, 0) + 1
            folder = aside / ("test" if seen[digit] % 5 == 0 else "train") / digit
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:04d}.png").write_bytes(_png([round(float(v) * 255 / 16) for v in row[:-1]], 8))
    try:
        os.rename(aside, root)
    except OSError:  # another process was first
        shutil.rmtree(aside)
    return f"digits: {sum(seen.values())} scans in {root}"


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


def _png(pixels: list[int], width: int) -> bytes:
    """An 8-bit grey PNG."""
    rows = (bytes([0, *pixels[i : i + width]]) for i in range(0, len(pixels), width))
    head = struct.pack(">IIBBBBB", width, len(pixels) // width, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
