"""Unpacking: real archives, of every kind and with everything that one may hold against whoever unpacks it."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from suite import archive
from suite.entry import Refusal
from suite.part import Failed

KINDS = {"a.zip": "", "a.tar": "w", "a.tar.gz": "w:gz", "a.tgz": "w:gz", "a.tar.bz2": "w:bz2", "a.tar.xz": "w:xz"}
Change = Callable[[tarfile.TarInfo], None]


def nothing(done: int, size: int) -> None: ...


def member(name: str, content: bytes = b"", change: Change = lambda info: None) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    change(info)
    return info, content


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as held:  # type: ignore[call-overload]
        for info, content in members:
            held.addfile(info, io.BytesIO(content))
    return path


def packed(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix != ".zip":
        return tar(path, *(member(name, content) for name, content in files.items()), mode=KINDS[path.name])
    with zipfile.ZipFile(path, "w") as held:
        for name, content in files.items():
            held.writestr(name, content)
    return path


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_and_how_far_it_is(name: str, tmp_path: Path) -> None:
    files = {f"dtd/images/{number}.jpg": os.urandom(900_000) for number in range(4)} | {"dtd/labels/a b.txt": b"one"}
    path, told = packed(tmp_path / name, files), list[tuple[int, int]]()
    archive.whole(path, tmp_path / "out", lambda done, size: told.append((done, size)))
    assert held(tmp_path / "out") == files
    assert told[-1] == (path.stat().st_size, path.stat().st_size)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) > 2
    assert archive.NAMED.search(name)


def link(info: tarfile.TarInfo, to: str, kind: bytes = tarfile.SYMTYPE) -> None:
    info.type, info.linkname = kind, to


OUTSIDE = "is a link or a device, or points outside: all of it stays packed"
HOSTILE = {
    "..": ([member("ok.jpg", b"1"), member("../evil", b"2")], OUTSIDE),
    ".. inside": ([member("a/../../evil", b"2")], OUTSIDE),
    "absolute": ([member("/tmp/evil", b"2")], OUTSIDE),
    "backslash": ([member("a\\..\\..\\evil", b"2")], OUTSIDE),
    "drive": ([member("C:\\evil", b"2")], OUTSIDE),
    "nothing": ([member("./", b"2")], OUTSIDE),
    "a link": ([member("etc", change=lambda info: link(info, "/etc"))], OUTSIDE),
    "through a link": (
        [member("way", change=lambda info: link(info, "..")), member("way/evil", b"2")],
        OUTSIDE,
    ),
    "hard link": ([member("a", change=lambda info: link(info, "../secret", tarfile.LNKTYPE))], OUTSIDE),
    "device": ([member("null", change=lambda info: setattr(info, "type", tarfile.CHRTYPE))], OUTSIDE),
    "pipe": ([member("pipe", change=lambda info: setattr(info, "type", tarfile.FIFOTYPE))], OUTSIDE),
    "twice": ([member("a.jpg", b"1"), member("a.jpg", b"2")], "holds a.jpg twice"),
    "twice, spelled otherwise": ([member("a.jpg", b"1"), member("./a.jpg", b"2")], r"holds \./a.jpg twice"),
    "a file as a folder": ([member("a", b"1"), member("a/b", b"2")], "holds a/b below a file"),
    "a folder as a file": ([member("a/b", b"1"), member("a", b"2")], "holds a twice"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_of_a_hostile_archive_is_there(name: str, tmp_path: Path) -> None:
    members, told = HOSTILE[name]
    (tmp_path / "secret").write_text("secret")
    path = tar(tmp_path / "in" / "a.tar", *members)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Failed, match=told):
        archive.whole(path, tmp_path / "x/out", nothing)
    assert sorted(tmp_path.rglob("*")) in (before, sorted([*before, tmp_path / "x"]))
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_zip_with_a_link_or_a_device(kind: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as held:
        info = zipfile.ZipInfo("a")
        info.external_attr = (kind | 0o644) << 16
        held.writestr(info, "/etc/passwd")
    with pytest.raises(Failed, match=OUTSIDE):
        archive.whole(tmp_path / "a.zip", tmp_path / "out", nothing)


def test_modes_are_of_new_files(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", member("a.sh", b"1", lambda info: setattr(info, "mode", 0o6777)))
    archive.whole(path, tmp_path / "out", nothing)
    (tmp_path / "new").touch()
    assert (tmp_path / "out/a.sh").stat().st_mode == (tmp_path / "new").stat().st_mode


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_archive_leaves_nothing(name: str, tmp_path: Path) -> None:
    path = packed(tmp_path / name, {"a/b.jpg": os.urandom(300_000), "a/c.jpg": os.urandom(300_000)})
    whole = path.read_bytes()
    for broken in (whole[:400_000], whole[:100], b"", b"no archive"):
        path.write_bytes(broken)
        with pytest.raises(Failed, match="is no whole zip or tar archive"):
            archive.whole(path, tmp_path / "out", nothing)
        assert not (tmp_path / "out").exists()
    if name != "a.tar":  # which has no check sums of what it holds
        path.write_bytes(whole[:5000] + bytes(50) + whole[5050:])
        with pytest.raises(Failed, match="is no whole zip or tar archive"):
            archive.whole(path, tmp_path / "out", nothing)
        assert not (tmp_path / "out").exists()


def test_tars_in_an_archive_have_folders_of_their_own(tmp_path: Path) -> None:
    """As ImageNet's tar of tars, and Caltech's zip, whose inner tar begins with its own name."""
    flat = tar(tmp_path / "n01440764.tar", member("n01440764_1.JPEG", b"1"), member("n01440764_2.JPEG", b"2"))
    named = tar(tmp_path / "101.tar.gz", member("101/ant/image_0001.jpg", b"3"), mode="w:gz")
    deep = tar(tmp_path / "deep.tar", member("n01440764.tar", flat.read_bytes()))
    names = {"n01440764.tar": flat, "data/101.tar.gz": named, "deep.tar": deep}
    path = tar(tmp_path / "a.tar", *(member(name, inner.read_bytes()) for name, inner in names.items()))
    archive.whole(path, tmp_path / "out", nothing)
    assert held(tmp_path / "out") == {
        "n01440764/n01440764_1.JPEG": b"1",
        "n01440764/n01440764_2.JPEG": b"2",
        "data/101/ant/image_0001.jpg": b"3",
        "deep/n01440764.tar": flat.read_bytes(),  # one in one is all that is published
    }
    evil = tar(tmp_path / "evil.tar", member("../../evil", b"1"))
    for inner, told in ((evil.read_bytes(), OUTSIDE), (b"cut", "no whole zip or tar")):
        path = tar(tmp_path / "b.tar", member("ok.jpg", b"1"), member("evil.tar", inner))
        with pytest.raises(Failed, match=told):
            archive.whole(path, tmp_path / "again", nothing)
        assert not (tmp_path / "again").exists()
    path = tar(tmp_path / "c.tar", member("n01440764/a", b"1"), member("n01440764.tar", flat.read_bytes()))
    with pytest.raises(Failed, match=r"holds n01440764\.tar twice"):
        archive.whole(path, tmp_path / "again", nothing)


def test_what_macos_adds_is_left_out(tmp_path: Path) -> None:
    names = ["a/._1.jpg", "__MACOSX/a/._1.jpg", "a/.DS_Store", "a/1.jpg", "a/.hidden"]
    archive.whole(packed(tmp_path / "a.zip", dict.fromkeys(names, b"1")), tmp_path / "out", nothing)
    assert sorted(held(tmp_path / "out")) == ["a/.hidden", "a/1.jpg"]


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a.txt": bytes(400_000)}
    zipped, plain = packed(tmp_path / "a.zip", files), packed(tmp_path / "a.tar", files)
    monkeypatch.setattr("suite.disk.shutil.disk_usage", lambda _: SimpleNamespace(free=200_000))
    for path in (zipped, plain):
        with pytest.raises(Refusal, match=r"out needs 0.0004\d* GB more .* make room there"):
            archive.whole(path, tmp_path / "out", nothing)
        assert not (tmp_path / "out").exists()


def test_a_disk_that_is_full_is_no_fault_of_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "a.tar", {"a/b.txt": b"1"})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.mkdir", full)
        with pytest.raises(Refusal, match=r"cannot be written .No space left on device"):
            archive.whole(path, tmp_path / "out", nothing)
    archive.whole(path, tmp_path / "out", nothing)
    with pytest.raises(Refusal, match=r"cannot be written .File exists"):
        archive.whole(path, tmp_path / "out", nothing)  # what is there stays
    assert held(tmp_path / "out") == {"a/b.txt": b"1"}
