"""The layouts of detection against miniatures, their messages, what `voc:PATH` means, and the sample data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED
from folders import write

from suite import adhoc, fetch, plan
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.grid import Grid
from suite.index import Index, LayoutError, Split, Thing
from suite.layouts import coco, voc, voc_detection
from suite.store import Store
from suite.task import Task


def things(index: Index) -> dict[str, tuple[int, int]]:
    """Split -> how many images, how many objects."""
    for split in index.splits.values():
        assert len(split.items) == len(split.labels) == len(split.sizes) == len(split.ids)
    return {name: (len(split.items), sum(map(len, split.labels))) for name, split in index.splits.items()}


# ---- voc

LISTS = ("train", "val", "trainval")


def thing(name: str = "cat", box: tuple[object, ...] = (1, 1, 10, 20), more: str = "") -> str:
    corners = "".join(f"<{c}>{v}</{c}>" for c, v in zip(voc_detection.CORNERS, box, strict=False))
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>"


def xml(*objects: str, size: str = "<width>50</width><height>40</height>") -> str:
    return f"<annotation><size>{size}<depth>3</depth></size>{''.join(objects)}</annotation>"


def year(folder: Path, **splits: str) -> Path:
    """A year's folder whose splits have the images 'A1 A2', each with a cat and a dog."""
    for split, names in splits.items():
        write(folder, {f"ImageSets/Main/{split}.txt": "\n".join(names.split()) + "\n"})
        for name in names.split():
            cat_and_dog = xml(thing(), thing("dog", (11, 11, 50, 40)))
            write(folder, {f"Annotations/{name}.xml": cat_and_dog, f"JPEGImages/{name}.jpg": "photo"})
    return folder


def change(root: Path, text: str, name: str = "a1") -> Path:
    return write(root, {f"Annotations/{name}.xml": text})


def test_a_year_with_three_lists(tmp_path: Path) -> None:
    root = year(tmp_path, train="a1 a2", val="b1", test="c1", trainval="a1 a2 b1")
    difficult = thing("dog", ("11.5", 11, 50, 40), "<difficult>1</difficult>")
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    change(root, xml(thing(more=part), difficult), "c1")
    index = voc_detection.index(root)
    assert (index.kind, index.classes, dict(index.dropped)) == (voc_detection.KIND, ["cat", "dog"], {})
    assert things(index) == {"train": (2, 4), "val": (1, 2), "test": (1, 2)}
    cat, dog = Thing(0, (0, 0, 10, 20), area=200), Thing(1, (10.5, 10, 50, 40), difficult=True, area=39.5 * 30)
    assert index.splits["test"] == Split(["JPEGImages/c1.jpg"], [[cat, dog]], [(50, 40)], ["c1"])


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"train": "a1 a2", "val": "b1"}, {"train": ["a1", "a2"], "test": ["b1"]}),
        ({"trainval": "a1 b1", "test": "c1"}, {"train": ["a1", "b1"], "test": ["c1"]}),
        ({"trainval": "a1 b1", "val": "b1", "test": "c1"}, {"train": ["a1", "b1"], "test": ["c1"]}),
        ({"train": "a1", "test": "c1"}, {"train": ["a1"], "test": ["c1"]}),
        ({"train": "a1", "val": "b1", "trainval": "a1 b1"}, {"train": ["a1"], "test": ["b1"]}),
    ],
)
def test_which_lists_are_which_splits(lists: dict[str, str], expected: dict[str, list[str]], tmp_path: Path) -> None:
    index = voc_detection.index(year(tmp_path, **lists))
    assert {name: split.ids for name, split in index.splits.items()} == expected


def test_lists_with_marks_and_lists_of_classes(tmp_path: Path) -> None:
    root = year(tmp_path, train="a1", val="b1")
    write(root, {"ImageSets/Main/train.txt": "a1  1\r\n", "ImageSets/Main/val.txt": "b1 -1\n"})
    write(root, {f"ImageSets/Main/{name}_{split}.txt": "x 1\n" for name in ("dog", "cat", "ox") for split in LISTS})
    assert voc_detection.index(root).classes == ["cat", "dog", "ox"]
    assert things(voc_detection.index(root)) == {"train": (1, 2), "test": (1, 2)}


@pytest.mark.parametrize("place", ["classes.txt", "ImageSets/Main/classes.txt"])
def test_classes_in_the_order_of_their_file(place: str, tmp_path: Path) -> None:
    root = write(year(tmp_path, train="a1", val="b1"), {place: "ox\ndog\ncat\n"})
    index = voc_detection.index(root)
    assert index.classes == ["ox", "dog", "cat"]
    assert [thing.label for thing in index.splits["train"].labels[0]] == [2, 1]


@pytest.mark.parametrize(("root", "prefix"), [(".", "VOCdevkit/"), ("VOCdevkit", "")])
def test_two_years(root: str, prefix: str, tmp_path: Path) -> None:
    year(tmp_path / "VOCdevkit" / "VOC2007", train="a1", val="b1", test="c1 c2")
    year(tmp_path / "VOCdevkit" / "VOC2012", train="d1 d2", val="e1")
    index = voc_detection.index(tmp_path / root)
    assert things(index) == {"train": (3, 6), "val": (2, 4), "test": (2, 4)}
    assert index.splits["train"].items[1:] == [f"{prefix}VOC2012/JPEGImages/d{n}.jpg" for n in (1, 2)]
    (tmp_path / "VOCdevkit/VOC2007/ImageSets/Main/test.txt").unlink()
    assert things(voc_detection.index(tmp_path)) == {"train": (3, 6), "test": (2, 4)}


def test_images_are_what_is_there(tmp_path: Path) -> None:
    root = year(tmp_path, train="a1 a2 a3", val="b1")
    (root / "JPEGImages/a1.jpg").rename(root / "JPEGImages/a1.png")
    (root / "JPEGImages/a3.jpg").rename(root / "JPEGImages/a3.jpeg")
    found = voc_detection.index(root).splits["train"].items
    assert found == ["JPEGImages/a1.png", "JPEGImages/a2.jpg", "JPEGImages/a3.jpeg"]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    root = year(tmp_path, train="a1 a2", val="b1")
    zero = [thing(box=box) for box in ((5, 5, 5, 9), (5, 5, 9, 5), (9, 5, 3, 9))]
    outside = [thing(box=box) for box in ((51, 1, 60, 9), (1, 41, 9, 50), (-9, 1, 0, 9), (1, -9, 9, 0))]
    change(root, xml(*zero, *outside, thing(box=(50, 40, 51, 41)), thing(box=(-9, -9, 1, 1))))
    index = voc_detection.index(root)
    assert dict(index.dropped) == {"zero area": 3, "outside the image": 4}
    assert [thing.box for thing in index.splits["train"].labels[0]] == [(49, 39, 51, 41), (-10, -10, 1, 1)]
    change(root, xml())  # an image without objects stays
    assert things(voc_detection.index(root))["train"] == (2, 2)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (
        lambda root: [(root / f"Annotations/{name}.xml").unlink() for name in ("a2", "b1")],
        r"/Annotations/a2.xml is not there, one of 2 such files among 3; .* unpack the annotations",
    ),
    "cut": (lambda root: change(root, xml()[:-9]), r"a1.xml is not XML among 3; .* unpack the annotations again"),
    "binary": (lambda root: (root / "Annotations/a1.xml").write_bytes(b"\xff\x00"), r"a1.xml is not XML"),
    "no size": (lambda root: change(root, "<annotation/>"), r"a1.xml has no <size> .* expected the image's size"),
    "size 0": (lambda root: change(root, xml(size="<width>0</width><height>9</height>")), r"a1.xml has no <size>"),
    "size word": (lambda root: change(root, xml(size="<width>x</width><height>9</height>")), r"a1.xml has no <size>"),
    "no name": (lambda root: change(root, xml(thing(""))), r"a1.xml has an <object> without a <name>"),
    "no box": (lambda root: change(root, xml("<object><name>cat</name></object>")), r"without a <bndbox> of four"),
    "three": (lambda root: change(root, xml(thing(box=(1, 2, 3)))), r"without a <bndbox> of four numbers among 3"),
    "word": (lambda root: change(root, xml(thing(box=(1, 2, "x", 4)))), r"a1.xml has an .* without a <bndbox>"),
    "nan": (lambda root: change(root, xml(thing(box=(1, 2, "nan", 4)))), r"a1.xml has an .* without a <bndbox>"),
    "image": (lambda root: (root / "JPEGImages/a2.jpg").unlink(), r"1 listed images are not there \(JPEGImages/a2.jpg"),
    "empty": (lambda root: write(root, {"ImageSets/Main/val.txt": "\n"}), r"val.txt: is empty; expected an image a"),
    "twice": (lambda root: write(root, {"ImageSets/Main/val.txt": "b1\nb1"}), r"val.txt: names 1 images twice \(b1\)"),
    "no train": (lambda root: (root / "ImageSets/Main/train.txt").unlink(), r"no list for the train split: \. has val"),
    "no val": (lambda root: (root / "ImageSets/Main/val.txt").unlink(), r"no list for the test split: .* has train"),
    "unknown": (
        lambda root: change(write(root, {"classes.txt": "cat\ndog"}), xml(thing("cats"), thing("fox"))),
        r"unknown class 'cats' in .*a1.xml \(2 such objects in 1 files\); did you mean cat\? known, from .*: cat, dog;",
    ),
    "differ": (
        lambda root: (
            [
                year(root / f"VOC20{n}", train="a1", val="b1", **{f"{name}_train": "a1"})
                for n, name in (("07", "cat"), ("12", "dog"))
            ]
            + [shutil.rmtree(root / "ImageSets")]
        ),
        r"classes of VOC2007 and VOC2012 differ \(cat, dog\)",
    ),
    "no object": (
        lambda root: [change(root, xml(), name) for name in ("a1", "a2", "b1")],
        r"no object in any annotation and no classes.txt",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_voc_messages(case: str, tmp_path: Path) -> None:
    spoil, message = BAD[case]
    spoil(year(tmp_path, train="a1 a2", val="b1"))
    with pytest.raises(LayoutError, match=message) as caught:
        voc_detection.index(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_class_that_only_test_has(tmp_path: Path) -> None:
    root = change(year(tmp_path, train="a1", val="b1", test="c1"), xml(thing("fox")), "c1")
    with pytest.raises(LayoutError, match=r"unknown class 'fox' in .*c1.xml .* from the annotations of train and val"):
        voc_detection.index(root)


# ---- coco

IMAGES = [
    {"id": 7, "file_name": "7.jpg", "width": 50, "height": 40},
    {"id": 3, "file_name": "3.jpg", "width": 60, "height": 40},
]
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 2, "name": "bicycle"}]
RLE = {"counts": "abc", "size": [40, 50]}
POLYGON = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]]


def annotation(number: int, **more: object) -> dict[str, object]:
    one = {"id": number, "image_id": 7, "category_id": 18, "bbox": [1, 2, 10.5, 20], "area": 99.5, "iscrowd": 0}
    return {**one, "segmentation": POLYGON, **more}


def coco_set(root: Path, ending: str = "2017", names: Collection[str] = ("train", "val"), **more: object) -> Path:
    """`more` replaces lists in the first file."""
    whole: dict[str, object] = {"images": IMAGES, "annotations": [annotation(1)], "categories": CATEGORIES}
    for name in names:
        write(root, {f"annotations/instances_{name}{ending}.json": json.dumps({**whole, **more})})
        write(root, {f"{name}{ending}/{image['file_name']}": "photo" for image in IMAGES})
        more = {}
    return root


@pytest.mark.parametrize("ending", ["2017", "", "_mini"])
def test_coco(ending: str, tmp_path: Path) -> None:
    crowd = annotation(2, iscrowd=1, category_id=2, segmentation=RLE, area=7)
    index = coco.index(coco_set(tmp_path, ending, annotations=[annotation(1), crowd]))
    assert (index.kind, index.classes, index.categories) == (coco.KIND, ["bicycle", "dog"], [2, 18])
    assert things(index) == {"train": (2, 2), "test": (2, 1)}
    box = (1.0, 2.0, 11.5, 22.0)
    found = [Thing(1, box, area=99.5, mask=POLYGON), Thing(0, box, crowd=True, area=7.0, mask=RLE)]
    items = [f"train{ending}/7.jpg", f"train{ending}/3.jpg"]
    assert index.splits["train"] == Split(items, [found, []], [(50, 40), (60, 40)], [7, 3])


def test_coco_with_a_test_file(tmp_path: Path) -> None:
    index = coco.index(coco_set(tmp_path, names=("train", "val", "test")))
    assert things(index) == {"train": (2, 1), "val": (2, 1), "test": (2, 1)}


def test_coco_leaves_out_what_has_no_area_or_no_pixel(tmp_path: Path) -> None:
    boxes = [[1, 1, 0, 5], [1, 1, 5, -1], [50, 1, 5, 5], [1, 40, 5, 5], [-5, 1, 5, 5], [49, 39, 5, 5]]
    rows = [annotation(number, bbox=box, segmentation=[]) for number, box in enumerate(boxes)]
    index = coco.index(coco_set(tmp_path, annotations=rows))
    assert dict(index.dropped) == {"zero area": 2, "outside the image": 3}
    assert index.splits["train"].labels[0] == [Thing(1, (49, 39, 54, 44), area=99.5)]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"images": None},
            r"instances_train2017.json: not COCO: no list images \(its keys are annotations, categories",
        ),
        ({"images": {}, "annotations": 3}, r"no list images and no list annotations .* expected an object with the"),
        ({"images": []}, r"its list images is empty"),
        ({"annotations": [annotation(1), 5, 6]}, r"2 of 3 annotations are not as COCO's \(the first, annotations\[1\]"),
        (
            {"images": [{"id": "a"}, *IMAGES]},
            r"1 of 3 images are not as COCO's \(the first, images\[0\]: {\"id\": \"a\"",
        ),
        ({"images": [*IMAGES, {**IMAGES[0], "id": 9}]}, r"1 file names stand there twice \(7.jpg\)"),
        ({"images": [*IMAGES, IMAGES[0]]}, r"1 image ids stand there twice \(7\); expected each once"),
        ({"annotations": [annotation(1), annotation(1)]}, r"1 annotation ids stand there twice \(1\)"),
        ({"annotations": [annotation(1, category_id=5)]}, r"1 of 1 annotations have category_ids that are not among"),
        ({"annotations": [annotation(n, image_id=n) for n in (5, 6, 7)]}, r"2 of 3 annotations have image_ids .*5, 6"),
        (
            {"annotations": [annotation(1, bbox=[1, 2, 3])]},
            r"1 of 1 annotations are not .* expected image_id, category_id",
        ),
        ({"annotations": [annotation(1, bbox=[1, 2, 3, float("nan")])]}, r"1 of 1 annotations are not"),
        ({"annotations": [annotation(1, segmentation="x")]}, r"a segmentation that is polygons or a run-length code"),
        ({"annotations": [annotation(1, segmentation={"size": [1, 2]})]}, r"1 of 1 annotations are not"),
        ({"categories": [*CATEGORIES, {"id": 5, "name": "dog"}]}, r"1 category names stand there twice \(dog\)"),
        (
            {"categories": [*CATEGORIES, {"id": 5}]},
            r"1 of 3 categories are not as COCO's .* expected a whole-number id",
        ),
        ({"categories": [*CATEGORIES, {"id": 5, "name": "ox"}]}, r"instances_val2017.json: 2 categories, not the 3 of"),
        (
            {"images": [*IMAGES, {**IMAGES[0], "id": 9, "file_name": "9.jpg"}]},
            r"1 listed images are not there \(train2",
        ),
    ],
)
def test_coco_messages(more: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=message) as caught:
        coco.index(coco_set(tmp_path, **more))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"instances_train2017.json: not JSON \(.*\); expected COCO's instances; unpack it again"),
        ("[1]", r"not COCO: no list images and no list annotations and no list categories \(it is a list\)"),
        ("\x80", r"not JSON"),
    ],
)
def test_a_file_that_is_not_cocos(text: str, message: str, tmp_path: Path) -> None:
    (coco_set(tmp_path) / "annotations/instances_train2017.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(LayoutError, match=message):
        coco.index(tmp_path)


def test_coco_of_two_years(tmp_path: Path) -> None:
    coco_set(coco_set(tmp_path), "2014")
    with pytest.raises(LayoutError, match=r"instances_train and instances_val for 2014, 2017; expected one of them"):
        coco.index(tmp_path)
    assert not coco.recognise(coco_set(tmp_path / "other", names=("train",)))


# ---- what a user's text means

MULTI, BOXES, WHOLE = "multilabel", "detection", "classification"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(Store(tmp_path / "store"))


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """A folder of VOC 2007 that has labels of images and boxes."""
    marks = {
        f"{name}_{split}": "a1" if split == "train" else "b1" for name in ("cat", "dog") for split in ("train", "val")
    }
    root = year(tmp_path / "VOC2007", train="a1", val="b1", **marks)
    write(root, {f"ImageSets/Main/{name}.txt": f"{image} 1\n" for name, image in marks.items()})
    return root


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((), [("voc", "map11")]),
        ({WHOLE, MULTI}, [("voc", "map11")]),
        ({BOXES}, [("voc-detection", "voc07")]),
        ({WHOLE, MULTI, BOXES}, [("voc", "map11"), ("voc-detection", "voc07")]),
        ({WHOLE}, [("voc", "map11")]),  # none that is wanted: the plan says why it does not do
    ],
)
@pytest.mark.parametrize("prefix", ["", "voc:", "voc2007:"])
def test_a_folder_is_what_the_tasks_take(
    prefix: str, kinds: set[str], expected: list[tuple[str, str]], both: Path, catalog: Catalog
) -> None:
    found = adhoc.datasets(f"{prefix}{both}", catalog, kinds)
    assert [(one.layout, one.metric) for one in found] == expected
    assert len({one.name for one in found}) == len(found)
    assert all(one.name.startswith("VOC2007-") for one in found)


def test_a_grid_of_both_kinds_measures_each_on_its_own(both: Path, catalog: Catalog) -> None:
    catalog.tasks["boxes"] = Task(name="boxes", kinds=(BOXES,))
    asked = Grid(tasks=("knn", "boxes"), models=("pixels_8x8",), datasets=(f"voc:{both}",), seeds=(0,))
    planned = plan.plan(asked, catalog)
    assert [(cell.task.name, cell.dataset.kind) for cell in planned.cells] == [("knn", MULTI), ("boxes", BOXES)]
    assert len(planned.left_out) == 2
    with pytest.raises(Refusal, match=r"fewshot takes classification datasets, but VOC2007-\w+ is multilabel"):
        plan.plan(replace(asked, tasks=("fewshot",)), catalog)


def test_a_layout_named_whole_is_that_layout(both: Path, catalog: Catalog) -> None:
    for kinds in ((), {MULTI}, {BOXES}, {MULTI, BOXES}):
        assert adhoc.dataset(f"voc-detection:{both}", catalog, kinds).kind == BOXES
    with pytest.raises(Refusal, match=r"it is multilabel \(voc\) and detection \(voc-detection\); name the layout"):
        adhoc.dataset(str(both), catalog, {MULTI, BOXES})


def test_metrics_of_detection(tmp_path: Path, catalog: Catalog) -> None:
    root = year(tmp_path / "mine", train="a1", val="b1")
    assert adhoc.dataset(str(root), catalog).metric == "voc"
    assert adhoc.dataset(f"voc:{root}", catalog, {BOXES}).layout == "voc-detection"
    assert adhoc.dataset(f"voc0712:{root}", catalog, {BOXES}).metric == "voc07"
    assert adhoc.dataset(f"digit-scenes:{root}", catalog).metric == "voc"
    assert adhoc.dataset(str(coco_set(tmp_path / "coco")), catalog, {BOXES}).metric == "coco"
    assert adhoc.dataset(f"coco2017:{tmp_path / 'coco'}", catalog).metric == "coco"
    year(tmp_path / "VOCdevkit" / "VOC2007", train="a1", val="b1", test="c1")
    year(tmp_path / "VOCdevkit" / "VOC2012", train="d1", val="e1")
    assert adhoc.dataset(str(tmp_path / "VOCdevkit"), catalog).metric == "voc07"  # its test images are of 2007
    with pytest.raises(LayoutError, match=r"expected .*CLASS_train.txt"):
        adhoc.dataset(f"voc:{root}", catalog, {MULTI})


# ---- real data


def sample(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"no sample data: {name} is neither in $SHARED_DATA nor in ../shared/data")
    return SHARED / name


def test_bccd() -> None:
    index = voc_detection.index(sample("bccd"))
    assert index.classes == ["Platelets", "RBC", "WBC"]
    assert things(index) == {"train": (40, 525), "val": (16, 195), "test": (16, 177)}
    assert dict(index.dropped) == {"zero area": 1}


def test_voc2012() -> None:
    root = sample("voc2012_mini")
    index = voc_detection.index(root)
    assert things(index) == {"train": (20, 74), "test": (20, 76)}
    assert sum(thing.difficult for row in index.splits["train"].labels for thing in row) == 17
    whole = voc.index(root)
    assert index.classes == whole.classes
    for name, split in whole.splits.items():
        assert index.splits[name].items == split.items
        easy = [{t.label for t in row if not t.difficult} for row in index.splits[name].labels]
        assert easy == [{label for label, mark in enumerate(row) if mark} for row in split.labels]


def test_coco_mini() -> None:
    index = coco.index(sample("coco_mini"))
    assert (len(index.classes), index.categories[:12], index.categories[-1]) == (80, [*range(1, 12), 13], 90)
    assert things(index) == {"train": (36, 420), "test": (24, 257)}
    assert [sum(t.crowd for row in s.labels for t in row) for s in index.splits.values()] == [6, 5]
    assert dict(index.dropped) == {}


@pytest.mark.parametrize(
    ("name", "layout"), [("bccd", "voc-detection"), ("coco_mini", "coco"), ("oxford_pets_mini", "pets")]
)
def test_samples_are_recognised(name: str, layout: str, catalog: Catalog) -> None:
    for kinds in ((), {BOXES}, {WHOLE, MULTI}):
        assert adhoc.dataset(str(sample(name)), catalog, kinds).layout == layout


def test_published_sets_and_what_is_embedded(catalog: Catalog) -> None:
    boxes = {name: one.layout for name, one in catalog.datasets.items() if one.kind == BOXES}
    assert boxes == {"voc0712": "voc-detection", "coco2017": "coco", "digit-scenes": "voc-detection"}
    assert set(fetch.EMBEDDED) <= set(catalog.datasets)


# ---- what is refused before hours of training


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ((), "the test split has nothing in any image; expected things to find"),
        ((thing(more="<difficult>1</difficult>"),), "the test split has 1 things, all of them difficult or crowds"),
    ],
)
def test_a_test_split_with_nothing_to_find(objects: tuple[str, ...], message: str, tmp_path: Path) -> None:
    change(year(tmp_path, train="a1", test="b1"), xml(*objects), "b1")
    with pytest.raises(LayoutError, match=message):
        voc_detection.index(tmp_path)


def test_a_coco_set_with_nothing_to_find(tmp_path: Path) -> None:
    coco_set(tmp_path, names=("val", "train"), annotations=[annotation(1, iscrowd=1, segmentation=RLE)])
    with pytest.raises(LayoutError, match="the test split has 1 things, all of them difficult or crowds"):
        coco.index(tmp_path)


@pytest.mark.parametrize("polygon", [[1, 1, 5, 5, 9], [1, 1, 5, "5", 9, 9], [1, 1, 5, 1 << 2000, 9, 9]], ids=len)
def test_polygons_that_are_none(polygon: list[Any], tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"1 of 1 annotations are not as COCO's"):
        coco.index(coco_set(tmp_path, annotations=[annotation(1, segmentation=[polygon])]))


def test_polygons_of_two_points_are_left_out(tmp_path: Path) -> None:
    odd = [annotation(1, segmentation=[[1, 1, 5, 5], [1, 1, 5, 5, 9, 1]]), annotation(2, segmentation=[[1, 1, 5, 5]])]
    first, second = coco.index(coco_set(tmp_path, annotations=odd)).splits["train"].labels[0]
    assert (first.mask, second.mask) == ([[1, 1, 5, 5, 9, 1]], None)


def test_which_sets_have_masks(tmp_path: Path, catalog: Catalog) -> None:
    assert adhoc.dataset(f"coco:{coco_set(tmp_path / 'a')}", catalog).masks
    boxes = coco_set(tmp_path / "b", names=("val", "train"), annotations=[annotation(1, segmentation=None)])
    assert not adhoc.dataset(f"coco:{boxes}", catalog).masks
    assert not adhoc.dataset(f"voc-detection:{year(tmp_path / 'c', train='a1', test='b1')}", catalog).masks


def test_measured_in_another_way_it_has_another_name(tmp_path: Path, catalog: Catalog) -> None:
    folder = year(tmp_path / "c", train="a1", test="b1")
    usual, published = (adhoc.dataset(f"{name}:{folder}", catalog, {BOXES}) for name in ("voc", "voc0712"))
    assert (usual.metric, published.metric) == ("voc", "voc07")
    assert usual.name != published.name
    assert usual.digest == published.digest
