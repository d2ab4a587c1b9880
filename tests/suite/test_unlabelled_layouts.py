"""Images without labels, and tar shards."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from suite import adhoc, index
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.index import LayoutError
from suite.layouts import images, shards
from suite.store import Store


def shard(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def labelled(root: Path) -> Path:
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        files = {}
        for number in range(count):
            files[f"{number}.jpg"] = f"{split} {number}".encode()
            files[f"{number}.cls"] = str(number % 2).encode()
        shard(root / f"{split}-000000.tar", files)
    return root


def test_images_at_any_depth_are_for_training(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/2.PNG", "a/deep/1.jpeg", ".hidden.jpg", "words.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = images.index(tmp_path)
    assert found.kind == "images" and found.classes == []
    assert {split: rows.items for split, rows in found.splits.items()} == {
        "train": ["a/2.PNG", "a/deep/1.jpeg", "b.jpg"]
    }
    assert images.recognise(tmp_path)


def test_a_folder_of_images_is_one_only_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(b"x")
    known = Catalog(Store(tmp_path / "store"))
    with pytest.raises(Refusal, match="layout is not recognised"):
        adhoc.dataset(str(tmp_path / "a"), known, ("classification",))
    found = adhoc.dataset(str(tmp_path / "a"), known, ("images",))
    assert (found.layout, found.kind, found.counts) == ("images", "images", {"train": 1})


def test_shards_with_classes(tmp_path: Path) -> None:
    found = shards.index(labelled(tmp_path))
    assert (found.kind, found.classes) == ("classification", ["0", "1"])
    assert {split: len(rows.items) for split, rows in found.splits.items()} == {"train": 4, "val": 2, "test": 2}
    train = found.splits["train"]
    assert (train.items[3], train.labels) == ("train-000000.tar#3", [0, 1, 0, 1])
    name, row = index.locate(train.items[3])
    assert row is not None and shards.read(tmp_path / name, row) == b"train 3"
    assert len(index.digest(found, tmp_path)) == 64


def test_without_a_test_the_validation_shards_are_it(tmp_path: Path) -> None:
    (labelled(tmp_path) / "test-000000.tar").unlink()
    assert set(shards.index(tmp_path).splits) == {"train", "test"}


def test_shards_without_classes_are_for_training(tmp_path: Path) -> None:
    shard(tmp_path / "part-0.tar", {"a/x.y.jpg": b"1", "b/x.y.jpg": b"22", "b/x.y.json": b"{}"})
    found = shards.index(tmp_path)
    assert (found.kind, found.splits["train"].items) == ("images", ["part-0.tar#0", "part-0.tar#1"])
    assert shards.read(tmp_path / "part-0.tar", 1) == b"22"


@pytest.mark.parametrize("how", ["compressed", "cut off", "empty", "no image"])
def test_what_is_no_shard_is_said(how: str, tmp_path: Path) -> None:
    path = tmp_path / "train-0.tar"
    if how == "compressed":
        shard(path, {"1.jpg": b"x"}, "w:gz")
    elif how == "cut off":
        shard(path, {"1.jpg": b"x" * 5000})
        path.write_bytes(path.read_bytes()[:3000])
    elif how == "empty":
        path.touch()
    else:
        shard(path, {"1.txt": b"x"})
    with pytest.raises(LayoutError, match=r"train-0\.tar"):
        shards.index(tmp_path)
