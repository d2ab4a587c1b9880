"""Download: published files, from their addresses, a folder or the user's hand; checked, unpacked, whole."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from suite import archive, checkpoint
from suite.disk import CHUNK, pour, room, writing
from suite.entry import Refusal
from suite.model import Origin
from suite.part import Failed, Part, Progress, T, foreign, pull
from suite.store import lock

__all__ = ["Brought", "Progress", "bring", "checked", "download", "published", "pulled"]


@dataclass(frozen=True)
class Brought:
    """What the reader is to read, where it is from, and the published file's SHA-256 (of several, joined by '+')."""

    files: list[Path]
    source: str
    sha256: str


def published(origin: Origin) -> list[str]:
    """The names of the published files, in their order; Refusal where neither the address nor the entry says them."""
    names = [origin.file] if origin.file else [unquote(urlsplit(url).path) for url in origin.urls[:1]]
    found = [PurePosixPath(one).name for name in names for one in _expand(name)]
    if not found or not all(name.strip(".") for name in found):
        raise Refusal("a checkpoint whose address does not end in its name needs `file` in its entry's Origin")
    return found


def bring(
    name: str,
    origin: Origin,
    folder: Path,
    progress: Progress,
    *,
    mirror: Path | None = None,
    given: Path | None = None,
    look: Callable[[Path], object] = lambda path: None,
) -> Brought:
    """Brings the published files of a model into `folder`, which is its alone; what is there and passes stays. What
    `look` refuses of the files that are to be read does not pass, either.

    They come from `given` (the file, or the folder of several), else from the folder `mirror`, else from the first of
    the origin's addresses that gives what passes. Refusal says what each of them gave, and what to do.
    """
    names = published(origin)
    sha256, md5 = _each(origin.sha256, names), _each(origin.md5, names)
    sources = _sources(name, origin, names, mirror, given)
    files, digests, whence = list[Path](), list[str](), list[str]()
    with lock(folder.with_name(f".{folder.name}.bringing")):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(names):
            to = folder / file
            check = partial(_check, to, sha256[number], md5[number], origin.member, look)
            known = bool(sha256[number] or md5[number])
            try:
                there = None if given else _there(to, check)
                read, digest = there or _first(sources[number], to, check, progress, digest=known)
            except Failed as failed:
                raise Refusal(f"{name}: {file} could not be brought: {failed}; {_by_hand(name, origin)}") from None
            files += read
            digests.append(digest)
            whence.append(_whence(to, origin))
    return Brought(files, " + ".join(dict.fromkeys(whence)), "+".join(digests))


def download(urls: Sequence[str], to: Path, sha256: str, progress: Progress) -> None:
    """Brings the first of `urls` that gives a checkpoint with that digest to `to`; Refusal says what each gave."""
    check = partial(_check, to, sha256, "", "", checkpoint.inspect)
    with lock(to.with_name(f".{to.name}.lock")):
        if to.exists():
            return
        try:
            _first(urls, to, check, progress, digest=bool(sha256))
        except Failed as failed:
            raise Refusal(f"{to.name} could not be brought: {failed}; put the file at {to} by hand") from None
        Part(to).remove()


def pulled(urls: Sequence[str], to: Path, sha256: str, md5: str, progress: Progress) -> str:
    """Brings the first of `urls` that gives a file of these digests (those that are known) to `to`, unless that is
    there, and returns its SHA-256; Failed says what each gave."""
    check = partial(checked, sha256=sha256, md5=md5)
    return _there(to, check) or _first(urls, to, check, progress, digest=bool(sha256 or md5))


def checked(path: Path, sha256: str = "", md5: str = "") -> str:
    """The SHA-256 (hex) of a file; Failed where it is a web page or the like, or a digest does not begin as wanted."""
    found = {"SHA-256": hashlib.sha256(), **({"MD5": hashlib.new("md5", usedforsecurity=False)} if md5 else {})}
    with open(path, "rb") as file:
        if told := foreign(file.read(512)):
            raise Failed(told)
        file.seek(0)
        while chunk := file.read(CHUNK):
            for total in found.values():
                total.update(chunk)
    for kind, wanted in (("SHA-256", sha256), ("MD5", md5)):
        if wanted and not found[kind].hexdigest().startswith(wanted.lower()):
            raise Failed(f"its {kind} is {found[kind].hexdigest()[:16]}..., not {wanted[:16]}...")
    return found["SHA-256"].hexdigest()


def _first(
    sources: Sequence[str | Path], to: Path, check: Callable[[Path], T], progress: Progress, *, digest: bool
) -> T:
    """Brings the first of some addresses and files that passes; Failed says what each of them gave."""
    told = []
    for source in sources:
        try:
            if isinstance(source, Path):
                return _copy(source, to, check, progress)
            return pull(source, to, check, progress, digest=digest)
        except Failed as failed:
            told.append(f"{source}: {failed}")
    raise Failed("; ".join(told) or "no program gets it")


def _copy(source: Path, to: Path, check: Callable[[Path], T], progress: Progress) -> T:
    aside = to.with_name(f".{to.name}.copy")
    try:
        with open(source, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            room(to, size)
            pour(file.read, aside, told=lambda done: progress(done, size))
        found = check(aside)
        Part(to).remove()
        os.replace(aside, to)
    except OSError as error:
        raise Failed(error.strerror or str(error)) from None
    finally:
        aside.unlink(missing_ok=True)
    return found


def _there(to: Path, check: Callable[[Path], T]) -> T | None:
    """What `check` says of the file that is at `to`; None where there is none that passes."""
    try:
        return check(to) if to.is_file() else None
    except Failed:
        return None


def _check(
    to: Path, sha256: str, md5: str, member: str, look: Callable[[Path], object], path: Path
) -> tuple[list[Path], str]:
    """What is to be read of the file that is at `path` and goes to `to`, and its SHA-256; Failed if it is amiss."""
    found = checked(path, sha256, md5)
    unpacked = archive.unpack(path, member, to) if member else []
    for one in unpacked or [path]:
        try:
            look(one)
        except Refusal as refused:
            for broken in unpacked:
                broken.unlink()
            raise Failed(str(refused).removeprefix(f"{one}: ")) from None
    return unpacked or [to], found


def _sources(
    name: str, origin: Origin, names: list[str], mirror: Path | None, given: Path | None
) -> list[list[str | Path]]:
    """Where each of the published files may be, in the order in which they are tried."""
    if given:
        if len(names) > 1 and given.is_file():
            raise Refusal(f"{name} is published as {len(names)} files: name the folder that holds {_and(names)}")
        return [[given / file if given.is_dir() else given] for file in names]
    if mirror:
        alone = (sorted(mirror.glob(f"{name}.*")) or [mirror / f"{name}.*"]) if len(names) == 1 else []
        return [[mirror / file, mirror / name / file, *alone] for file in names]
    urls = [_expand(url) for url in origin.urls]
    if any(len(of_all) != len(names) for of_all in urls):
        raise Refusal(f"{name}: its entry's addresses stand for other files than {_and(names)}")
    return [[of_all[number] for of_all in urls] for number in range(len(names))]


def _whence(to: Path, origin: Origin) -> str:
    """Where a file is from, as an entry says it."""
    url = Part(to).known()["url"]
    if not url:
        return f"{origin.page or ''.join(origin.urls[:1]) or to.name} (by hand)"
    return next((entry for entry in origin.urls if url in _expand(entry)), url)


def _by_hand(name: str, origin: Origin) -> str:
    names = published(origin)
    page = origin.page or _and(_expand("".join(origin.urls[:1])))
    opened = f"open {page} in a browser, " if page else ""
    one, given = (names[0], names[0]) if len(names) == 1 else (f"{_and(names)} into a folder", "FOLDER")
    return f"{opened}bring {one}, then: launch.py fetch {name} --from {given}"


def _expand(text: str) -> list[str]:
    """What `a{b,c}d` stands for, as in a shell: abd, acd; other text for itself."""
    found = re.fullmatch(r"(.*)\{([^{}]*,[^{}]*)\}(.*)", text)
    return [f"{found[1]}{one}{found[3]}" for one in found[2].split(",")] if found else [text]


def _each(digests: str, names: list[str]) -> list[str]:
    """The digest of each file: they are joined by '+'."""
    found = digests.split("+") if digests else [""] * len(names)
    if len(found) != len(names):
        raise Refusal(f"{_and(names)} need {len(names)} digests, joined by '+', and the entry has {digests}")
    return found


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)
