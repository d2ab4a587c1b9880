"""Image: the software that jobs run in: its recipe in containers/, and what a store has of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from suite.entry import Refusal, near
from suite.store import Store, read_json

CONTAINERS = Path(__file__).resolve().parent.parent / "containers"
OURS = ("BASE", "RECIPE", "COMMIT")  # build arguments that the launcher gives
SITE = ("site.env", "ca.crt")  # how a site reaches its registries: no part of a recipe
FORMATS = {"apptainer": "sif", "singularity": "sif", "docker": "tar", "podman": "tar", "pyxis": "sqsh"}
"""Runtime -> the kind of file that it takes an image from."""


@dataclass(frozen=True)
class Image:
    """An image in a store's images/, as the record beside its file says.

    `digest` is the SHA-256 of a SIF's bytes, or the id that Docker's engines give it; `recipe` the digest of the recipe
    that it was built with; `source` where it was pulled from, '' where it was built here; `given` what `build` was
    given beside the recipe (base, build arguments); `builder` with what and where.
    """

    name: str
    file: str
    digest: str
    recipe: str = ""
    commit: str = ""
    source: str = ""
    base: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    builder: Mapping[str, str] = field(default_factory=dict)
    cuda: str = ""
    bytes: int = 0
    seconds: float = 0.0
    made: float = 0.0

    @property
    def stale(self) -> bool:
        """Its recipe is another one than this checkout's."""
        return self.name not in names() or self.recipe != recipe(self.name)


def names() -> list[str]:
    """The images that this checkout has a recipe of."""
    return sorted(path.parent.name for path in CONTAINERS.glob("*/Dockerfile"))


def find(name: str) -> str:
    """`name`, if there is such an image; Refusal with near names."""
    if name not in names():
        raise near(name, names(), "image")
    return name


def files(name: str) -> list[Path]:
    """What an image's recipe consists of: its Dockerfile, its .def, and what these copy from containers/."""
    text = (CONTAINERS / name / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    patterns = [f"{name}/Dockerfile", f"{name}/{name}.def", *(word for line in copied for word in line.split())]
    found = {path for pattern in patterns for path in CONTAINERS.glob(pattern)}
    found |= {below for path in found if path.is_dir() for below in path.rglob("*")}
    kept = {path for path in found if not path.name.startswith(".") and not path.name.endswith("~")}
    return sorted(path for path in kept if path.is_file() and path.name not in SITE)


def recipe(name: str) -> str:
    """The digest of an image's recipe: the same files, the same digest."""
    total = hashlib.sha256()
    for path in files(name):
        total.update(f"{path.relative_to(CONTAINERS)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return total.hexdigest()[:16]


def arguments(name: str) -> dict[str, str]:
    """The build arguments of an image's Dockerfile that a user may give, with their defaults."""
    found = re.findall(r"^ARG (\w+)=(.*)$", (CONTAINERS / name / "Dockerfile").read_text(), re.MULTILINE)
    return {key: default for key, default in found if key not in OURS}


def images(store: Store) -> Iterator[Image]:
    """All images of a store whose file is there."""
    for path in sorted(store.images.glob("[!.]*.json")):
        try:
            one = Image(**read_json(path))
            there = (store.images / one.file).exists()
        except TypeError:
            raise Refusal(f"{path} is no record of an image: move it away") from None
        if there:
            yield one


def current(store: Store, name: str, runtime: str) -> Image | None:
    """The image that jobs run in with a runtime: the last one of this checkout's recipe, or else the last one."""
    kind = FORMATS[runtime]
    mine = [one for one in images(store) if one.name == name and one.file.endswith(f".{kind}")]
    return max(mine, key=lambda one: (not one.stale, one.made), default=None)


def digests(store: Store, name: str) -> set[str]:
    """Of the images that are current, with whatever runtime: a result that was made in one of them is not stale."""
    found = (current(store, name, runtime) for runtime in FORMATS)
    return {one.digest for one in found if one}


def absent(store: Store, name: str, runtime: str) -> str:
    """Why cells cannot run in an image: '' where it is there."""
    if current(store, name, runtime):
        return ""
    return f"no image {name!r} for {runtime} in {store.images}: launch.py build {name}, or launch.py pull {name}"


def runtime(name: str) -> str:
    """`name`, if it is a runtime that we know, or ''; Refusal with near names."""
    if name and name not in FORMATS:
        raise Refusal(f"unknown runtime {name!r}; known: {', '.join(FORMATS)}, or '' for none")
    return name
