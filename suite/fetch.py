"""Fetch: brings data sets and published weights into the store, whole and checked."""

from __future__ import annotations

import fnmatch
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from suite import architecture, catalog, checkpoint, data, download, missing, png, scans, scenes
from suite.catalog import Catalog
from suite.disk import mine
from suite.entry import Refusal, as_json, near
from suite.model import Model, Origin, Weights
from suite.part import Progress
from suite.store import write_json

BROUGHT = ".brought"  # within the store's weights/: published files until they are converted


class Later(Refusal):
    """What was brought is all right, but cannot be converted here: the same command goes on from there."""


@dataclass(frozen=True)
class How:
    """How files are brought: `convert(model, files, source, sha256)` makes the model's file of what was brought; they
    come out of the folder `mirror`, or are what was `given`, where there is one; `tell` shows a line; archives that a
    data set was unpacked from are to be `keep`ed, or not."""

    convert: Callable[[Model, Sequence[Path], str, str], str]
    mirror: Path | None = None
    given: Path | None = None
    tell: Callable[[str], object] = lambda line: None
    keep: bool = False


def names(texts: Iterable[str], known: Catalog) -> list[str]:
    """What is named, with a family (`cog`) as its models, and a pattern (`moco*`, `cog-l?`) as the models that have a
    checkpoint and the data sets that it fits."""
    found: list[str] = []
    published = [one for one in known.models.values() if one.weights]
    every = [*(one.name for one in published), *known.datasets]
    for text in texts:
        family = [one.name for one in published if text in one.families]
        found += family or fnmatch.filter(every, text) or [text]
    return list(dict.fromkeys(found))


def fetch(name: str, known: Catalog, progress: Progress, how: How) -> str:
    """Brings a dataset or a model's weights by its name and returns a line saying where it is. Refusal if it can't."""
    own = name in known.datasets and name not in EMBEDDED
    published = own or (name in known.models and known.models[name].weights)
    if (how.mirror or how.given) and not published:
        raise Refusal(f"{name}: --mirror and --from are for data sets and published models of this checkout")
    if own:
        return data.bring(known.datasets[name], known, progress, how)
    if name in EMBEDDED:
        return EMBEDDED[name](known.store.data / known.datasets[name].path)
    if name.startswith("timm:"):
        return _timm(name.removesuffix("?pretrained"), known, progress)
    spelled = "@" in name or name.startswith("random_")
    if not spelled and name not in {**known.models, **known.recorded_models()}:
        families = {family for one in known.models.values() for family in one.families}
        raise near(name, {*known.models, *known.datasets, *families}, "model, family or data set")
    return weights(known.model(name), known, progress, how)


def each(
    wanted: Sequence[str], known: Catalog, line: Callable[[str], AbstractContextManager[Progress]], how: How
) -> Iterator[str]:
    """Brings each of several, in turn, one failure not stopping the others; gives the refusals. `line` makes a name's
    progress."""
    brought, failed = 0, 0
    try:
        for name in wanted:
            with line(name) as progress:
                try:
                    how.tell(fetch(name, known, progress, how))
                    brought += 1
                except (Refusal, OSError) as refused:
                    failed += 1
                    if len(wanted) > 1:
                        how.tell(f"left to do: {refused}")
                    yield str(refused)
    finally:
        if len(wanted) > 1:
            left = len(wanted) - brought - failed
            more = f", {left} not tried" if left else ""
            how.tell(f"{len(wanted)} named: {brought} in the store, {failed} left to do{more}")


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


def weights(model: Model, known: Catalog, progress: Progress, how: How) -> str:
    """Brings a model's published checkpoint and has it converted once. Refusal that says why not, and what to do."""
    if model.weights is None:
        return f"{model.name} needs no weights: it is a random initialisation"
    to, origin = known.store.weights / model.weights.file, model.weights.origin
    if origin is None:
        if absent := missing.weights(model, known):
            raise Refusal(absent)
        return f"{model.name}: is there, {to}"
    right = known.models.get(to.stem, model)  # whose file it is, though a -paper twin may have been named
    aside = known.store.weights / BROUGHT / to.stem
    waiting = f"another fetch is at {to.stem}: waiting for it"
    with mine(aside.with_name(f".{to.stem}.converted.lock"), waiting, how.tell):
        if to.exists():
            _refuse_broken(to)
            return f"{model.name}: is there, {to}{_licence(model)}"
        try:
            return _converted(right, origin, aside, progress, how) + _licence(model)
        finally:
            with suppress(OSError):
                aside.rmdir()  # where nothing is in it


def _converted(model: Model, origin: Origin, aside: Path, progress: Progress, how: How) -> str:
    look = partial(checkpoint.inspect, opaque=origin.opaque) if origin.reader == "torch" else lambda path: None
    brought = download.bring(model.name, origin, aside, progress, mirror=how.mirror, given=how.given, look=look)
    try:
        told = how.convert(model, brought.files, "".join(origin.urls[:1]) or origin.page, brought.sha256)
    except Later:
        raise
    except Refusal as refused:
        if origin.sha256 or origin.md5:
            raise Refusal(f"{refused}; what was brought is kept in {aside}") from None
        shutil.rmtree(aside, ignore_errors=True)  # nothing says that it is the right file
        raise Refusal(f"{refused}; what was brought, from {brought.source}, is not kept") from None
    shutil.rmtree(aside, ignore_errors=True)
    return f"{told}; from {brought.source}"


def _refuse_broken(file: Path) -> None:
    try:
        checkpoint.inspect(file)
    except checkpoint.CheckpointError as error:
        raise Refusal(f"{error}; move it away, and the same command brings it anew") from None


def _licence(model: Model) -> str:
    only = ": not for commercial use" if "-NC-" in f"{model.licence}-" else ""
    return f" (licence {model.licence or 'unknown'}{only})"


def _timm(name: str, known: Catalog, progress: Progress) -> str:
    model = catalog.of_architecture("pretrained", name)
    hub = architecture.find(name).weights
    if not hub:
        raise Refusal(f"timm has no published weights for {name}; without them it is --models {name}")
    file = f"{model.name}.safetensors"
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    download.download([f"{host}/{hub}/resolve/main/model.safetensors"], known.store.weights / file, "", progress)
    found = checkpoint.sha256(known.store.weights / file, None)
    model = replace(model, weights=Weights(file, found), pretraining=hub)
    write_json(known.store.weights / f"{model.name}.json", as_json(model))
    return f"{model.name}: {known.store.weights / file}; use it as --models '{name}?pretrained'"
