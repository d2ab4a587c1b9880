"""Every published data set, as a miniature of its archives: fetched, looked at, packed; the same each time."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniatures import MINIATURES, Files, packed, photo, photos, voc

from jobs import check as opening
from jobs.lib import images
from suite import adhoc, archive, check, data, fetch, index, pack
from suite import packed as packing
from suite.catalog import Catalog
from suite.dataset import Archive, Dataset
from suite.entry import Refusal
from suite.index import LayoutError
from suite.layouts import eurosat
from suite.store import Store

FETCHED = [name for name, one in Catalog(Store(Path("/none"))).datasets.items() if one.archives]
LISTED = {"imagenet1k-1percent", "imagenet1k-10percent"}  # a list beside another's images
CogLevels = {f"cog-l{level}" for level in (1, 2, 4, 5)}  # as the third is


def nothing(done: int, size: int) -> None: ...


class Site(dict[str, bytes]):
    """Path -> content of a server on this machine, and what it was asked for."""

    address = ""
    asked: list[str]


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    site.asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            content = site.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """EuroSAT's split, of twelve images a class; and no wait for the disk."""
    monkeypatch.setattr(eurosat, "TEST", 3)
    monkeypatch.setattr(eurosat, "VAL", 2)
    monkeypatch.setattr("os.sync", lambda: None)


@pytest.fixture
def known(tmp_path: Path) -> Catalog:
    return Catalog(Store(tmp_path / "store"))


def miniature(known: Catalog, name: str, held: dict[str, Files | bytes], site: Site | None, hand: Path) -> Dataset:
    """The entry as it is, but for the digests, addresses and counts of its miniature; what only a person can bring is
    in the folder `hand`, as is all else without a site."""
    entry, archives = known.datasets[name], []
    for one in entry.archives:
        file = data.file_name(one.urls[0])
        content = packed(file, held[file])
        urls = one.urls
        if site is None or data.by_hand(entry, one):
            hand.mkdir(exist_ok=True)
            (hand / file).write_bytes(content)
        else:
            path = f"/{len(site)}/{file}"
            site[path] = content
            urls = (f"{site.address}/gone/{file}", f"{site.address}{path}")
        md5, sha256 = hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest()
        archives.append(Archive(urls, md5=md5 if one.md5 else "", sha256=sha256 if one.sha256 else "", to=one.to))
    mini = MINIATURES[name]
    made = replace(entry, archives=tuple(archives), classes=mini.classes, counts=mini.counts)
    known.datasets[name] = made
    return made


def bring(known: Catalog, name: str, **more: Any) -> str:
    return fetch.fetch(name, known, nothing, fetch.How(lambda *_: "", **more))


def pixels(root: Path, found: index.Index) -> list[np.ndarray]:
    """Of each image, batch row and mask."""
    rows = [images.Images(root, split.items, [0] * len(split.items)) for split in found.splits.values()]
    masks = [str(label) for split in found.splits.values() for label in split.labels if isinstance(label, str)]
    opened = [images.looked_at(root / mask, lambda image: np.array(image)) for mask in masks]
    return [*(one[row] for one in rows for row in range(len(one))), *opened]


def test_none_is_forgotten() -> None:
    assert MINIATURES.keys() | LISTED | CogLevels == set(FETCHED)


@pytest.mark.parametrize("name", MINIATURES)
def test_fetched_checked_packed(name: str, known: Catalog, site: Site, tmp_path: Path) -> None:
    entry = known.datasets[name]
    one = miniature(known, name, MINIATURES[name].make(), site, tmp_path / "hand")
    assert [data.file_name(held.urls[0]) for held in entry.archives] == list(MINIATURES[name].make())
    by_hand = {"given": tmp_path / "hand"} if (tmp_path / "hand").is_dir() else {}
    root = known.store.data / one.path
    if by_hand:  # first without, and nothing looks as if it were there
        with pytest.raises(
            Refusal, match=rf"{name}: open {one.page} in a browser, bring .* into a folder, then: launch"
        ):
            bring(known, name)
        assert not root.exists()
    told = bring(known, name, **by_hand)
    assert told.startswith(f"{name}: {root}, ") and told.endswith(f", as published (licence {one.licence})")
    assert sum("/gone/" not in path for path in site.asked) == len(site)  # each once
    assert not (known.store.data / data.ARCHIVES / one.path.replace("/", "-")).exists()

    found = check.look(adhoc.place(name, known))
    assert (found.faults, found.told[-1]) == ([], "classes and counts are the published ones")
    before = adhoc.read(one.layout, root)
    files = check.files(before)
    if one.layout != "cifar":
        assert not [fault for fault in opening.opened(root, files, decode=True, threads=2) if fault]

    asked = len(site.asked)
    assert bring(known, name) == f"{name}: is there, {root}"
    assert len(site.asked) == asked

    digest, seen = index.digest(before, root), pixels(root, before)
    place = adhoc.place(name, known)
    if one.layout == "cifar":
        with pytest.raises(Refusal, match=r"its images are in \d files already: nothing to pack"):
            pack.pack(place, 1, nothing)
        return
    assert pack.pack(place, 1, nothing).startswith(f"{root.name}: ")
    root.rename(tmp_path / "gone")
    after = adhoc.read(one.layout, root)
    assert after == before
    assert index.digest(after, root) == digest
    assert all(np.array_equal(*pair) for pair in zip(seen, pixels(root, after), strict=True))
    assert check.look(place).faults == []
    assert "is there, packed in" in bring(known, name)


@pytest.mark.parametrize("name", ["flowers", "imagenet1k", "voc0712"])
def test_from_a_folder_of_archives_that_stay(name: str, known: Catalog, tmp_path: Path) -> None:
    one = miniature(known, name, MINIATURES[name].make(), None, tmp_path / "have")
    before = {path: path.read_bytes() for path in (tmp_path / "have").iterdir()}
    assert "as published" in bring(known, name, mirror=tmp_path / "have")
    assert {path: path.read_bytes() for path in (tmp_path / "have").iterdir()} == before
    found = adhoc.read(one.layout, known.store.data / one.path)
    if name == "imagenet1k":  # by the ground truth, whose order is not that of the WNIDs
        assert "val/n00001440764/" not in found.splits["test"].items[0]
        assert found.splits["test"].items[0] == f"val/{found.classes[0]}/ILSVRC2012_val_00001000.JPEG"
        assert found.splits["train"].items[0] == f"train/{found.classes[0]}/{found.classes[0]}_1.JPEG"


def test_imagenet_without_ground_truth_says_what_to_bring(known: Catalog, tmp_path: Path) -> None:
    held = MINIATURES["imagenet1k"].make()
    one = miniature(known, "imagenet1k", held, None, tmp_path / "have")
    kit = tmp_path / "have/ILSVRC2012_devkit_t12.tar.gz"
    content = kit.read_bytes()
    kit.unlink()
    with pytest.raises(Refusal, match=r"bring ILSVRC2012_devkit_t12.tar.gz into a folder, then: launch.py fetch im"):
        bring(known, "imagenet1k", given=tmp_path / "have")
    (tmp_path / "other").mkdir()  # what was unpacked is not asked for again
    (tmp_path / "other/ILSVRC2012_devkit_t12.tar.gz").write_bytes(content)
    assert "as published" in bring(known, "imagenet1k", given=tmp_path / "other")
    root = known.store.data / one.path
    # Kaggle's list does, too, for somebody who has the images.
    loose = sorted((root / "val").rglob("*.JPEG"))
    rows = "".join(f"{path.stem},{path.parent.name} 1 2 3 4\n" for path in loose)
    for path in loose:
        path.rename(root / "val" / path.name)
    before = adhoc.settle, (root / "LOC_val_solution.csv").write_text(f"ImageId,PredictionString\n{rows}")
    assert before
    shutil.rmtree(root / "ILSVRC2012_devkit_t12")
    adhoc.settle("imagenet", root)
    assert sorted((root / "val").rglob("*.JPEG")) == loose


def test_parts_of_imagenet_share_its_folder(known: Catalog, site: Site, tmp_path: Path) -> None:
    miniature(known, "imagenet1k", MINIATURES["imagenet1k"].make(), None, tmp_path / "have")
    name = "imagenet1k-1percent"
    site["/1percent.txt"] = b"n01440764_2.JPEG\nn01440765_1.JPEG\n"
    archives = (Archive((f"{site.address}/1percent.txt",)),)
    known.datasets[name] = replace(known.datasets[name], archives=archives, counts={"train": 2, "test": 1000})
    with pytest.raises(
        Refusal, match=r"the folder holds 1percent.txt; expected val/WNID.* it takes imagenet1k's folder, and"
    ):
        bring(known, name)
    assert "as published" in bring(known, "imagenet1k", mirror=tmp_path / "have")
    assert "as published" in bring(known, name)
    assert site.asked == ["/1percent.txt"]
    found = adhoc.read("imagenet/1percent", known.store.data / "imagenet1k")
    assert found.splits["train"].labels == [0, 1]

    # Packed, they share the shards, too.
    for layout in ("imagenet1k", name):
        pack.pack(adhoc.place(layout, known), 1, nothing)
    held = packing.folder(known.store.data / "imagenet1k")
    shards = [path.name for path in held.glob("*.tar")]
    assert sorted(path.name for path in held.iterdir()) == sorted(
        ["imagenet-1percent.index", "imagenet.index", *shards]
    )
    assert sum(shard.startswith("train") for shard in shards) == 1
    (known.store.data / "imagenet1k").rename(tmp_path / "gone")
    assert adhoc.read("imagenet/1percent", known.store.data / "imagenet1k") == found


def test_years_of_voc_share_what_was_brought(known: Catalog, site: Site, tmp_path: Path) -> None:
    names, held = ("voc2007", "voc0712", "voc2012aug"), MINIATURES["voc0712"].make() | MINIATURES["voc2012aug"].make()
    for name in names:
        miniature(known, name, held, site, tmp_path / "hand")
    assert "as published" in bring(known, "voc2007")
    asked = len(site.asked)
    assert "as published" in bring(known, "voc0712")
    assert ["2012" in path for path in site.asked[asked:]] == [True, True]  # the dead address, and the right one
    assert "as published" in bring(known, "voc2012aug")
    assert not [path for path in site.asked[asked + 2 :] if "VOCtrainval" in path]
    for name in names:
        assert bring(known, name).startswith(f"{name}: is there")
    root = known.store.data / "VOCdevkit"
    assert sorted(path.name for path in root.iterdir() if path.name[0] != ".") == ["VOC2007", "VOC2012"]


def test_pets_and_their_masks_are_brought_once(known: Catalog, site: Site, tmp_path: Path) -> None:
    for name in ("pets", "pets-trimaps"):
        miniature(known, name, MINIATURES["pets"].make(), site, tmp_path / "hand")
    assert "as published" in bring(known, "pets")
    asked = len(site.asked)
    assert "as published" in bring(known, "pets-trimaps")
    assert len(site.asked) == asked


# ---- what goes wrong


def test_an_archive_that_fails_leaves_the_others_for_the_next_call(known: Catalog, site: Site, tmp_path: Path) -> None:
    one = miniature(known, "flowers", MINIATURES["flowers"].make(), site, tmp_path / "hand")
    path = next(path for path in site if path.endswith("setid.mat"))
    content = site.pop(path)
    root = known.store.data / one.path
    with pytest.raises(Refusal) as refused:
        bring(known, "flowers")
    told = str(refused.value)
    assert "\n" not in told
    assert told.startswith("flowers: setid.mat could not be brought: ")
    assert told.count("404") == 2
    assert "launch.py fetch flowers --from FOLDER" in told
    assert not root.exists()
    asked = len(site.asked)
    site[path] = content
    assert "as published" in bring(known, "flowers")
    assert {path.rpartition("/")[2] for path in site.asked[asked:]} == {"setid.mat"}


def test_a_wrong_file_is_not_unpacked(known: Catalog, site: Site, tmp_path: Path) -> None:
    one = miniature(known, "dtd", MINIATURES["dtd"].make(), site, tmp_path / "hand")
    (path,) = site
    right, site[path] = site[path], packed("a.tar.gz", {"dtd/evil": b"1"})
    with pytest.raises(Refusal, match=r"dtd-r1.0.1.tar.gz could not be brought: .*: its MD5 is \w+\.\.\., not "):
        bring(known, "dtd")
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/dtd-r1.0.1.tar.gz").write_bytes(site[path])
    with pytest.raises(Refusal, match="its MD5 is"):
        bring(known, "dtd", mirror=tmp_path / "mirror")
    site[path] = b"<!DOCTYPE html><html>Sign in</html>"
    with pytest.raises(Refusal, match="is a web page, not the file"):
        bring(known, "dtd")
    assert not (known.store.data / one.path).exists()
    site[path] = right
    assert "as published" in bring(known, "dtd", keep=True)
    assert (known.store.data / data.ARCHIVES / "dtd/dtd-r1.0.1.tar.gz").read_bytes() == right
    shutil.rmtree(known.store.data / "dtd")
    asked = len(site.asked)
    assert "as published" in bring(known, "dtd")  # of what was kept
    assert len(site.asked) == asked
    assert not (known.store.data / data.ARCHIVES / "dtd").exists()


def test_counts_that_are_not_the_published_ones(known: Catalog, site: Site, tmp_path: Path) -> None:
    one = miniature(known, "dtd", MINIATURES["dtd"].make(), site, tmp_path / "hand")
    known.datasets["dtd"] = replace(one, counts=one.counts | {"val": 3})
    for _ in range(2):
        with pytest.raises(
            Refusal, match=r"dtd: .*/dtd has images {'train': 4, 'val': 2, .*'val': 3, .*; all is unpacked"
        ):
            bring(known, "dtd")
    found = check.look(adhoc.place("dtd", known))
    assert len(found.faults) == 1 and "'val': 3" in found.faults[0]


def test_nothing_is_written_through_a_link(known: Catalog, site: Site, tmp_path: Path) -> None:
    one = miniature(known, "dtd", MINIATURES["dtd"].make(), site, tmp_path / "hand")
    root, mine = known.store.data / one.path, tmp_path / "mine"
    mine.mkdir()
    root.mkdir(parents=True)
    (root / "images").symlink_to(mine)
    with pytest.raises(
        Refusal, match=r"dtd: 1 of its files are there already, as others \(.*/dtd/images\); move these"
    ):
        bring(known, "dtd")
    assert not list(mine.iterdir())
    (root / "images").unlink()
    root.rmdir()
    root.symlink_to(mine)
    with pytest.raises(Refusal, match=r"dtd: .*/dtd is a link to .*/mine, where nothing is written"):
        bring(known, "dtd")
    assert not list(mine.iterdir())
    root.unlink()
    asked = len(site.asked)
    assert "as published" in bring(known, "dtd")
    assert len(site.asked) == asked  # what was unpacked then


def test_what_the_user_has_there_is_not_overwritten(known: Catalog, site: Site, tmp_path: Path) -> None:
    one = miniature(known, "dtd", MINIATURES["dtd"].make(), site, tmp_path / "hand")
    root = known.store.data / one.path
    (root / "images/banded").mkdir(parents=True)
    (root / "images/banded/banded_1.jpg").write_bytes(b"another")
    (root / "notes.txt").write_bytes(b"mine")
    with pytest.raises(Refusal, match=r"1 of its files are there already, as others \(.*banded_1.jpg\)"):
        bring(known, "dtd")
    assert [path.name for path in root.rglob("*") if path.is_file()] != []
    (root / "images/banded/banded_1.jpg").unlink()
    assert "as published" in bring(known, "dtd")
    assert (root / "notes.txt").read_bytes() == b"mine"


def test_an_archive_cannot_say_that_it_is_whole(known: Catalog, site: Site, tmp_path: Path) -> None:
    held = MINIATURES["pets"].make()
    forged = b'{"unpacked": [{"file": "annotations.tar.gz", "base": "pets"}], "whole": ["pets"]}'
    held["images.tar.gz"] = {**held["images.tar.gz"], data.RECORD: forged}  # type: ignore[dict-item]
    miniature(known, "pets", held, site, tmp_path / "hand")
    assert "as published" in bring(known, "pets")
    assert (known.store.data / "pets/annotations/test.txt").is_file()


def test_without_room_nothing_is_there(known: Catalog, site: Site, tmp_path: Path, monkeypatch: Any) -> None:
    miniature(known, "dtd", MINIATURES["dtd"].make(), site, tmp_path / "hand")
    with monkeypatch.context() as patch:
        patch.setattr("suite.disk.shutil.disk_usage", lambda _: type("Disk", (), {"free": 100}))
        with pytest.raises(Refusal, match="make room there"):
            bring(known, "dtd")
    assert not (known.store.data / "dtd").exists()
    assert "as published" in bring(known, "dtd")


def test_a_kill_while_it_is_unpacked(known: Catalog, site: Site, tmp_path: Path, monkeypatch: Any) -> None:
    one = miniature(known, "pets", MINIATURES["pets"].make(), site, tmp_path / "hand")
    whole: Callable[..., None] = archive.whole

    def killed(path: Path, folder: Path, progress: Any) -> None:
        whole(path, folder, progress)
        if path.name == "annotations.tar.gz":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("suite.archive.whole", killed)
        with pytest.raises(KeyboardInterrupt):
            bring(known, "pets")
    assert not (known.store.data / one.path).exists()
    asked = len(site.asked)
    assert "as published" in bring(known, "pets")
    assert len(site.asked) == asked  # both archives were there


def test_two_at_once_bring_it_once(known: Catalog, site: Site, tmp_path: Path) -> None:
    miniature(known, "pets", MINIATURES["pets"].make(), site, tmp_path / "hand")
    told, waited = list[str](), list[str]()
    threads = [threading.Thread(target=lambda: told.append(bring(known, "pets", tell=waited.append))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted("as published" in line for line in told) == [False, False, True]
    assert sum("/gone/" not in path for path in site.asked) == 2
    assert set(waited) <= {"another fetch is at pets: waiting for it"}


# ---- a folder that the user has


def unpacked(tmp_path: Path, known: Catalog, name: str) -> Path:
    """A data set as its archives unpack, in a folder of the user's."""
    one = miniature(known, name, MINIATURES[name].make(), None, tmp_path / "archives")
    for path in sorted((tmp_path / "archives").iterdir()):
        if archive.NAMED.search(path.name):
            archive.whole(path, tmp_path / "aside", nothing)
            shutil.copytree(tmp_path / "aside", tmp_path / "mine", dirs_exist_ok=True)
            shutil.rmtree(tmp_path / "aside")
        else:
            (tmp_path / "mine").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "mine" / path.name)
    shutil.rmtree(tmp_path / "archives")
    assert one
    return tmp_path / "mine"


@pytest.mark.parametrize(
    ("name", "given", "to"),
    [
        ("dtd", "", "dtd"),
        ("dtd", "dtd", "dtd"),
        ("dtd", "dtd/images", "dtd"),
        ("pets", "", ""),
        ("pets", "images", ""),
        ("aircraft", "fgvc-aircraft-2013b", "fgvc-aircraft-2013b"),
        ("voc2007", "VOCdevkit", "VOCdevkit/VOC2007"),
        ("voc0712", "VOCdevkit", "VOCdevkit"),
        ("cifar10", "", ""),
        ("tiny-imagenet", "", "tiny-imagenet-200"),
        ("voc2007", "", "VOCdevkit/VOC2007"),  # not the folder around it, which the layout can read, too
    ],
)
def test_a_folder_is_linked(name: str, given: str, to: str, known: Catalog, tmp_path: Path) -> None:
    mine = unpacked(tmp_path, known, name)
    before = sorted(mine.rglob("*"))
    told = bring(known, name, given=mine / given)
    root = known.store.data / known.datasets[name].path
    assert root.is_symlink() and root.resolve() == mine / to
    assert told.startswith(f"{name}: {root}, a link to {mine / to}") and told.endswith("as published")
    assert bring(known, name, given=mine / given) == f"{name}: is there, {root}, a link to {mine / to}"
    assert sorted(mine.rglob("*")) == before
    assert check.look(adhoc.place(name, known)).faults == []


def test_a_folder_of_packed_shards_is_linked(known: Catalog, tmp_path: Path) -> None:
    mine = unpacked(tmp_path, known, "pets")
    pack.pack(adhoc.Place("pets", mine, None), 1, nothing)
    shutil.rmtree(mine)
    told = bring(known, "pets", given=packing.folder(mine))
    root = known.store.data / "pets"
    assert told.startswith(f"pets: {root}.packed, a link to {mine}.packed")
    assert bring(known, "pets") == f"pets: is there, packed in {root}.packed"
    assert len(pixels(root, adhoc.read("pets", root))) == 4


def test_a_folder_that_is_not_the_data_set(known: Catalog, tmp_path: Path) -> None:
    mine = unpacked(tmp_path, known, "dtd") / "dtd"
    (mine / "images/banded/banded_4.jpg").unlink()
    with pytest.raises(Refusal, match=r"dtd: .*/dtd 1 listed images are not there .*--datasets dtd:.*/mine/dtd$"):
        bring(known, "dtd", given=mine)
    with pytest.raises(Refusal, match=rf"pets: {mine} has the layout dtd, not pets; .* as --datasets dtd:{mine}$"):
        bring(known, "pets", given=mine)
    empty = tmp_path / "empty/inner"
    empty.mkdir(parents=True)
    with pytest.raises(
        Refusal, match=r"holds nothing; expected the files images.tar.gz, annotations.tar.gz, or a fold"
    ):
        bring(known, "pets", given=empty)
    with pytest.raises(Refusal, match="no such file or folder"):
        bring(known, "pets", given=tmp_path / "none")
    assert not (known.store.data / "dtd").exists()
    assert not (known.store.data / "pets").exists()


def test_a_single_archive_of_another_name(known: Catalog, tmp_path: Path) -> None:
    miniature(known, "dtd", MINIATURES["dtd"].make(), None, tmp_path / "have")
    renamed = (tmp_path / "have/dtd-r1.0.1.tar.gz").rename(tmp_path / "download (1).tar.gz")
    assert "as published" in bring(known, "dtd", given=renamed)
    miniature(known, "pets", MINIATURES["pets"].make(), None, tmp_path / "pets")
    odd = (tmp_path / "pets/images.tar.gz").rename(tmp_path / "archive.tar.gz")
    (tmp_path / "broken.tar.gz").write_bytes(b"1")
    with pytest.raises(
        Refusal, match=r"^dtd: broken.tar.gz could not be brought: .*; bring broken.tar.gz into a folder"
    ):
        bring(Catalog(Store(tmp_path / "other")), "dtd", given=tmp_path / "broken.tar.gz")
    with pytest.raises(Refusal, match=r"archive.tar.gz is none of images.tar.gz, annotations.tar.gz; name one"):
        bring(known, "pets", given=odd)


def test_a_data_set_of_which_no_archive_is_published(known: Catalog, tmp_path: Path) -> None:
    name, entry = "cropdiseases", known.datasets["cropdiseases"]
    known.datasets[name] = replace(entry, classes=2, counts={"train": 8, "test": 2})
    with pytest.raises(Refusal) as refused:
        bring(known, name)
    told = f"cropdiseases: open {entry.page} in a browser, bring the folder dataset/ of Kaggle's"
    assert str(refused.value).startswith(told)
    assert not (known.store.data / entry.path).exists()
    kinds = ("Apple___Apple_scab", "Corn_(maize)___healthy")
    files = {f"dataset/train/{kind}/{number}.JPG": photo(number) for kind in kinds for number in range(5)}
    (tmp_path / "archive.zip").write_bytes(packed("archive.zip", files))
    assert "as published" in bring(known, name, given=tmp_path / "archive.zip")


def test_a_whole_of_which_a_part_was_linked_before(known: Catalog, tmp_path: Path) -> None:
    mine = unpacked(tmp_path, known, "voc0712")
    years = MINIATURES["voc2007"]
    known.datasets["voc2007"] = replace(known.datasets["voc2007"], classes=years.classes, counts=years.counts)
    bring(known, "voc2007", given=mine)
    root = known.store.data / "VOCdevkit"
    assert not root.is_symlink()
    assert f"{root}, a link to {mine / 'VOCdevkit'}, " in bring(known, "voc0712", given=mine)
    for name in ("voc2007", "voc0712"):
        assert check.look(adhoc.place(name, known)).faults == []
        assert bring(known, name).startswith(f"{name}: is there")


def test_a_part_that_is_linked_is_not_the_whole(known: Catalog, tmp_path: Path) -> None:
    other = unpacked(tmp_path, known, "voc0712").rename(tmp_path / "other")
    mine = unpacked(tmp_path, known, "voc2007")
    bring(known, "voc2007", given=mine)
    with pytest.raises(Refusal, match=r"VOCdevkit is there, and not the whole data set; move it away"):
        bring(known, "voc0712", given=other)
    assert (known.store.data / "VOCdevkit/VOC2007").resolve() == mine / "VOCdevkit/VOC2007"


@pytest.mark.parametrize("given", ["", "caltech-101.zip", "caltech-101", "caltech-101/101_ObjectCategories.tar.gz"])
def test_caltech101_as_its_page_has_it(given: str, known: Catalog, tmp_path: Path) -> None:
    entry = known.datasets["caltech101"]
    (held,) = MINIATURES["caltech101"].make().values()
    one = miniature(known, "caltech101", {"caltech_101.tgz": held}, None, tmp_path / "as_tgz")
    tar = (tmp_path / "as_tgz/caltech_101.tgz").read_bytes()
    inner = "101_ObjectCategories.tar.gz"
    (tmp_path / "have/caltech-101").mkdir(parents=True)
    if given.startswith("caltech-101/") or given == "caltech-101":
        (tmp_path / "have/caltech-101" / inner).write_bytes(tar)
    files: Files = {f"caltech-101/{inner}": tar, "caltech-101/show_annotation.m": b"1", f"__MACOSX/._{inner}": b"2"}
    (tmp_path / "have/caltech-101.zip").write_bytes(packed("caltech-101.zip", files))
    with pytest.raises(
        Refusal, match=rf"open {entry.page} in a browser, bring caltech-101.zip \(or {inner}.* a folder"
    ):
        bring(known, "caltech101", mirror=tmp_path)
    before = sorted((tmp_path / "have").rglob("*"))
    assert "as published" in bring(known, "caltech101", given=tmp_path / "have" / given)
    assert sorted((tmp_path / "have").rglob("*")) == before
    assert check.look(adhoc.place("caltech101", known)).faults == []
    assert not (known.store.data / data.ARCHIVES / one.path).exists()


def test_a_zip_around_another_archive_than_the_published(known: Catalog, tmp_path: Path) -> None:
    miniature(known, "caltech101", MINIATURES["caltech101"].make(), None, tmp_path / "as_tgz")
    odd = packed("a.tar.gz", photos("101_ObjectCategories/Faces_easy/a.jpg"))
    files: Files = {"caltech-101/101_ObjectCategories.tar.gz": odd}
    (tmp_path / "caltech-101.zip").write_bytes(packed("caltech-101.zip", files))
    with pytest.raises(Refusal, match=r"could not be brought: .*/caltech-101.zip: its SHA-256 is"):
        bring(known, "caltech101", given=tmp_path / "caltech-101.zip")
    assert not [path for path in known.store.data.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("imagenet1k-1percent", r"bring 1percent.txt \(https://raw.githubusercontent.com/\S+/1percent.txt\) into"),
        ("imagenet1k-10percent", r"bring 10percent.txt \(https://raw.githubusercontent.com/\S+/10percent.txt\) into"),
        ("cars", r"open https://www.kaggle.com/\S+ in a browser, bring stanford_cars/, as Kaggle's archive unpacks"),
    ],
)
def test_what_is_to_be_brought_is_where_it_is_said_to_be(name: str, told: str, known: Catalog, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=told) as refused:
        bring(known, name, mirror=tmp_path)
    assert "image-net.org" not in str(refused.value)


@pytest.mark.parametrize("inner", ["", "winter21_whole/"])
def test_a_folder_of_tars_by_class(inner: str, known: Catalog, tmp_path: Path) -> None:
    held = MINIATURES["cog-l3"].make()
    one = miniature(known, "cog-l3", held, None, tmp_path / "have")
    (tmp_path / "have/winter21_whole.tar.gz").unlink()
    tars = {path.removeprefix("winter21_whole/"): tar for path, tar in held["winter21_whole.tar.gz"].items()}  # type: ignore[union-attr]
    (tmp_path / "have" / inner).mkdir(exist_ok=True)
    for name, tar in tars.items():
        (tmp_path / "have" / inner / name).write_bytes(tar)
    with pytest.raises(LayoutError, match=r"2 of them are there as a tar; .*, as launch.py fetch cog-l1 --from FOLDER"):
        adhoc.read(one.layout, tmp_path / "have")
    damaged = tmp_path / "have" / inner / min(tars)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:700])
    with pytest.raises(Refusal, match=rf"winter21_whole.tar.gz could not be brought: .*: {damaged.name} is no whole"):
        bring(known, "cog-l3", given=tmp_path / "have")
    damaged.write_bytes(content)
    before = sorted((tmp_path / "have").rglob("*"))
    assert "as published" in bring(known, "cog-l3", given=tmp_path / "have")
    assert sorted((tmp_path / "have").rglob("*")) == before
    assert check.look(adhoc.place("cog-l3", known)).faults == []
    assert bring(known, "cog-l3").startswith("cog-l3: is there")


@pytest.mark.parametrize(
    ("name", "inner"),
    [("pets", "oxford-iiit-pet"), ("pets-trimaps", "oxford-iiit-pet"), ("dtd", ""), ("dtd", "dtd")],
)
def test_as_torchvision_unpacks_it(name: str, inner: str, known: Catalog, tmp_path: Path) -> None:
    mine = unpacked(tmp_path, known, name)
    (tmp_path / "root").mkdir()
    mine.rename(tmp_path / "root" / inner if inner else tmp_path / "one")
    root = tmp_path / "root" if inner else tmp_path / "one"
    found = check.look(adhoc.Place(known.datasets[name].layout, root, known.datasets[name]))
    assert (found.faults, found.told[-1]) == ([], "classes and counts are the published ones")
    assert len(pixels(root, adhoc.read(known.datasets[name].layout, root))) >= 4
    assert "as published" in bring(known, name, given=root)


def test_voc_of_a_year_beside_another(known: Catalog, tmp_path: Path) -> None:
    """The folder of both years is not one of them; in it there is one."""
    files = voc(2007, train="a", val="b", test="c") | voc(2012, train="d", val="e")
    (tmp_path / "voc.tar").write_bytes(packed("voc.tar", files))
    archive.whole(tmp_path / "voc.tar", tmp_path / "mine", nothing)
    known.datasets["voc2007"] = replace(known.datasets["voc2007"], classes=2, counts={"train": 1, "val": 1, "test": 1})
    bring(known, "voc2007", given=tmp_path / "mine/VOCdevkit")
    assert (known.store.data / "VOCdevkit/VOC2007").resolve() == tmp_path / "mine/VOCdevkit/VOC2007"
