"""Build: an image from its recipe, or pulled from where it was published, into a store: whole, and with its record."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from slurm import builder, engine
from slurm.builder import NONE, Log, Tell
from slurm.cluster import Cluster
from slurm.container import ENGINES
from slurm.submit import revision
from suite import checkpoint, image
from suite.entry import Refusal, as_json, near
from suite.image import FORMATS, Image
from suite.store import Store, lock, write_json

BUILDERS = ("apptainer", "singularity", "docker", "podman")
MANIFEST = "/opt/image/manifest.json"


def usable(cluster: Cluster, asked: str, among: Sequence[str] = tuple(FORMATS)) -> str:
    """The runtime to make an image for: the one that was asked for, the cluster's, or the first that is here."""
    runtime = image.runtime(asked) or cluster.runtime or next((one for one in among if engine.version(one)), "")
    if runtime not in among:
        told = f"{runtime} builds no images" if runtime else f"none of {', '.join(among)} is on PATH"
        raise Refusal(f"{told}; name one with --runtime ({', '.join(among)}); see: launch.py doctor")
    return runtime


def published(cluster: Cluster, name: str) -> str:
    """Where the cluster's entry says that an image was published; Refusal where it cannot be read."""
    try:
        return cluster.images.format(image=name, recipe=image.recipe(name))
    except (KeyError, IndexError, ValueError):
        raise Refusal(f"images={cluster.images!r} of {cluster.name}: it takes {{image}} and {{recipe}}") from None


def build(
    store: Store, name: str, runtime: str, tell: Tell, *, base: str = "", arguments: Mapping[str, str] = NONE
) -> tuple[Image, bool]:
    """The image of this checkout's recipe, and whether it was built for that. One that is there is built again where
    its recipe, its base or a build argument is another. Refusal, with the last lines, where the build fails."""
    given = _given(name, arguments, base)

    def suffices() -> Image | None:
        there = image.current(store, name, runtime)
        fits = there and not there.stale and all(there.given.get(key) == value for key, value in given.items())
        return there if fits else None

    with nullcontext() if suffices() else lock(store.images / f".{name}.{FORMATS[runtime]}.lock"):
        if there := suffices():  # perhaps another's, whom we have waited for
            return there, False
        began, words = time.time(), {"RECIPE": image.recipe(name), "COMMIT": revision(), **arguments}
        with _aside(store, name, runtime) as aside, Log(_log(store, name, runtime), tell) as run:
            digest = builder.build(run, runtime, name, base, words, aside)
            made = _known(runtime, aside, digest, name)
            known = builder.known_as(runtime, base) if base else made.base
            return _placed(store, aside, made, began, given=given, base=known), True


def pull(store: Store, name: str, runtime: str, tell: Tell, *, source: str, again: bool) -> tuple[Image, bool]:
    """The image that was published at `source` (docker://, oras:// or a file), and whether it was brought for that: one
    that is there suffices, unless another source is asked for `again`. Refusal where it is no image of that name."""

    def suffices() -> Image | None:
        there = image.current(store, name, runtime)
        return there if there and not there.stale and not (again and there.source != source) else None

    with nullcontext() if suffices() else lock(store.images / f".{name}.{FORMATS[runtime]}.lock"):
        if there := suffices():
            return there, False
        began = time.time()
        with _aside(store, name, runtime) as aside, Log(_log(store, name, runtime), tell) as run:
            digest = builder.pull(run, runtime, source, aside)
            made = _known(runtime, aside, digest, name)
            return _placed(store, aside, made, began, source=source), True


def _given(name: str, arguments: Mapping[str, str], base: str) -> dict[str, str]:
    """What a user gave, as it is recorded: a file with its digest, a checkout with its commit. Refusal for an argument
    that the recipe does not have."""
    for key in arguments.keys() - image.arguments(name).keys():
        raise near(key, image.arguments(name), f"build argument of {name}")
    return {key: _told(value) for key, value in {**arguments, **({"BASE": base} if base else {})}.items()}


def _told(value: str) -> str:
    path = Path(value)
    if path.is_file():
        return f"{path.name} sha256:{checkpoint.sha256(path)}"
    if not value or not path.is_dir():
        return value
    commit = revision(path) if (path / ".git").exists() else "unknown"
    clean = commit != "unknown" and not commit.endswith("-dirty")
    return f"{path.absolute()}@{commit}{'' if clean else f' sha256:{_tree(path)}'}"


def _tree(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".git" not in path.parts:
            total.update(f"{path.relative_to(folder)}\0{checkpoint.sha256(path)}\0".encode())
    return total.hexdigest()


def _log(store: Store, name: str, runtime: str) -> Path:
    return store.images / f"{name}.{FORMATS[runtime]}.log"


@contextmanager
def _aside(store: Store, name: str, runtime: str) -> Iterator[Path]:
    """Where an image is made; nothing stays there, not even of one whose maker was killed."""
    for old in store.images.glob(f".*{name}.*.partial.{FORMATS[runtime]}*"):  # Docker has a name of its own for it
        old.unlink(missing_ok=True)
    path = store.images / f".{name}.{os.getpid()}.partial.{FORMATS[runtime]}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _known(runtime: str, aside: Path, digest: str, name: str) -> Image:
    """The record of what was made, by its own manifest. Refusal where it is no image of ours, or not that one."""
    try:
        told = engine.printed(runtime, digest if runtime in ENGINES else str(aside), MANIFEST)
        manifest = {key: json.loads(told)[key] for key in ("image", "recipe", "commit", "base", "cuda")}
    except (Refusal, ValueError, KeyError, TypeError) as why:
        raise Refusal(f"{name}: what came is none of the images of containers/: {why}") from None
    if manifest["image"] != name:
        raise Refusal(f"{name}: what came is the image {manifest['image']!r}")
    return Image(
        name=name,
        file=f"{name}-{digest.removeprefix('sha256:')[:12]}.{FORMATS[runtime]}",
        digest=digest,
        recipe=manifest["recipe"],
        commit=manifest["commit"],
        base=manifest["base"],
        builder={"runtime": engine.version(runtime), "host": socket.gethostname()},
        cuda=manifest["cuda"] or "",
        bytes=aside.stat().st_size,
        made=time.time(),
    )


def _placed(store: Store, aside: Path, made: Image, began: float, **how: Any) -> Image:
    """Moves an image into place, and its record after it: without one it is none. Where these very bytes are there
    already, they stay: jobs may be at work in them."""
    made = replace(made, seconds=round(time.time() - began, 1), **how)
    file = store.images / made.file
    if not file.exists():
        aside.chmod(0o644)  # Docker saves for its caller alone
        with open(aside, "rb") as written:
            os.fsync(written.fileno())
        os.replace(aside, file)
    record = store.images / f"{made.file}.json"
    write_json(record, as_json(made))
    record.chmod(0o644)
    return made
