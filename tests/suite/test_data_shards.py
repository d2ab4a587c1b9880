"""What is taken for tar shards, where nobody says so: tars of images, and not an archive that lies in a data set."""

from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import MINIATURES, packed

from suite import adhoc
from suite.catalog import Catalog
from suite.layouts import shards
from suite.store import Store

IMAGES = {"a/1.jpg": b"1", "a/1.cls": b"0", "a/2.jpg": b"2", "a/2.cls": b"1"}


def tar(root: Path, name: str, files: dict[str, bytes]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(packed(name, files))
    return root


@pytest.mark.parametrize(
    ("files", "fits"),
    [
        (IMAGES, True),
        ({"1.cls": b"0", "1.json": b"{}", "1.JPEG": b"1"}, True),
        ({"1.png": b"1"}, True),
        ({"VOC2007/Annotations/1.xml": b"<a/>", "VOC2007/JPEGImages/1.jpg": b"1"}, False),
        ({"n01440764.tar": b"", "n01440765.tar": b""}, False),
        ({"1.txt": b"1"}, False),
    ],
)
def test_tars_of_images_are_shards(files: dict[str, bytes], fits: bool, tmp_path: Path) -> None:
    root = tar(tmp_path / "mine", "train-000000.tar", files)
    assert shards.recognise(root) == fits
    (root / "README.md").write_text("")
    assert shards.recognise(root) == fits
    (root / "images").mkdir()
    assert not shards.recognise(root)


def test_what_is_no_tar(tmp_path: Path) -> None:
    assert not shards.recognise(tmp_path / "none")
    for content in (b"", b"no tar", packed("a.tar.gz", IMAGES)):
        (tmp_path / "a.tar").write_bytes(content)
        assert not shards.recognise(tmp_path)


@pytest.mark.parametrize("name", ["voc2007", "dtd", "pets"])
def test_a_data_set_with_its_archive_in_it(name: str, tmp_path: Path) -> None:
    """It is what it is without."""
    held = MINIATURES[name].make()
    for file, files in held.items():
        assert isinstance(files, dict)
        for member, content in files.items():
            path = tmp_path / "mine" / member.removeprefix("dtd/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (tmp_path / "mine" / f"{file.partition('.')[0]}.tar").write_bytes(packed("a.tar", files))
    known = Catalog(Store(tmp_path / "store"))
    with_it = adhoc.datasets(str(tmp_path / "mine"), known, ("classification", "multilabel"))
    for path in (tmp_path / "mine").glob("*.tar"):
        path.unlink()
    assert adhoc.datasets(str(tmp_path / "mine"), known, ("classification", "multilabel")) == with_it
