"""MAT-files: what MATLAB writes is read, against scipy too, and what is damaged is told."""

import time
from pathlib import Path
from typing import Any

import mat_writer
import pytest

from suite import matfile
from suite.index import LayoutError

VALUES = {
    "labels": [77, 1, 102, 255, 0],
    "ids": [1, 300, 8189],
    "ratio": [0.5, -1.0],
    "title": "Ram C/V Cargo Van — 2012",
    "class_names": ("AM General Hummer SUV 2000", "ML", ""),
    "annotations": [{"fname": "00001.jpg", "class": 14, "box": [3, 600]}, {"fname": "00002.jpg", "class": 3, "box": 1}],
    "nothing": [],
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [True, False])
def test_values(order: str, compressed: bool, tmp_path: Path) -> None:
    held = matfile.read(mat_writer.write(tmp_path / "a.mat", VALUES, order=order, compressed=compressed))
    assert held.numbers("labels") == [77, 1, 102, 255, 0]
    assert held.numbers("ids") == [1, 300, 8189]
    assert held.held["ratio"] == [0.5, -1.0]
    assert held.numbers("nothing") == []
    assert held.text("title") == "Ram C/V Cargo Van — 2012"
    assert held.texts("class_names") == ["AM General Hummer SUV 2000", "ML", ""]
    rows = held.structs("annotations")
    assert [(row.text("fname"), row.number("class"), row.numbers("box")) for row in rows] == [
        ("00001.jpg", 14, [3, 600]),
        ("00002.jpg", 3, [1]),
    ]


@pytest.mark.parametrize("compressed", [True, False])
def test_against_scipy(compressed: bool, tmp_path: Path) -> None:
    scipy_io, numpy = pytest.importorskip("scipy.io"), pytest.importorskip("numpy")
    cells: Any = numpy.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = "cat", "a longer name"
    rows: Any = numpy.zeros((1, 3), dtype=[("fname", object), ("class", object)])
    for number in range(3):
        rows[0, number] = (f"{number}.jpg", numpy.array([[number + 1]], dtype="uint8"))
    written: dict[str, Any] = {
        "flat": numpy.arange(6, dtype="int16").reshape(2, 3),
        "wide": numpy.array([[2**40, -1]], dtype="int64"),
        "yes": numpy.array([[True, False]]),
        "names": cells,
        "rows": rows,
    }
    scipy_io.savemat(tmp_path / "scipy.mat", written, do_compression=compressed)
    held = matfile.read(tmp_path / "scipy.mat")
    assert held.numbers("flat") == [0, 3, 1, 4, 2, 5]  # columns first
    assert held.numbers("wide") == [2**40, -1]
    assert held.numbers("yes") == [1, 0]
    assert held.texts("names") == ["cat", "a longer name"]
    assert [(row.text("fname"), row.number("class")) for row in held.structs("rows")] == [
        ("0.jpg", 1),
        ("1.jpg", 2),
        ("2.jpg", 3),
    ]
    ours = scipy_io.loadmat(mat_writer.write(tmp_path / "ours.mat", VALUES, compressed=compressed), squeeze_me=True)
    assert ours["labels"].tolist() == VALUES["labels"]
    assert ours["class_names"].tolist()[:2] == ["AM General Hummer SUV 2000", "ML"]
    assert ours["annotations"]["fname"].tolist() == ["00001.jpg", "00002.jpg"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + matfile.HDF5, r"version 7.3 \(HDF5\).*save\(FILE"),
        (matfile.HDF5, "version 7.3"),
        (b"", "is empty; expected a MAT-file"),
        (b"<!DOCTYPE html><html>404", "begins with b'<!DOCTYPE html><html'; expected a MAT-file"),
        (b"\0\0\0\0\1\0\0\0", "expected a MAT-file of version 5 to 7"),
    ],
)
def test_what_is_no_such_file(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(LayoutError, match=message):
        matfile.read(tmp_path / "a.mat")


def test_messages_for_values(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="No such file"):
        matfile.read(tmp_path / "none.mat")
    held = matfile.read(mat_writer.write(tmp_path / "a.mat", VALUES))
    with pytest.raises(
        LayoutError, match="no 'tstid' in it, but annotations, class_names, ids, labels, nothing and 2 "
    ):
        held.numbers("tstid")
    for name, getter, message in (
        ("ratio", held.numbers, "'ratio' .* expected whole numbers"),
        ("title", held.numbers, "'title' .* expected an array"),
        ("labels", held.number, "expected one number, not 5"),
        ("labels", held.text, "expected a line of text"),
        ("labels", held.texts, "expected lines of text"),
        ("class_names", held.structs, "expected structs"),
    ):
        with pytest.raises(LayoutError, match=message):
            getter(name)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_that_is_cut_off_anywhere(compressed: bool, tmp_path: Path) -> None:
    """None of them crashes; where the cut falls between two variables, the later ones are absent."""
    whole = mat_writer.write(tmp_path / "a.mat", VALUES, compressed=compressed).read_bytes()
    names = set()
    for end in range(128, len(whole), 3):
        (tmp_path / "a.mat").write_bytes(whole[:end])
        try:
            names.add(len(matfile.read(tmp_path / "a.mat").held))
        except LayoutError as error:
            assert "damaged" in str(error)
    assert max(names) < len(VALUES)


def test_a_file_whose_bytes_were_changed(tmp_path: Path) -> None:
    few = {"names": ("AM General", ""), "rows": [{"fname": "00001.jpg", "class": 300}]}
    whole = mat_writer.write(tmp_path / "a.mat", few, compressed=False).read_bytes()
    for at in range(128, len(whole)):
        for value in (255, whole[at] ^ 8):
            (tmp_path / "a.mat").write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                matfile.read(tmp_path / "a.mat")
            except LayoutError as error:
                assert "damaged" in str(error)


def test_a_complex_array_is_refused(tmp_path: Path) -> None:
    path = mat_writer.write(tmp_path / "a.mat", {}, compressed=False)
    path.write_bytes(path.read_bytes() + mat_writer.array("<", [1], "z", flags=matfile.COMPLEX))
    with pytest.raises(LayoutError, match="class 6, complex, which is not read"):
        matfile.read(path)


def test_as_many_structs_as_cars_has_take_little_time(tmp_path: Path) -> None:
    row = dict.fromkeys(("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class"), 200) | {"fname": "00001.jpg"}
    path = mat_writer.write(tmp_path / "a.mat", {"annotations": [row] * 8144})
    began = time.process_time()
    assert len(matfile.read(path).structs("annotations")) == 8144
    assert time.process_time() - began < 5
