"""Part: a file on its way from an address. It lies beside its place until it is whole; a later try goes on with it."""

from __future__ import annotations

import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException, IncompleteRead, InvalidURL
from pathlib import Path
from time import sleep, time
from typing import Any, TypeVar

from suite.disk import pour, room, writing
from suite.entry import Refusal
from suite.store import read_json, write_json

TIMEOUT = 30.0  # seconds without a byte
PAUSES = (1.0, 4.0)  # seconds before another try at an address; one that brought something new begins the count anew
PATIENCE = 60.0  # seconds that a server may ask to wait
PASSING = {408, 429, *range(500, 600)}  # answers that may soon be others
BINARY = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")  # what no text has

Progress = Callable[[int, int], None]  # bytes so far, bytes in all (0 = unknown)
T = TypeVar("T")


class Failed(Exception):
    """What an address or a file gave in place of what was wanted; `again` where another try may give it."""

    def __init__(self, told: str, *, again: bool = False, after: float = 0.0) -> None:
        super().__init__(" ".join(told.split()))
        self.again, self.after = again and after <= PATIENCE, after


@dataclass(frozen=True)
class Part:
    """What is there of the file `to`, and a record of where it is from, by which it is known again."""

    to: Path

    @property
    def path(self) -> Path:
        return self.to.with_name(f".{self.to.name}.part")

    @property
    def record(self) -> Path:
        return self.to.with_name(f".{self.to.name}.from")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def known(self) -> dict[str, Any]:
        """Its `url`, the server's `validator` (ETag or date, else empty), its `length` (0 where it cannot go on)."""
        return {"url": "", "validator": "", "length": 0} | (read_json(self.record) or {})

    def begin(self, url: str, validator: str = "", length: int = 0) -> None:
        self.path.unlink(missing_ok=True)  # first: the record never speaks of another file's bytes
        self.note(url, validator, length)

    def note(self, url: str, validator: str = "", length: int = 0) -> None:
        with writing(self.record):
            write_json(self.record, {"url": url, "validator": validator, "length": length})

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)


def pull(url: str, to: Path, check: Callable[[Path], T], progress: Progress, *, digest: bool) -> T:
    """Brings `url` to `to`, which appears once `check` has passed the whole file; returns what `check` says of it.

    What an earlier try left is gone on with where the file is still the same; if `check` has a digest, at any address.
    Failed says why not: what could be gone on with stays, and a file that does not pass is removed.
    """
    part = Part(to)
    earlier = part.size > 0
    while True:
        _fill(url, part, progress, digest)
        try:
            found = check(part.path)
        except Failed:
            part.remove()
            if not earlier:
                raise
            earlier = False  # that may have been at fault: once more, from the beginning
        else:
            with writing(to):
                os.replace(part.path, to)
            return found


def foreign(head: bytes, kind: str = "") -> str:
    """What a file is that cannot be what was wanted, by its first bytes and its Content-Type; empty where it may be."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file (git lfs pull brings it)"
    tags = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")
    if text.startswith(tags) or ("html" in kind and not BINARY.search(head)):
        return "is a web page, not the file: a log-in, consent or error page"
    return ""


def _fill(url: str, part: Part, progress: Progress, digest: bool) -> None:
    """Brings what is missing of a part, in some tries."""
    tries, furthest = 0, part.size
    while True:
        try:
            return _ask(url, part, progress, digest)
        except Failed as failed:
            if part.size > furthest:
                tries, furthest = 0, part.size
            if not failed.again or tries == len(PAUSES):
                if not part.known()["length"]:
                    part.remove()
                raise
            sleep(max(PAUSES[tries], failed.after))
            tries += 1


def _ask(url: str, part: Part, progress: Progress, digest: bool) -> None:
    known, done = part.known(), part.size
    same = known["url"] == url
    if done and done == known["length"]:
        return
    headers = {"User-Agent": "launch.py"}
    if 0 < done < known["length"] and (same or digest):
        headers["Range"] = f"bytes={done}-"
        if same and known["validator"]:
            headers["If-Range"] = known["validator"]
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
            _receive(answer, url, part, progress)
    except Refusal:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # it has become shorter
            part.remove()
        again = error.code == 416 or error.code in PASSING
        raise Failed(f"{error.code} {error.reason}", again=again, after=_seconds(error.headers)) from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        lasting = isinstance(reason, (ssl.SSLCertVerificationError, InvalidURL, ValueError)) or url.startswith("file:")
        told = "the connection ended early" if isinstance(error, IncompleteRead) else str(reason)
        raise Failed(told or type(reason).__name__, again=not lasting) from None


def _receive(answer: Any, url: str, part: Part, progress: Progress) -> None:
    """Puts an answer's bytes behind the part's where they belong there, else in their place."""
    headers, known, done = answer.headers, part.known(), part.size
    tag, head = _validator(headers), b""
    if answer.status == 206:
        before = known["validator"] if known["url"] == url else ""
        length = known["length"]
        where = re.fullmatch(rf"bytes {done}-\d+/{length}", headers.get("Content-Range", ""))
        if not where or (tag and before and tag != before):
            part.remove()
            raise Failed("the file there is not the one that was begun", again=True)
        part.note(url, tag or before, length)
    else:
        head, length, done = answer.read(512), int(headers.get("Content-Length") or 0), 0
        if length and not head:  # what is there stays
            raise Failed(f"the connection ended after 0 of {length} bytes", again=True)
        if told := foreign(head, headers.get_content_type()):
            raise Failed(told)
        part.begin(url, tag, length if tag or headers.get("Accept-Ranges") == "bytes" else 0)
    room(part.to, length - done)
    pour(answer.read1, part.path, head, lambda size: progress(size, length), behind=True)
    if part.size < length:
        raise Failed(f"the connection ended after {part.size} of {length} bytes", again=True)


def _validator(headers: Message) -> str:
    """What tells this state of a file from a later one; a weak ETag does not."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _seconds(headers: Message) -> float:
    """What Retry-After asks for: seconds, or a date."""
    asked = headers.get("Retry-After", "")
    try:
        return float(asked) if asked.isdigit() else parsedate_to_datetime(asked).timestamp() - time()
    except (TypeError, ValueError):  # nothing that can be read
        return 0.0
