"""ImageNet-CoG's layout against miniatures of the published pickles, and its messages."""

import importlib
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
from folders import write

from suite import adhoc
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.index import LayoutError, Split, digest
from suite.layouts import cog
from suite.store import Store

# ---- pickles as Python 3.7 and numpy 1.18 wrote them, opcode by opcode


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def array(names: list[str], order: str = "<") -> bytes:
    width = max(map(len, names))
    raw = b"".join(name.ljust(width, "\0").encode("utf-32-le" if order == "<" else "utf-32-be") for name in names)
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    kind = b"cnumpy\ndtype\n" + text(f"U{width}") + b"K\x00K\x01\x87R(K\x03" + text(order) + b"NNN"
    kind += b"J" + struct.pack("<i", 4 * width) + b"K\x04K\x08tb"
    shape = b"J" + struct.pack("<i", len(names)) + b"\x85"
    return reconstruct + b"(K\x01" + shape + kind + b"\x89B" + struct.pack("<I", len(raw)) + raw + b"tb"


def mapping(entries: dict[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def pickled(value: bytes) -> bytes:
    return b"\x80\x03" + value + b"."


LEVELS = [[f"n{level}000000{number}" for number in (2, 1)] for level in range(1, 6)]


def concept(wnid: str, lead: str = "") -> dict[str, list[str]]:
    files = {"train": ["30", "7", "100"], "test": ["8"]}
    return {split: [f"{lead}{wnid}/{wnid}_{number}.JPEG" for number in numbers] for split, numbers in files.items()}


def cog_set(root: Path, lead: str = "", order: str = "<", folder: str = "{wnid}") -> Path:
    listed = {wnid: concept(wnid, lead) for level in LEVELS for wnid in level}
    for wnid in LEVELS[2]:
        files = [name.split("/")[-1] for names in concept(wnid).values() for name in names]
        write(root, {f"{folder.format(wnid=wnid)}/{name}": f"photo {name}" for name in files})
    (root / cog.LEVELS).write_bytes(pickle.dumps(LEVELS, 3))
    entries = {
        wnid: mapping({split: array(names, order) for split, names in held.items()}) for wnid, held in listed.items()
    }
    (root / cog.LISTS).write_bytes(pickled(mapping(entries)))
    return root


# ---- the layout


@pytest.fixture
def known(tmp_path: Path) -> Catalog:
    return Catalog(Store(tmp_path / "store"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("lead", ["", "/", "\\"])
@pytest.mark.parametrize("folder", ["{wnid}", "{wnid}/{wnid}", "winter21_whole/{wnid}"])
def test_cog(order: str, lead: str, folder: str, tmp_path: Path) -> None:
    index = cog.index(cog_set(tmp_path, lead, order, folder), "l3")
    first, second = "n30000001", "n30000002"
    assert index.classes == [first, second]
    places = [folder.format(wnid=wnid) for wnid in index.classes]
    assert index.splits["test"] == Split(
        [f"{places[0]}/{first}_8.JPEG", f"{places[1]}/{second}_8.JPEG"],
        [0, 1],
    )
    assert index.splits["train"].items[:3] == [f"{places[0]}/{first}_{number}.JPEG" for number in (100, 30, 7)]
    assert index.splits["train"].labels == [0, 0, 0, 1, 1, 1]


def test_cog_as_numpy_writes_it(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    expected = cog.index(cog_set(tmp_path), "l3")
    listed = {wnid: concept(wnid) for level in LEVELS for wnid in level}
    for kind in ("U", "S", ">U40", object):
        made = {wnid: {s: numpy.array(names, dtype=kind) for s, names in one.items()} for wnid, one in listed.items()}
        for protocol in (2, 3, 4):
            (tmp_path / cog.LISTS).write_bytes(pickle.dumps(made, protocol))
            assert cog.index(tmp_path, "l3") == expected
    (tmp_path / cog.LEVELS).write_bytes(pickle.dumps([numpy.array(level) for level in LEVELS]))
    assert cog.index(tmp_path, "l3") == expected


def test_no_other_layout_recognises_it(tmp_path: Path) -> None:
    root = cog_set(tmp_path)
    names = sorted(path.stem for path in Path(cog.__file__).parent.glob("[a-z]*.py") if path.stem != "images")
    assert [name for name in names if importlib.import_module(f"suite.layouts.{name}").recognise(root)] == ["cog"]


def test_cog_is_five_sets_in_a_folder(tmp_path: Path, known: Catalog) -> None:
    root = cog_set(tmp_path / "cog")
    for text_ in (f"cog/l3:{root}", f"cog-l3:{root}"):
        found = adhoc.dataset(text_, known)
        assert (found.layout, found.classes, found.counts) == ("cog/l3", 2, {"train": 6, "test": 2})
        assert found.digest == digest(cog.index(root, "l3"), root)
    for text_ in (str(root), f"cog:{root}"):
        with pytest.raises(LayoutError, match=r"holds the levels l1, l2, l3, l4, l5; expected one .* as cog/l1:"):
            adhoc.dataset(text_, known)
    with pytest.raises(Refusal, match=r"unknown layout 'cog/l6'; did you mean cog/l"):
        adhoc.dataset(f"cog/l6:{root}", known)


def test_cog_messages(tmp_path: Path) -> None:
    root = cog_set(tmp_path)
    with pytest.raises(LayoutError, match=r"2 of 2 concepts have no folder \(n10000001, n10000002\); expected WNID/"):
        cog.index(root, "l1")
    write(root, {"n10000001.tar": ""})
    with pytest.raises(LayoutError, match=r"n10000002\); 1 of them are there as a tar; .* unpack each WNID.tar"):
        cog.index(root, "l1")
    (root / "n30000001/n30000001_30.JPEG").unlink()
    with pytest.raises(LayoutError, match=r"1 listed images are not there \(n30000001/n30000001_30.JPEG\)"):
        cog.index(root, "l3")


@pytest.mark.parametrize(
    ("file", "held", "message"),
    [
        (
            cog.LEVELS,
            LEVELS[:4],
            "mapping_file.pkl: no list of five lists; expected the pickle of ImageNet-CoG as it was",
        ),
        (cog.LEVELS, [["a"]] * 5, "no WNIDs, each once, but a"),
        (cog.LEVELS, [LEVELS[0] * 2] * 5, "no WNIDs, each once"),
        (cog.LEVELS, [3] * 5, "something else than a list of names"),
        (cog.LISTS, [], "split_file.pkl: no train and test of n30000001"),
        (cog.LISTS, {"n30000001": {"train": ["a"]}}, "no train and test of n30000001"),
        (cog.LISTS, {"n30000001": {"train": ["a"], "test": []}}, "no image in test of n30000001"),
        (cog.LISTS, {"n30000001": {"train": [7], "test": ["a"]}}, "something else than a list of names"),
    ],
)
def test_cog_messages_of_pickles(file: str, held: Any, message: str, tmp_path: Path) -> None:
    (cog_set(tmp_path) / file).write_bytes(pickle.dumps(held))
    with pytest.raises(LayoutError, match=message):
        cog.index(tmp_path, "l3")


def test_cog_runs_nothing(tmp_path: Path) -> None:
    root, mark = cog_set(tmp_path / "cog"), tmp_path / "ran"
    whole = (root / cog.LISTS).read_bytes()
    for made, message in {
        b"cposix\nsystem\n(S'touch " + bytes(mark) + b"'\ntR.": "cannot be read: it would run 'posix.system'; expected",
        whole[:-300]: "cannot be read: pickle data was truncated; expected",
        b"<html>": "cannot be read: .*; expected the pickle",
    }.items():
        (root / cog.LISTS).write_bytes(made)
        with pytest.raises(LayoutError, match=message):
            cog.index(root, "l3")
    assert not mark.exists()
