"""Packed folders: what is read of the shards is what was read of the folder, on real photos and on odd names."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from miniatures import photo

from jobs import check as opening
from jobs.lib import images, view
from jobs.lib.failure import BadData
from jobs.lib.workspace import Workspace
from suite import adhoc, check, index, missing, pack, packed, shard, squash
from suite.adhoc import Place
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.index import Index, LayoutError, Split
from suite.layouts import imagefolder, shards
from suite.store import Store


def nothing(done: int, size: int) -> None: ...


def folder(root: Path, count: int = 6) -> Place:
    """Images of two classes, of which some have names that a shard cannot keep as they are."""
    for split, numbers in (("train", range(count)), ("test", range(count, count + 4))):
        for number in numbers:
            path = root / f"{split}/{'ab'[number % 2]}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(number, (40, 30), "JPEG"))
    return Place("imagefolder", root, None)


def gone(place: Place, aside: Path) -> Place:
    place.root.rename(aside)
    return place


SHARED = {
    "dtd_mini": "dtd",
    "oxford_pets_mini": "pets",
    "oxford_pets_mini ": "pets-trimaps",
    "voc2012_mini": "voc",
    "voc2012_mini ": "voc-segmentation",
    "bccd": "voc-detection",
    "coco_mini": "coco",
    "CamVid": "camvid",
    "nyuv2_mini": "nyuv2",
    "imagenet1k_mini": "imagenet",
    "tiny-imagenet-mini": "tiny-imagenet",
    "hymenoptera_mini": "imagefolder",
}


@pytest.mark.parametrize("name", SHARED)
def test_real_photos_are_the_same(name: str, shared: Path, tmp_path: Path) -> None:
    place = Place(SHARED[name], Path(shutil.copytree(shared / name.strip(), tmp_path / "mine")), None)
    before = adhoc.layout(place.layout).index(place.root)
    digest = index.digest(before, place.root)
    pack.pack(place, 1, nothing)
    gone(place, tmp_path / "gone")
    after = adhoc.read(place.layout, place.root)
    assert after == before
    assert index.digest(after, place.root) == digest
    assert adhoc.fits(place.layout, place.root)
    for file in check.files(after)[::5]:
        seen = [
            images.looked_at(root / file, lambda image: np.array(image)) for root in (tmp_path / "gone", place.root)
        ]
        assert np.array_equal(*seen)
    for split in after.splits.values():
        if after.kind in ("classification", "multilabel"):
            assert images.Images(place.root, split.items[:2], split.labels[:2])[1].ndim == 3  # type: ignore[arg-type]
        elif after.kind == "detection":
            view.Views(place.root, split).check(0, whole=True)
    # All of it is in the shards: unpacked, they are the data set again.
    (tmp_path / "again").mkdir()
    for path in packed.folder(place.root).glob("*.tar"):
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path / "again", filter="data")
    assert adhoc.layout(place.layout).index(tmp_path / "again") == before


def test_webdataset_reads_it(tmp_path: Path) -> None:
    """Its rule: a sample is what shares the path up to the first dot of the name. As does our own layout of shards."""
    place = folder(tmp_path / "mine")
    for name in ("0.1.png", "0.2.png", "0.jpg", "é.png", "x" * 120 + ".png"):
        (place.root / f"train/a/{name}").write_bytes(photo(len(name), (8, 8)))
    pack.pack(place, 1000, nothing)
    held = packed.folder(place.root)
    before = imagefolder.index(place.root)
    with tarfile.open(held / "train-000000.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    samples: dict[str, dict[str, bytes]] = {}
    for name, content in members.items():
        above, _, file = name.rpartition("/")
        key, _, ending = file.partition(".")
        samples.setdefault(f"{above}/{key}", {})[ending] = content
    assert len(samples) == len(before.splits["train"].items) == 11
    assert all(len(sample) == 2 and "cls" in sample for sample in samples.values())
    assert "train/a/é.png" in members and f"train/a/{'x' * 120}.png" in members
    found = shards.index(held)
    assert found.splits["train"].labels == before.splits["train"].labels
    assert found.splits["test"].labels == before.splits["test"].labels
    for row in range(11):
        content = (place.root / before.splits["train"].items[row]).read_bytes()
        assert shards.read(held / "train-000000.tar", row) == content
    gone(place, tmp_path / "gone")
    assert adhoc.read("imagefolder", place.root) == before
    assert all(fault is None for fault in opening.opened(place.root, check.files(before), decode=True, threads=1))


def test_a_folder_that_is_there_is_read_itself(tmp_path: Path) -> None:
    place = folder(tmp_path / "mine")
    pack.pack(place, 1, nothing)
    (place.root / "train/a/0.png").unlink()
    (place.root / "train/a/new.png").write_bytes(photo(9))
    assert "train/a/new.png" in adhoc.read("imagefolder", place.root).splits["train"].items
    with pytest.raises(BadData, match="No such file"):
        images.looked_at(place.root / "train/a/0.png", lambda image: image.size)
    with pytest.raises(Refusal, match=r"mine: changed since .*/mine.packed was packed of it; move that away"):
        pack.pack(place, 1, nothing)
    shutil.rmtree(place.root)
    assert pack.pack(place, 1, nothing) == f"mine: is packed, in {place.root}.packed"
    with pytest.raises(BadData, match="No such file"):
        images.looked_at(place.root / "train/a/new.png", lambda image: image.size)
    assert images.looked_at(place.root / "train/a/0.png", lambda image: image.size) == (40, 30)


def test_what_a_user_names_is_found_packed(tmp_path: Path) -> None:
    """The same name, made of the same digest: its features and results are those of the folder."""
    known, place = Catalog(Store(tmp_path / "store")), folder(tmp_path / "mine")
    before = [adhoc.dataset(text, known) for text in (f"imagefolder:{place.root}", str(place.root))]
    pack.pack(place, 1, nothing)
    gone(place, tmp_path / "gone")
    assert [adhoc.dataset(text, known) for text in (f"imagefolder:{place.root}", str(place.root))] == before
    assert adhoc.place(str(place.root), known) == place
    assert images.read_index(before[0], place.root).splits["test"].labels == [0, 0, 1, 1]
    assert check.look(place).told == [
        "classification, 2 classes; train 6, test 4",
        f"packed in {place.root}.packed",
    ]
    with pytest.raises(Refusal, match="no such folder"):
        adhoc.dataset(f"imagefolder:{tmp_path}/none", known)


def test_shards_have_their_size(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    for number in range(40):
        path = root / f"{'train' if number < 30 else 'test'}/{number % 2}/{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(number, (200, 200), "PPM"))
    told = list[tuple[int, int]]()
    pack.pack(Place("imagefolder", root, None), 1, lambda done, size: told.append((done, size)))
    sizes = {path.name: path.stat().st_size for path in packed.folder(root).glob("*.tar")}
    assert sorted(sizes) == [
        f"{split}-00000{at}.tar" for split, count in (("test", 2), ("train", 4)) for at in range(count)
    ]
    assert all(size <= 10**6 for size in sizes.values())
    total = sum(path.stat().st_size for path in root.rglob("*.png"))
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_kill_costs_only_the_shard_that_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path / "mine", 600)
    fsync, calls = shard.os.fsync, list[int]()

    def killed(file: int) -> None:
        calls.append(file)
        if len(calls) == 5:  # two for each shard: what is written is noted
            raise KeyboardInterrupt
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr("suite.shard.os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            pack.pack(place, 1, nothing)
    held = packed.folder(place.root)
    assert not list(held.glob("*.index"))
    assert not packed.holds(place.root, place.layout)
    written = {path.name: path.stat().st_ino for path in held.glob("[!.]*.tar")}
    assert written
    changed = place.root / "train/a/0.png"
    first = changed.read_bytes()
    changed.write_bytes(first[:-1] + b"x")  # of the same size, and newer than its shard
    pack.pack(place, 1, nothing)
    after = {path.name: path.stat().st_ino for path in held.iterdir()}
    assert {name for name in written if after[name] != written[name]} == {"train-000000.tar"}
    assert sorted(path.name for path in held.iterdir()) == sorted(path.name for path in held.glob("[!.]*"))
    shutil.rmtree(place.root)
    assert packed.read(changed) == first[:-1] + b"x"


def test_threads_read_what_they_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are more shards than are kept open, and where none is yet."""
    monkeypatch.setattr(packed, "_shard", lru_cache(maxsize=2)(packed._shard.__wrapped__))
    root = tmp_path / "mine"
    names = [f"{split}/{label}/{number}.jpg" for split in ("train", "test") for label in "ab" for number in range(20)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode().ljust(400_000, b"."))  # two a shard
    pack.pack(Place("imagefolder", root, None), 1, nothing)
    gone(Place("imagefolder", root, None), tmp_path / "gone")
    assert len(list(packed.folder(root).glob("*.tar"))) > 20
    packed._OPEN.clear()
    asked = np.random.default_rng(0).choice(names, 8000).tolist()
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda name: packed.read(root / name), asked))
    assert [one and one[: len(name)].decode() for one, name in zip(read, asked, strict=True)] == asked


def test_what_is_left_of_other_shards_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path / "mine", 600)
    with monkeypatch.context() as patch:
        patch.setattr("suite.pack._write_index", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pack.pack(place, 1, nothing)
    held = packed.folder(place.root)
    assert len(list(held.glob("*.tar"))) > 2
    pack.pack(place, 1000, nothing)
    assert sorted(path.name for path in held.iterdir()) == ["imagefolder.index", "test-000000.tar", "train-000000.tar"]


@pytest.mark.parametrize("what", ["shard gone", "shard cut", "index cut", "index else", "other format"])
def test_damage_is_told(what: str, tmp_path: Path) -> None:
    place = folder(tmp_path / "mine")
    pack.pack(place, 1, nothing)
    gone(place, tmp_path / "gone")
    tar, lines = packed.folder(place.root) / "train-000000.tar", packed.file(place.root, place.layout)
    told = {"shard": r"mine.packed: 1 of 2 shards are gone or cut off \(train-000000.tar\); bring them again, or"}
    if what == "shard gone":
        tar.unlink()
    elif what == "shard cut":
        tar.write_bytes(tar.read_bytes()[:-1])
    elif what == "index cut":
        lines.write_text("\n".join(lines.read_text().splitlines()[:-1]) + "\n")
    elif what == "index else":
        lines.write_text("hello")
    else:
        head, *rest = lines.read_text().splitlines()
        lines.write_text("\n".join([json.dumps(json.loads(head) | {"format": 2}), *rest]))
    wanted = told.get(what.split()[0], "pack it again")
    with pytest.raises(LayoutError, match=wanted):
        adhoc.read(place.layout, place.root)
    assert check.look(place).faults


def test_what_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path / "mine")
    (place.root / "train/.hidden").write_text("")
    (place.root / "notes.txt").write_text("kept")
    (place.root / "all.tar.gz").write_text("an archive")
    (place.root / "extra.jpg").write_bytes(photo(1))
    with monkeypatch.context() as patch:
        patch.setattr("suite.disk.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(Refusal, match=r"shards needs .* GB more .* make room"):
            pack.pack(place, 1, nothing)
    assert "1 images of no split are not in it" in pack.pack(place, 1, nothing)
    shutil.rmtree(place.root)
    held = packed.places(place.root, place.layout)
    assert set(held) == {*check.files(adhoc.read(place.layout, place.root)), "notes.txt"}
    assert packed.read(place.root / "notes.txt") == b"kept"
    with pytest.raises(Refusal, match="no such folder, so there is nothing to pack"):
        pack.pack(Place("dtd", tmp_path / "none", None), 1, nothing)


def test_places_of_a_million_files_are_small() -> None:
    places = packed.Places([Path("a.tar"), Path("b.tar")])
    places.add(["x", "y"], [0, 1], [512, 2**40], [7, 8])
    assert places.place("y") == (Path("b.tar"), 2**40, 8)
    assert (places["x"], list(places), len(places), places.place("z")) == (7, ["x", "y"], 2, None)
    with pytest.raises(ValueError):
        places.add(["z"], [0], [1], [])


def test_columns_of_a_split_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever columns a layout fills: rows are in several blocks."""
    place, found = folder(tmp_path / "mine"), imagefolder.index(tmp_path / "mine")
    items = found.splits["train"].items
    train = Split(items, [[1, 0]] * 6, [(4, 3)] * 6, list("abcdef"), [[1]] * 6)
    odd = Index("multilabel", ["x", "y"], {"train": train, "test": Split([], [])}, [3, 5], {"why": 2}, [255])
    layout = adhoc.Reader("multilabel", lambda root: True, lambda root: odd)
    monkeypatch.setattr("suite.adhoc.layout", lambda name: layout)
    monkeypatch.setattr("suite.pack.ROWS", 4)
    monkeypatch.setattr("suite.shard.ROWS", 4)
    pack.pack(Place("odd", place.root, None), 1, nothing)
    again: Any = packed.index(place.root, "odd")
    assert again == odd
    assert isinstance(again.splits["train"].sizes[0], tuple)


@pytest.mark.usefixtures("one_thread")
def test_features_are_those_of_the_folder(known: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not extracted again; and where they are, of the shards, they are the same."""
    cell, root = known.cell("knn-v1/digits/pixels_8x8/0"), known.store.data / "digits"

    def made() -> np.ndarray:
        return np.array(Workspace(known.store, device="cpu", cores=1).features(cell, "test").x)

    first = made()
    pack.pack(adhoc.place("digits", known), 1, nothing)
    shutil.rmtree(root)
    assert missing.data(cell.dataset, known) == ""
    with monkeypatch.context() as patch:
        patch.setattr("jobs.lib.features.extract", lambda *_: pytest.fail("extracted again"))
        assert np.array_equal(made(), first)
    shutil.rmtree(known.store.features)
    assert np.array_equal(made(), first)


# ---- SquashFS


@pytest.mark.skipif(not shutil.which("mksquashfs"), reason="no mksquashfs")
def test_squashfs(tmp_path: Path) -> None:
    place = folder(tmp_path / "mine")
    told = squash.squash(place, nothing)
    made = tmp_path / "mine.squashfs"
    assert f"squashfuse {made} {place.root}" in told
    assert squash.squash(place, nothing).startswith(f"mine: is in {made}")
    subprocess.run(
        ["unsquashfs", "-q", "-n", "-d", str(tmp_path / "again"), str(made)], check=True, capture_output=True
    )
    assert imagefolder.index(tmp_path / "again") == imagefolder.index(place.root)
    assert not list(tmp_path.glob(".*"))


def test_squashfs_without_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path / "mine")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refusal, match="no mksquashfs on PATH: install squashfs-tools; without --squashfs"):
        squash.squash(place, nothing)
    program = tmp_path / "mksquashfs"
    program.write_text("#!/bin/sh\necho FATAL: no room >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(Refusal, match="mksquashfs failed: FATAL: no room"):
        squash.squash(place, nothing)
    assert not list(tmp_path.glob("*mine.squashfs*"))
