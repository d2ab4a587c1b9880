"""Download: real servers, archives and processes; whatever they do, a file is whole and checked or not there, and the
next call goes on."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import random
import re
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from suite import download, part
from suite.download import Brought, bring
from suite.entry import Refusal
from suite.model import Origin

ROOT = Path(__file__).parents[2]
BYTES = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
LOGIN = b"\n<!DOCTYPE html><html>Sign in to continue</html>"
PROCESS = """
import sys
from pathlib import Path
from suite.download import bring
from suite.model import Origin
got = bring("m", Origin(urls=(sys.argv[1],)), Path(sys.argv[2]), lambda done, size: None)
print(got.files[0], got.source, got.sha256)
"""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Served:
    """A file of the server, and what the server does wrong with it."""

    content: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    ranges: bool = True
    believes: bool = False  # gives ranges whatever If-Range says
    step: int = 1  # ranges begin at its multiples
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # given first
    cuts: list[int] = field(default_factory=list)  # bytes after which answers end, the first ones
    hold: threading.Event | None = None  # the first one stops half-way until it is set
    asked: list[str] = field(default_factory=list)  # the ranges
    seen: list[str] = field(default_factory=list)  # what they were asked on condition of
    sent: int = 0


class Site(dict[str, Served]):
    address = ""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = site.get(self.path, Served(b"", answers=[(404, {})] * 99))
            file.asked.append(self.headers.get("Range", ""))
            file.seen.append(self.headers.get("If-Range", ""))
            if file.answers:
                self.answer(*file.answers.pop(0))
                return
            start, wanted = 0, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            validators = (file.headers.get("ETag"), file.headers.get("Last-Modified"), None)
            if wanted and file.ranges and (file.believes or self.headers.get("If-Range") in validators):
                start = int(wanted[1]) // file.step * file.step
            size, headers = len(file.content), dict(file.headers)
            if start >= size > 0:
                self.answer(416, {})
                return
            if start:
                headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            content = file.content[start:]
            if "Transfer-Encoding" not in headers:
                headers["Content-Length"] = str(len(content))
            self.answer(206 if start else 200, headers)
            content = content[: file.cuts.pop(0) if file.cuts else None]
            hold, file.hold = file.hold, None
            half = len(content) // 2 if hold else len(content)
            for piece in (content[:half], content[half:]):
                self.wfile.write(piece)
                self.wfile.flush()
                file.sent += len(piece)
                if hold:
                    hold.wait(20)

        def answer(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who was killed reads no more
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited for: in no time."""
    waited: list[float] = []
    monkeypatch.setattr("suite.part.sleep", waited.append)
    return waited


Get = Callable[..., Brought]


@pytest.fixture
def get(site: Site, tmp_path: Path, slept: list[float]) -> Get:
    """bring() of the server's paths into the same folder each time; one that fails leaves nothing that looks whole."""
    folder = tmp_path / "brought" / "m"

    def get(*paths: str, mirror: Path | None = None, given: Path | None = None, **origin: Any) -> Brought:
        urls = tuple(path if "://" in path else site.address + path for path in paths)
        there = sorted(folder.glob("[!.]*"))
        try:
            return bring("m", Origin(urls=urls, **origin), folder, lambda done, size: None, mirror=mirror, given=given)
        except Refusal as refused:
            assert "\n" not in str(refused)
            assert sorted(folder.glob("[!.]*")) == there
            raise
        finally:
            assert not [p for p in folder.glob(".*") if p.suffix not in (".part", ".from")]

    return get


def only(got: Brought) -> bytes:
    (path,) = got.files
    return path.read_bytes()


# ---- one address


def test_a_dropped_connection_is_gone_on_with(site: Site, get: Get, slept: list[float]) -> None:
    site["/w.pth"] = Served(BYTES, cuts=[100_000, 150_000])
    got = get("/w.pth")
    assert only(got) == BYTES
    assert got.source == f"{site.address}/w.pth"
    assert got.sha256 == sha256(BYTES)
    assert got.files[0].name == "w.pth"
    assert site["/w.pth"].asked == ["", "bytes=100000-", "bytes=250000-"]
    assert site["/w.pth"].seen == ["", '"one"', '"one"']
    assert site["/w.pth"].sent == len(BYTES)  # none twice
    assert slept == [part.PAUSES[0]] * 2  # each brought something new


def test_a_later_call_goes_on(site: Site, get: Get) -> None:
    site["/w"] = Served(BYTES, cuts=[100_000, 0, 0])
    with pytest.raises(Refusal, match=r"w: the connection ended after \d+ of 300000 bytes; open http.*/w in a browser"):
        get("/w")
    assert only(get("/w")) == BYTES
    assert site["/w"].sent == len(BYTES)


@pytest.mark.parametrize(
    "before, after",
    [
        (Served(BYTES), Served(BYTES, ranges=False)),
        (Served(BYTES), Served(OTHER, {"ETag": '"two"'})),
        (Served(BYTES), Served(OTHER, {"ETag": '"two"'}, believes=True)),
        (Served(BYTES), Served(OTHER[:50_000], {"ETag": '"two"'}, believes=True)),
        (Served(BYTES), Served(OTHER[:-1], {}, believes=True)),
        (Served(BYTES), Served(BYTES, step=65536)),
        (
            Served(BYTES, {"Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT"}),
            Served(OTHER, {"Last-Modified": "Sat, 21 Nov 2026 11:00:00 GMT"}),
        ),
        (Served(BYTES, {"ETag": 'W/"one"'}), Served(OTHER, {"ETag": 'W/"one"'})),
    ],
    ids=["no ranges", "changed", "If-Range ignored", "shorter", "length", "elsewhere", "date", "weak ETag"],
)
def test_what_does_not_fit_begins_anew(site: Site, get: Get, before: Served, after: Served) -> None:
    wanted = after.content
    before.cuts = [100_000, 0, 0]
    site["/w"] = before
    with pytest.raises(Refusal, match="the connection ended"):
        get("/w")
    site["/w"] = after
    assert only(get("/w")) == wanted


def test_a_length_is_enough_to_go_on(site: Site, get: Get) -> None:
    site["/w"] = Served(BYTES, {"Accept-Ranges": "bytes"}, cuts=[100_000])
    assert only(get("/w")) == BYTES
    assert site["/w"].asked == ["", "bytes=100000-"]


def test_what_cannot_be_gone_on_with_is_not_kept(site: Site, get: Get, tmp_path: Path) -> None:
    site["/w"] = Served(BYTES, {}, cuts=[100_000, 200_000, 100_000, 100_000, 100_000])
    with pytest.raises(Refusal, match="the connection ended after 100000 of 300000 bytes"):
        get("/w")
    assert not list((tmp_path / "brought/m").iterdir())
    assert site["/w"].asked == [""] * 4
    site["/w"].cuts.clear()
    assert only(get("/w")) == BYTES


def test_an_answer_in_chunks(site: Site, get: Get) -> None:
    chunk = f"{len(BYTES):x}\r\n".encode() + BYTES + b"\r\n"
    for content, told in ((chunk, "the connection ended early"), (chunk + b"0\r\n\r\n", "")):
        site["/w"] = Served(content, {"Transfer-Encoding": "chunked", "ETag": '"one"'})
        if told:
            with pytest.raises(Refusal, match=told):
                get("/w")
    assert only(get("/w")) == BYTES


def test_what_was_left_damaged_is_brought_from_the_beginning(site: Site, get: Get, tmp_path: Path) -> None:
    site["/w"] = Served(BYTES, cuts=[100_000, 0, 0])
    with pytest.raises(Refusal):
        get("/w")
    with open(tmp_path / "brought/m/.w.part", "r+b") as file:
        file.write(b"nothing")
    assert only(get("/w", sha256=sha256(BYTES))) == BYTES


def test_what_was_whole_before_a_kill_is_not_asked_for(site: Site, get: Get, tmp_path: Path) -> None:
    site["/w"] = Served(BYTES, cuts=[len(BYTES) - 1, 0, 0])
    with pytest.raises(Refusal):
        get("/w")
    with open(tmp_path / "brought/m/.w.part", "ab") as file:
        file.write(BYTES[-1:])
    site.clear()
    assert only(get("/w")) == BYTES


@pytest.mark.parametrize("kind, told", [("sha256", "SHA-256"), ("md5", "MD5")])
def test_a_wrong_digest_and_the_next_address(site: Site, get: Get, kind: str, told: str, tmp_path: Path) -> None:
    site |= {"/w": Served(OTHER), "/mirror/x": Served(BYTES, cuts=[1000])}
    right, wrong = (hashlib.new(kind, content).hexdigest() for content in (BYTES, OTHER))
    with pytest.raises(Refusal, match=rf"its {told} is {wrong[:16]}\.\.\., not {right[:16]}\.\.\."):
        get("/w", **{kind: right})
    assert not list((tmp_path / "brought/m").iterdir())
    got = get("/none", "/w", "/mirror/x", **{kind: right[:8].upper()})
    assert (only(got), got.source, got.files[0].name) == (BYTES, f"{site.address}/mirror/x", "none")


def test_another_address_goes_on_where_a_digest_will_tell(site: Site, get: Get) -> None:
    for digest, ranges in ((sha256(BYTES), ["bytes=100000-"]), ("", [""])):
        site |= {"/a": Served(BYTES, cuts=[100_000, 0, 0]), "/b": Served(BYTES, {"ETag": '"else"'})}
        name = f"w{len(digest)}"
        got = get("/a", "/b", sha256=digest, file=name)
        assert (only(got), got.source) == (BYTES, f"{site.address}/b")
        assert site["/b"].asked == ranges


def test_an_address_that_fails_leaves_what_another_brought(site: Site, get: Get) -> None:
    site |= {"/a": Served(BYTES, cuts=[100_000, 0, 0]), "/login": Served(LOGIN)}
    with pytest.raises(Refusal, match="is a web page, not the file"):
        get("/a", "/none", "/login")
    assert only(get("/a")) == BYTES
    assert site["/a"].asked[-1] == "bytes=100000-"


def test_what_passes_is_tried_again_and_what_lasts_is_not(site: Site, get: Get, slept: list[float]) -> None:
    site["/w"] = Served(BYTES, answers=[(503, {}), (503, {})])
    assert only(get("/w")) == BYTES
    assert slept == list(part.PAUSES)
    slept.clear()
    site["/w"] = Served(OTHER, answers=[(429, {"Retry-After": "7"})])
    assert only(get("/w", file="other")) == OTHER
    assert slept == [7]
    slept.clear()
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3600))
    lasting = [(404, {}), (403, {}), (401, {}), (429, {"Retry-After": "86400"}), (503, {"Retry-After": later})]
    for status, headers in lasting:
        site["/w"] = Served(BYTES, answers=[(status, headers)])
        with pytest.raises(Refusal, match=f"/w: {status} "):
            get("/w", file="third")
        assert len(site["/w"].asked) == 1
    site["/w"] = Served(BYTES, answers=[(500, {})] * 9)
    with pytest.raises(Refusal, match="/w: 500 "):
        get("/w", file="third")
    assert len(site["/w"].asked) == 1 + len(part.PAUSES)
    assert slept == list(part.PAUSES)


def test_a_server_that_falls_silent(site: Site, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "TIMEOUT", 0.3)
    over = threading.Event()
    site["/w"] = Served(BYTES, hold=over)
    assert only(get("/w")) == BYTES
    assert site["/w"].asked == ["", f"bytes={len(BYTES) // 2}-"]
    over.set()


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_refused(site: Site, get: Get, kind: str, tmp_path: Path) -> None:
    site["/page"] = Served(LOGIN, {"Content-Type": kind})
    site["/w"] = Served(BYTES, answers=[(302, {"Location": "/page"})] * 2)
    told = "/w: is a web page, not the file: a log-in, consent or error page"
    with pytest.raises(Refusal, match=told):
        get("/w")
    (tmp_path / "page").write_bytes(LOGIN)
    with pytest.raises(Refusal, match="is a web page, not the file"):
        get("/w", given=tmp_path / "page")
    with pytest.raises(Refusal, match=told):
        get("/w")
    assert only(get("/w")) == BYTES


def test_what_else_is_no_file(site: Site, get: Get) -> None:
    site |= {
        "/js": Served(b"please wait", {"Content-Type": "text/html"}),
        "/empty": Served(b""),
        "/lfs": Served(b"version https://git-lfs.github.com/spec/v1\noid sha256:00"),
        "/binary": Served(b"PK\3\4" + BYTES, {"Content-Type": "text/html"}),
    }
    for path, told in (("/js", "web page"), ("/empty", "is empty"), ("/lfs", "Git LFS pointer")):
        with pytest.raises(Refusal, match=told):
            get(path)
    assert only(get("/binary")) == b"PK\3\4" + BYTES  # a server that does not know what it has


def test_a_file_address(get: Get, tmp_path: Path, slept: list[float]) -> None:
    path = tmp_path / "a b.pth"
    with pytest.raises(Refusal, match="No such file"):
        get(path.as_uri())
    assert not slept
    path.write_bytes(BYTES)
    got = get(path.as_uri(), sha256=sha256(BYTES))
    assert (only(got), got.files[0].name) == (BYTES, "a b.pth")


def test_what_is_there_and_passes_stays(site: Site, get: Get) -> None:
    site["/w"] = Served(BYTES)
    first = get("/w", sha256=sha256(BYTES))
    assert get("/w", sha256=sha256(BYTES)) == first
    assert get("/w") == first
    assert site["/w"].asked == [""]
    first.files[0].write_bytes(OTHER)
    site["/w"].cuts = [0, 0, 0]
    with pytest.raises(Refusal, match="the connection ended"):
        get("/w", sha256=sha256(BYTES))
    assert only(get("/w", sha256=sha256(BYTES))) == BYTES


def test_a_disk_that_is_full(site: Site, get: Get, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site |= {"/w": Served(BYTES), "/z": Served(packed("zip", {"w.pth": bytes(400_000)}))}
    with monkeypatch.context() as full:
        full.setattr("suite.disk.shutil.disk_usage", lambda _: SimpleNamespace(free=200_000))
        with pytest.raises(Refusal, match=r"w needs 0.0003 GB more in .*/m, where 0.0002 GB are free: make room"):
            get("/w", "/w")
        assert site["/w"].asked == [""]  # another address has no more room
        with pytest.raises(Refusal, match=r"^w.pth needs 0.0004 GB more"):
            get("/z", member="*")
        (tmp_path / "w").write_bytes(BYTES)
        with pytest.raises(Refusal, match=r"w needs 0.0003 GB more"):
            get("/w", given=tmp_path / "w")
    with monkeypatch.context() as full:

        def fsync(_: int) -> None:
            raise OSError(28, "No space left on device")

        full.setattr("suite.disk.os.fsync", fsync)
        with pytest.raises(Refusal, match=r"/m/\.w\.\w+: cannot be written .No space left on device"):
            get("/w", "/w")
        assert len(site["/w"].asked) == 2
    assert only(get("/w")) == BYTES
    assert only(get("/z", member="*")) == bytes(400_000)


# ---- several files


def test_braces(site: Site, get: Get) -> None:
    site |= {"/c/model.ckpt-1.index": Served(OTHER), "/c/model.ckpt-1.data-00000-of-00001": Served(BYTES, cuts=[9])}
    braces, both = "/c/model.ckpt-1.{index,data-00000-of-00001}", (OTHER, BYTES)
    digests = "+".join(map(sha256, both))
    assert download.published(Origin(urls=(braces,))) == [path[3:] for path in site]
    with pytest.raises(
        Refusal, match=r"index: 404.*index and .*of-00001 in a browser.* into a folder, then: .* FOLDER"
    ):
        get("/none" + braces)
    for origin in ({}, {"sha256": digests}):
        got = get("/none" + braces, braces, **origin)
        assert [path.read_bytes() for path in got.files] == list(both)
        assert [path.name for path in got.files] == [path[3:] for path in site]
        assert (got.source, got.sha256) == (site.address + braces, digests)
    with pytest.raises(Refusal, match="its SHA-256"):
        get(braces, sha256="+".join(map(sha256, both[::-1])))
    with pytest.raises(Refusal, match="2 digests"):
        get(braces, sha256=sha256(OTHER))
    with pytest.raises(Refusal, match="other files"):
        get(braces, "/c/model.ckpt-1.index")


def test_names() -> None:
    def names(*urls: str, file: str = "") -> list[str]:
        return download.published(Origin(urls=urls, file=file))

    assert names("https://h/a/b%20c.pth?dl=1#x", "https://h/other") == ["b c.pth"]
    assert names("https://h/get?id=1", file="m.pth") == ["m.pth"]
    assert names("https://h/{a,b}/m.pth?x={1,2}", file="m.{x,y}") == ["m.x", "m.y"]
    for nameless in (["https://h/"], ["https://h/.."], []):
        with pytest.raises(Refusal, match="needs `file`"):
            names(*nameless)


# ---- archives

KINDS = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz")


def packed(kind: str, files: dict[str, bytes], link: str = "") -> bytes:
    """An archive; `link` is one more member, that points to a file of the system."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
            if link:
                entry = zipfile.ZipInfo(link)
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(entry, "/etc/hostname")
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode=f"w:{kind[4:]}") as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
            tar.addfile(member)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_members(site: Site, get: Get, kind: str, tmp_path: Path) -> None:
    held = {
        "read me": b"x",
        "a folder/näïve (1)/weights final.pth.tar": BYTES,
        "a folder/._weights final.pth.tar": b"x",
        "m.ckpt.index": b"index",
        "m.ckpt.data": OTHER,
    }
    site["/w"] = Served(packed(kind, held), cuts=[50_000])
    for pattern in ("weights*.pth.tar", "a folder/*", "a folder/näïve (1)/*"):
        got = get("/w", member=pattern)
        assert (only(got), got.files[0].name) == (BYTES, "weights final.pth.tar")
        assert got.sha256 == sha256(site["/w"].content)
    several = get("/w", member="m.ckpt.*")
    assert {path.name: path.read_bytes() for path in several.files} == {"m.ckpt.data": OTHER, "m.ckpt.index": b"index"}
    with pytest.raises(Refusal, match=r"holds no \*\.npz, but read me, a folder/näïve \(1\)/weights final.pth.tar, "):
        get("/w", member="*.npz")
    assert only(get("/w")) == site["/w"].content  # without a member it is what is wanted
    site["/bare"] = Served(BYTES)
    with pytest.raises(Refusal, match="is no whole zip or tar archive"):
        get("/bare", member="*")


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_archive(site: Site, get: Get, kind: str) -> None:
    content = packed(kind, {"first.pth": OTHER[:9], "w.pth": BYTES, "w2.pth": OTHER})
    middle = len(content) // 3
    damaged = [
        content[:middle],
        content[:-8] if kind in ("zip", "tar.gz") else content[: 2 * middle],
        b"",
        content[:99],
    ]
    if kind != "tar":  # which has no check sums
        damaged.append(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    for number, wrong in enumerate(damaged):
        site["/w"] = Served(wrong, {"ETag": f'"{number}"'})
        with pytest.raises(Refusal, match=r"is no whole zip or tar archive|is empty"):
            get("/w", member="*.pth")
    site["/mirror"] = Served(content)
    assert [path.name for path in get("/w", "/mirror", member="*.pth").files] == ["first.pth", "w.pth", "w2.pth"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_that_stay_packed(site: Site, get: Get, kind: str, tmp_path: Path) -> None:
    outside = "../" * 9 + str(tmp_path)[1:]
    hostile = {
        "points outside": packed(kind, {"fine.pth": b"x", f"{outside}/evil.pth": b"evil"}),
        "points outside: it stays": packed(kind, {"..\\evil.pth": b"evil"}),
        "evil.pth is a link": packed(kind, {"fine.pth": b"x"}, link="evil.pth"),
        "more than one fine.pth": packed(kind, {"a/fine.pth": b"x", "b/fine.pth": b"y"}),
        "more than one w": packed(kind, {"w": b"x"}),
    }
    for told, content in hostile.items():
        site["/w"] = Served(content)
        with pytest.raises(Refusal, match=told):
            get("/w", member="w" if told.endswith(" w") else "*.pth")
    assert not list(tmp_path.rglob("*.pth"))
    site["/w"] = Served(packed(kind, {"/evil.pth": b"tame"}))
    got = get("/w", member="*.pth")
    assert got.files == [tmp_path / "brought/m/evil.pth"]
    assert only(got) == b"tame"


# ---- without a network


@pytest.mark.parametrize("place", ["w.pth", "m/w.pth", "m.safetensors"])
def test_a_mirror(site: Site, get: Get, place: str, tmp_path: Path) -> None:
    site["/w.pth"] = Served(BYTES)
    mirror, address = tmp_path / "mirror", f"{site.address}/w.pth"
    held = mirror / place
    with pytest.raises(Refusal) as refused:
        get("/w.pth", mirror=mirror)
    for looked in ("w.pth", "m/w.pth", "m.*"):
        assert f"{mirror}/{looked}: No such file" in str(refused.value)
    held.parent.mkdir(parents=True)
    held.write_bytes(OTHER)
    with pytest.raises(Refusal, match=f"{place}: its SHA-256 is"):
        get("/w.pth", mirror=mirror, sha256=sha256(BYTES))
    site["/w.pth"] = Served(BYTES, cuts=[9, 0, 0])
    with pytest.raises(Refusal, match="the connection ended"):  # its part is of no use any more
        get("/w.pth")
    site["/w.pth"].asked.clear()
    held.write_bytes(BYTES)
    before = held.stat()
    got = get("/w.pth", mirror=mirror, sha256=sha256(BYTES))
    assert (only(got), got.files[0].name, got.source) == (BYTES, "w.pth", f"{address} (by hand)")
    assert not got.files[0].is_symlink()
    assert got.files[0].stat().st_ino != before.st_ino
    assert (held.read_bytes(), held.stat().st_mtime_ns, held.stat().st_nlink) == (BYTES, before.st_mtime_ns, 1)
    assert sorted(os.listdir(tmp_path / "brought/m")) == ["w.pth"]
    assert got == get("/w.pth", mirror=tmp_path / "gone", sha256=sha256(BYTES))  # it is there
    assert not site["/w.pth"].asked


def test_from_a_browser(site: Site, get: Get, tmp_path: Path) -> None:
    page, saved = "https://drive.example/view?id=1", tmp_path / "w (1).pth"
    origin = {"page": page, "file": "w.pth", "sha256": sha256(BYTES)[:12]}
    end = re.escape(f"; open {page} in a browser, bring w.pth, then: launch.py fetch m --from w.pth")
    with pytest.raises(Refusal, match=f"^m: w.pth could not be brought: no program gets it{end}$"):
        get(**origin)
    with pytest.raises(Refusal, match=f"w .1..pth: No such file or directory{end}$"):
        get(**origin, given=saved)
    saved.write_bytes(OTHER)
    with pytest.raises(Refusal, match=f"w .1..pth: its SHA-256 is {sha256(OTHER)[:16]}.*{end}$"):
        get(**origin, given=saved)
    saved.write_bytes(BYTES)
    (tmp_path / "brought/m/.w.pth.copy").write_bytes(b"left by a kill")
    got = get(**origin, given=saved)
    assert (only(got), got.files[0].name, got.source, saved.read_bytes()) == (
        BYTES,
        "w.pth",
        f"{page} (by hand)",
        BYTES,
    )
    assert get(**origin) == got
    saved.write_bytes(OTHER)
    assert only(get(**origin | {"sha256": ""}, given=saved)) == OTHER  # what is given goes before what is there
    (tmp_path / "w.zip").write_bytes(packed("zip", {"in/w": BYTES}))
    assert only(get(file="w.zip", member="*/w", given=tmp_path / "w.zip")) == BYTES


def test_several_from_a_browser(site: Site, get: Get, tmp_path: Path) -> None:
    saved, braces = tmp_path / "saved", "/c.{index,data}"
    saved.mkdir()
    (saved / "c.index").write_bytes(OTHER)
    with pytest.raises(Refusal, match=r"m is published as 2 files: name the folder that holds c.index and c.data"):
        get(braces, given=saved / "c.index")
    with pytest.raises(Refusal, match=r"c.data: No such file"):
        bring("m", Origin(urls=(f"https://h{braces}",)), tmp_path / "m", lambda done, size: None, given=saved)
    (saved / "c.data").write_bytes(BYTES)
    for how in ({"given": saved}, {"mirror": saved}):
        assert [path.read_bytes() for path in get(braces, **how).files] == [OTHER, BYTES]


# ---- processes


def start(site: Site, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, f"{site.address}/w", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def wait_for(path: Path, size: int) -> None:
    until = time.monotonic() + 20
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < until, f"{path} does not grow"
        time.sleep(0.01)


def test_a_kill_costs_nothing_that_was_there(site: Site, get: Get, tmp_path: Path) -> None:
    over = threading.Event()
    site["/w"] = Served(BYTES[:3000], hold=over)
    killed = start(site, tmp_path / "brought/m")
    wait_for(tmp_path / "brought/m/.w.part", 1500)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    over.set()
    assert only(get("/w")) == BYTES[:3000]
    assert site["/w"].asked == ["", f"bytes={1500}-"]


def test_two_processes_bring_it_once(site: Site, tmp_path: Path) -> None:
    over = threading.Event()
    site["/w"] = Served(BYTES, hold=over)
    first = start(site, tmp_path / "m")
    wait_for(tmp_path / "m/.w.part", len(BYTES) // 2)
    second = start(site, tmp_path / "m")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(1)
    over.set()
    told = [process.communicate(timeout=20) for process in (first, second)]
    assert told == [(f"{tmp_path}/m/w {site.address}/w {sha256(BYTES)}\n", "")] * 2
    assert site["/w"].asked == [""]


# ---- one checkpoint to one path


def test_download(site: Site, tmp_path: Path, slept: list[float]) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    weights, to = struct.pack("<Q", len(header)) + header + bytes(8), tmp_path / "weights" / "w.safetensors"
    site |= {"/w": Served(weights, cuts=[60]), "/other": Served(BYTES), "/login": Served(LOGIN)}

    def load(*paths: str, digest: str = "") -> None:
        download.download([site.address + path for path in paths], to, digest, lambda done, size: None)

    wrong = [("/none", "404"), ("/other", "is not a checkpoint of"), ("/login", "is a web page, not the file")]
    for path, told in [*wrong, ("/w", "its SHA-256 is")]:
        with pytest.raises(Refusal, match=rf"w.safetensors could not be brought: \S+{path}: {told}.*; put the file at"):
            load(path, digest="0000" if path == "/w" else "")
        assert [path.name for path in to.parent.iterdir()] == [".w.safetensors.lock"]
    load("/none", "/w", digest=sha256(weights)[:8])
    assert to.read_bytes() == weights
    assert sorted(os.listdir(to.parent)) == [".w.safetensors.lock", "w.safetensors"]
    load("/none")  # it is there
