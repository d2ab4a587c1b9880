"""Lists that contradict themselves are refused: one class an image, one label a class."""

import json
from pathlib import Path
from typing import Any

import pytest
from folders import write

from suite.index import LayoutError
from suite.layouts import inaturalist, places205

IMAGES = [{"id": 7, "file_name": "train_val2018/a.jpg"}, {"id": 8, "file_name": "train_val2018/b.jpg"}]
ANNOTATIONS = [{"image_id": 7, "category_id": 0}, {"image_id": 8, "category_id": 1}]
WHOLE: dict[str, list[dict[str, Any]]] = {
    "images": IMAGES,
    "annotations": ANNOTATIONS,
    "categories": [{"id": 0, "name": "Acer"}, {"id": 1, "name": "Apis"}],
}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"annotations": [*ANNOTATIONS, {"image_id": 7, "category_id": 1}]}, "several categories .* of the ids 7"),
        ({"annotations": [*ANNOTATIONS, {"image_id": 9, "category_id": 1}]}, "that are not listed, of the ids 9"),
        ({"images": [*IMAGES, IMAGES[1]]}, r"several images of one id \(8\)"),
    ],
)
def test_inaturalist(more: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, {"train_val2018/a.jpg": "", "train_val2018/b.jpg": "", "val2018.json": json.dumps(WHOLE)})
    inaturalist.index(write(tmp_path, {"train2018.json": json.dumps(WHOLE)}))
    with pytest.raises(LayoutError, match=rf"train2018.json: .*{message}.*; expected one listed category an image"):
        inaturalist.index(write(tmp_path, {"train2018.json": json.dumps(WHOLE | more)}))


SCENES = ["a/abbey/1.jpg 0", "a/arch/2.jpg 1"]


def places_set(root: Path, *lines: str) -> Path:
    files = {f"images256/{line.strip().lstrip('/').rpartition(' ')[0]}": "" for line in (*SCENES, *lines) if line}
    lists = {"train_places205.csv": "\n".join([*SCENES, *lines]), "val_places205.csv": SCENES[0]}
    return write(root, files | lists)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a/abbey/3.jpg 1", "line 'a/abbey/3.jpg 1', but another line has 1 for arch; expected one label a folder"),
        ("a/abbey/old/3.jpg 0", "line 'a/abbey/old/3.jpg 0', but another line has 0 for abbey"),
        ("a/abbey/3.jpg 2", "several labels for abbey; expected one a folder"),
        ("3.jpg 0", "line '3.jpg 0'; expected a/abbey/NAME.jpg LABEL"),
    ],
)
def test_places205(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=message):
        places205.index(places_set(tmp_path, line))


def test_places205_may_be_written_in_several_ways(tmp_path: Path) -> None:
    root = places_set(tmp_path, "/a/abbey/3.jpg 0", "  a/arch/4.jpg 1 ", "", "a/arch/5 6.jpg 1 ", "a/arch/7.jpg 1")
    train = root / "train_places205.csv"
    train.write_text(train.read_text(), encoding="utf-8-sig")
    found = places205.index(root).splits["train"]
    names = ("abbey/1", "arch/2", "abbey/3", "arch/4", "arch/5 6", "arch/7")
    assert found.items == [f"images256/a/{name}.jpg" for name in names]
    assert found.labels == [0, 1, 0, 1, 1, 1]
