"""The layouts of segmentation and normals against miniatures, their messages, what a user's text means, and samples."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from conftest import SHARED, Launch
from folders import write

from suite import adhoc, fetch, header, pairs, plan, png
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.grid import Grid
from suite.index import Index, LayoutError, Split, digest
from suite.layouts import ade20k, camvid, cityscapes, masks, nyuv2, pets_trimaps, voc_segmentation
from suite.store import Store
from suite.task import Task

MASKS, NORMALS = "segmentation", "normals"
GREY = png.grey(bytes(6 * 4), 6)  # 6 x 4 pixels
WIDE = png.grey(bytes(8 * 4), 8)


def draw(root: Path, *names: str, content: bytes = GREY) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def remove(root: Path, *names: str) -> None:
    for name in names:
        (root / name).unlink()


def held(index: Index) -> dict[str, list[tuple[str, str]]]:
    """Split -> its images and masks."""
    return {name: list(zip(s.items, pairs.label_files(s), strict=True)) for name, s in index.splits.items()}


def counts(index: Index) -> dict[str, int]:
    return {name: len(rows) for name, rows in held(index).items()}


# ---- sizes of images

START = b"\xff\xd8\xff\xe0\x00\x04ab"  # a JPEG with one segment of two bytes
FRAME = b"\x00\x11\x08" + struct.pack(">HH", 40, 50) + b"\3" * 10
TABLE = b"\xff\xc4\x00\x09\xff\xc0\0\x11\x08ab"  # looks like a frame inside


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (GREY, (6, 4)),
        (png.colour(bytes(3 * 70000), 70000), (70000, 1)),
        (png.palette(bytes(6), 2, [(0, 0, 0)]), (2, 3)),
        (START + b"\xff\xc0" + FRAME, (50, 40)),
        (START + TABLE + b"\xff\xff\xff\xc2" + FRAME, (50, 40)),  # progressive, after marks that fill
        (START + b"\xff\x01\xff\xd0\xff\xc9" + FRAME, (50, 40)),  # after marks without a segment
        (b"", None),
        (b"GIF89a\x06\0\x04\0 and more than 24 bytes", None),
        (GREY[:20], None),
        (png.grey(b"", 6), None),
        (START, None),
        (START + b"\xff\xc0" + FRAME[:5], None),
        (START + b"\xff\xff\xff", None),
        (START + b"\xff\xe1\x00\x00", None),
        (START + b"\xff\xe1\xff\xff" + FRAME, None),
        (START + b"\xff\xda" + FRAME, None),
        (START + b"ab" + FRAME, None),
        (START + b"\xff\xc0\x00\x11\x08\0\0\0\5", None),  # a height that is told later
    ],
)
def test_size(content: bytes, expected: tuple[int, int] | None, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(content)
    assert header.size(tmp_path / "image") == expected


def test_size_of_what_cannot_be_read(tmp_path: Path) -> None:
    assert header.size(tmp_path) is None
    assert header.size(tmp_path / "absent") is None


def test_sizes_of_photos(shared: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    files = [path for path in shared.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    told = 0
    for path in files:
        with image.open(path) as photo:
            expected = photo.size if photo.format in ("PNG", "JPEG") else None
        assert header.size(path) == expected, path
        told += expected is not None
    assert told > 1000


# ---- voc


def year(folder: Path, **lists: str) -> Path:
    """A year's folder with the lists' images and masks."""
    for name, names in lists.items():
        write(folder, {f"ImageSets/Segmentation/{name}.txt": "\n".join(names.split()) + "\n"})
        draw(folder, *(f"JPEGImages/{one}.jpg" for one in names.split()))
        draw(folder, *(f"SegmentationClass/{one}.png" for one in names.split()))
    return folder


def named(index: Index) -> dict[str, str]:
    """Split -> the names of its images."""
    return {split: " ".join(Path(item).stem for item, _ in rows) for split, rows in held(index).items()}


def test_a_year_of_voc(tmp_path: Path) -> None:
    index = voc_segmentation.index(year(tmp_path, train="a1 a2", val="b1", trainval="a1 a2 b1"))
    assert (index.kind, len(index.classes), index.classes[:2]) == (MASKS, 21, ["background", "aeroplane"])
    assert (index.categories, index.void) == (list(range(21)), [255])
    assert index.splits["train"] == Split(
        ["JPEGImages/a1.jpg", "JPEGImages/a2.jpg"], ["SegmentationClass/a1.png", "SegmentationClass/a2.png"]
    )
    assert named(index) == {"train": "a1 a2", "test": "b1"}


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"train": "a", "val": "b", "test": "c"}, {"train": "a", "val": "b", "test": "c"}),
        ({"train": "a", "test": "c"}, {"train": "a", "test": "c"}),
        ({"trainval": "a b", "test": "c"}, {"train": "a b", "test": "c"}),
        ({"trainval": "a b", "val": "b", "test": "c"}, {"train": "a b", "test": "c"}),
    ],
)
def test_which_lists_are_which_splits(lists: dict[str, str], expected: dict[str, str], tmp_path: Path) -> None:
    assert named(voc_segmentation.index(year(tmp_path, **lists))) == expected


def test_a_test_list_whose_masks_are_withheld(tmp_path: Path) -> None:
    root = year(tmp_path, train="a1", val="b1", test="c1 c2")
    remove(root, "SegmentationClass/c1.png")
    with pytest.raises(LayoutError, match=r"1 images have no mask \(SegmentationClass/c1.png not there\)"):
        voc_segmentation.index(root)
    remove(root, "SegmentationClass/c2.png")
    assert named(voc_segmentation.index(root)) == {"train": "a1", "test": "b1"}
    remove(root, "ImageSets/Segmentation/val.txt")
    with pytest.raises(LayoutError, match=r"2 images have no mask \(SegmentationClass/c1.png, .*c2.png not there\)"):
        voc_segmentation.index(root)


@pytest.mark.parametrize(
    "lists",
    [
        {"trainaug": "a1\na2\nx1\n", "aug": "none\n"},
        {"train_aug": "".join(f"/JPEGImages/{n}.jpg /SegmentationClassAug/{n}.png\n" for n in ("a1", "a2", "x1"))},
        {"aug": "x1\n"},
    ],
    ids="".join,
)
def test_the_masks_of_sbd(lists: dict[str, str], tmp_path: Path) -> None:
    root = year(tmp_path, train="a1 a2", val="b1")
    draw(root, "JPEGImages/x1.jpg")
    write(root, {f"ImageSets/Segmentation/{name}.txt": text for name, text in lists.items()})
    assert named(voc_segmentation.index(root)) == {"train": "a1 a2", "test": "b1"}
    draw(root, *(f"SegmentationClassAug/{name}.png" for name in ("a2", "x1", "b1")))
    assert held(voc_segmentation.index(root)) == {
        "train": [
            ("JPEGImages/a1.jpg", "SegmentationClass/a1.png"),
            ("JPEGImages/a2.jpg", "SegmentationClassAug/a2.png"),
            ("JPEGImages/x1.jpg", "SegmentationClassAug/x1.png"),
        ],
        "test": [("JPEGImages/b1.jpg", "SegmentationClass/b1.png")],
    }


def test_images_of_val_among_those_of_sbd(tmp_path: Path) -> None:
    root = year(tmp_path, train="a1", val="b1 b2")
    draw(write(root, {"ImageSets/Segmentation/trainaug.txt": "a1\nb2\n"}), "SegmentationClassAug/a1.png")
    with pytest.raises(LayoutError, match=r"1 images are in two splits or twice in one \(JPEGImages/b2.jpg\)"):
        voc_segmentation.index(root)


@pytest.mark.parametrize("place", ["VOCdevkit/classes.txt", "VOCdevkit/VOC2012/classes.txt", ""])
@pytest.mark.parametrize(("text", "expected"), [("cat\nox\n", 3), ("Background\ncat\n", 2)])
def test_classes_of_a_file(place: str, text: str, expected: int, tmp_path: Path) -> None:
    folder = year(tmp_path / "VOCdevkit/VOC2012", train="a1", val="b1")
    write(tmp_path, {place or "VOCdevkit/VOC2012/ImageSets/Segmentation/classes.txt": text})
    index = voc_segmentation.index(tmp_path / "VOCdevkit")
    assert index.categories == list(range(expected))
    assert (index.classes[0].lower(), index.classes[1]) == ("background", "cat")
    assert index.splits["test"] == Split(["VOC2012/JPEGImages/b1.jpg"], ["VOC2012/SegmentationClass/b1.png"])
    assert len(voc_segmentation.index(folder).classes) == (21 if place == "VOCdevkit/classes.txt" else expected)


def test_several_years(tmp_path: Path) -> None:
    for number in (2007, 2012):
        year(tmp_path / f"VOCdevkit/VOC{number}", train="a1", val="b1")
    message = r"holds VOCdevkit/VOC2007, VOCdevkit/VOC2012; expected one year; name the year's folder, as .*/VOC2007"
    with pytest.raises(LayoutError, match=message):
        voc_segmentation.index(tmp_path)


# ---- the others


def ade_set(root: Path) -> Path:
    rows = "1\t0.1\t10\t2\twall\n2\t0.1\t10\t2\tbuilding, edifice\n"
    write(root, {"objectInfo150.txt": f"Idx\tRatio\tTrain\tVal\tName\n{rows}"})
    for split, name in (("training", "t1"), ("training", "t2"), ("validation", "v1")):
        draw(root, f"images/{split}/{name}.jpg", f"annotations/{split}/{name}.png")
    return root


@pytest.mark.parametrize("inner", ["", "ADEChallengeData2016/"])
def test_ade20k(inner: str, tmp_path: Path) -> None:
    ade_set(tmp_path / inner)
    index = ade20k.index(tmp_path)
    assert (index.kind, index.classes) == (MASKS, ["wall", "building"])
    assert (index.categories, index.void) == ([1, 2], [0])
    assert counts(index) == {"train": 2, "test": 1}
    first = (f"{inner}images/training/t1.jpg", f"{inner}annotations/training/t1.png")
    assert held(index)["train"][0] == first


def city_set(root: Path) -> Path:
    for split, name in (("train", "ulm/1"), ("train", "bonn/2"), ("val", "jena/3")):
        draw(root, f"leftImg8bit/{split}/{name}_leftImg8bit.png")
        draw(root, f"gtFine/{split}/{name}_gtFine_labelIds.png", f"gtFine/{split}/{name}_gtFine_color.png")
    return draw(root, "leftImg8bit/test/berlin/4_leftImg8bit.png")


def test_cityscapes(tmp_path: Path) -> None:
    index = cityscapes.index(city_set(tmp_path))
    assert (index.kind, len(index.classes), len(index.categories)) == (MASKS, 19, 19)
    assert (index.categories[:3], index.classes[-1], index.categories[-1]) == ([7, 8, 11], "bicycle", 33)
    assert index.void == [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, 255]
    assert counts(index) == {"train": 2, "test": 1}
    expected = ("leftImg8bit/val/jena/3_leftImg8bit.png", "gtFine/val/jena/3_gtFine_labelIds.png")
    assert held(index)["test"] == [expected]


def cam_set(root: Path, **splits: str) -> Path:
    for split, names in (splits or {"train": "a1 a2", "val": "b1", "test": "c1"}).items():
        both = [(f"{split}/{name}.png", f"{split}annot/{name}.png") for name in names.split()]
        write(root, {f"{split}.txt": "".join(f"/SegNet/CamVid/{one} /SegNet/CamVid/{other}\n" for one, other in both)})
        draw(root, *(file for pair in both for file in pair))
    return root


def test_camvid(tmp_path: Path) -> None:
    index = camvid.index(cam_set(tmp_path))
    assert (index.kind, len(index.classes)) == (MASKS, 11)
    assert (index.categories, index.void) == (list(range(11)), [11])
    assert counts(index) == {"train": 2, "val": 1, "test": 1}
    assert held(index)["train"][1] == ("train/a2.png", "trainannot/a2.png")
    remove(tmp_path, "test.txt")
    assert counts(camvid.index(tmp_path)) == {"train": 2, "test": 1}


def pet_set(root: Path) -> Path:
    lists = {"trainval": "#Image CLASS-ID\nBengal_1 1 1 1\npug_1 2 2 1\n", "test": "pug_2 2 2 1\n"}
    write(root, {f"annotations/{name}.txt": text for name, text in lists.items()})
    for name in ("Bengal_1", "pug_1", "pug_2"):
        draw(root, f"images/{name}.jpg", f"annotations/trimaps/{name}.png")
    return draw(root, "annotations/trimaps/._pug_2.png", content=b"of a Mac")


def test_pets_trimaps(tmp_path: Path) -> None:
    index = pets_trimaps.index(pet_set(tmp_path))
    assert (index.kind, index.classes, index.categories, index.void) == (MASKS, ["pet", "background"], [1, 2], [3])
    assert counts(index) == {"train": 2, "test": 1}
    assert held(index)["test"] == [("images/pug_2.jpg", "annotations/trimaps/pug_2.png")]


def mask_set(root: Path, *names: str) -> Path:
    draw(root, *(f"images/{name}.jpg" for name in names), *(f"masks/{name}.png" for name in names))
    return write(root, {"classes.txt": "sky\nsea\n"})


def test_masks_in_folders(tmp_path: Path) -> None:
    index = masks.index(mask_set(tmp_path, "train/x/a.b", "train/c", "val/a", "test/a"))
    assert (index.kind, index.classes, index.categories, index.void) == (MASKS, ["sky", "sea"], [0, 1], [255])
    assert counts(index) == {"train": 2, "val": 1, "test": 1}
    assert held(index)["train"][1] == ("images/train/x/a.b.jpg", "masks/train/x/a.b.png")
    shutil.rmtree(tmp_path / "images/test")
    shutil.rmtree(tmp_path / "masks/test")
    assert counts(masks.index(tmp_path)) == {"train": 2, "test": 1}


def test_masks_of_lists(tmp_path: Path) -> None:
    root = mask_set(tmp_path, "one two", "x/b", "c", "d", "in no list")
    write(root, {"train.txt": "x/b\none two.jpg\n", "val.txt": "c.jpg\n", "test.txt": "d\n"})
    index = masks.index(root)
    assert held(index)["train"] == [("images/x/b.jpg", "masks/x/b.png"), ("images/one two.jpg", "masks/one two.png")]
    assert counts(index) == {"train": 2, "val": 1, "test": 1}
    remove(root, "test.txt")
    assert named(masks.index(root)) == {"train": "b one two", "test": "c"}


def test_masks_every_fifth(tmp_path: Path) -> None:
    index = masks.index(mask_set(tmp_path, *map(str, range(10))))
    assert named(index) == {"train": "0 1 2 3 5 6 7 8", "test": "4 9"}


def depth_set(root: Path) -> Path:
    for split, names in (("train", "0005 0019"), ("test", "0126")):
        write(root, {f"{split}.txt": "\n".join(names.split()) + "\n"})
        for name in names.split():
            draw(root, f"{split}/rgb/{name}.jpg", f"{split}/normals/{name}.png", f"{split}/depth/{name}.png")
    return root


def test_nyuv2(tmp_path: Path) -> None:
    index = nyuv2.index(depth_set(tmp_path))
    assert (index.kind, index.classes, index.categories, index.void) == (NORMALS, [], [], [])
    assert counts(index) == {"train": 2, "test": 1}
    assert held(index)["test"] == [("test/rgb/0126.jpg", "test/normals/0126.png")]


# ---- what is refused

Change = Callable[[Path], object]
SETS: dict[str, tuple[ModuleType, Callable[[Path], Path]]] = {
    "voc": (voc_segmentation, lambda root: year(root, train="a1 a2", val="b1")),
    "ade20k": (ade20k, ade_set),
    "cityscapes": (cityscapes, city_set),
    "camvid": (camvid, cam_set),
    "pets": (pets_trimaps, pet_set),
    "masks": (masks, lambda root: mask_set(root, "train/a", "train/b", "test/c")),
    "nyuv2": (nyuv2, depth_set),
}
CITY = "leftImg8bit/train/ulm/1_leftImg8bit.png", "gtFine/train/ulm/1_gtFine_labelIds.png"
SPOILT: list[tuple[str, Change, str]] = [
    ("voc", lambda r: remove(r, "JPEGImages/a2.jpg"), r"1 listed images are not there \(JPEGImages/a2.jpg\)"),
    (
        "voc",
        lambda r: remove(r, "SegmentationClass/a1.png", "SegmentationClass/b1.png"),
        r"2 images have no mask \(SegmentationClass/a1.png, SegmentationClass/b1.png not there\); .* off the lists",
    ),
    (
        "voc",
        lambda r: draw(r, "SegmentationClass/a1.png", content=WIDE),
        r"1 images have a mask of another size \(JPEGImages/a1.jpg 6x4, not 8x4\); expected the image's; make them",
    ),
    (
        "voc",
        lambda r: draw(r, "JPEGImages/a1.jpg", content=START + b"\xff\xc0" + FRAME),
        r"1 images have a mask of another size \(JPEGImages/a1.jpg 50x40, not 6x4\)",
    ),
    (
        "voc",
        lambda r: remove(r, "ImageSets/Segmentation/train.txt"),
        r"no list for the train split: ImageSets/Segmentation has val.txt; expected train.txt with",
    ),
    ("voc", lambda r: remove(r, "ImageSets/Segmentation/val.txt"), r"no list for the test split: .* has train.txt"),
    ("voc", lambda r: write(r, {"ImageSets/Segmentation/val.txt": "\n"}), r"no list for the test split"),
    (
        "voc",
        lambda r: write(r, {"ImageSets/Segmentation/val.txt": "b1\nb1\n"}),
        r"1 images are in two splits or twice in one \(JPEGImages/b1.jpg\); expected each once; mend the lists",
    ),
    ("voc", lambda r: write(r, {"classes.txt": "cat\ncat"}), r"classes.txt: names 1 classes twice \(cat\); expected"),
    (
        "voc",
        lambda r: write(r, {"classes.txt": "\n".join(map(str, range(255)))}),
        r"classes.txt: names 256 classes; expected 1 to 255, a line each, each once",
    ),
    (
        "ade20k",
        lambda r: [shutil.rmtree(r / top / "training") for top in ("images", "annotations")],
        r"no folder images/training, annotations/training; expected .* of validation/; unpack it beside",
    ),
    (
        "ade20k",
        lambda r: remove(r, "annotations/training/t2.png"),
        r"1 images have no mask \(images/training/t2.jpg\); expected an image and a mask of each name; bring the",
    ),
    (
        "ade20k",
        lambda r: remove(r, "images/training/t2.jpg"),
        r"1 masks have no image \(annotations/training/t2.png\)",
    ),
    (
        "ade20k",
        lambda r: [shutil.rmtree(r / top / "training") or (r / top / "training").mkdir() for top in TOPS],
        r"the train split has no image; expected one or more; add some",
    ),
    ("ade20k", lambda r: draw(r, "annotations/validation/v1.png", content=WIDE), r"v1.jpg 6x4, not 8x4"),
    (
        "ade20k",
        lambda r: write(r, {"objectInfo150.txt": "Idx\n1\t2\t3\t4\twall\n3\t2\t3\t4\tsky\n"}),
        r"objectInfo150.txt: 1 lines are not so \(3\t2\t3\t4\tsky\); expected Idx<tab>Ratio<tab>Train<tab>Val<tab>Name",
    ),
    ("ade20k", lambda r: write(r, {"objectInfo150.txt": "Idx\n"}), r"objectInfo150.txt: it names no class; expected"),
    ("ade20k", lambda r: draw(r, "images/training/t1.png"), r"training: 1 images have a name that differs from an"),
    ("cityscapes", lambda r: remove(r, CITY[0]), rf"1 masks have no image \({CITY[1]}\)"),
    ("cityscapes", lambda r: remove(r, CITY[1]), rf"1 images have no mask \({CITY[0]}\)"),
    ("cityscapes", lambda r: draw(r, CITY[1], content=WIDE), r"1 images have a mask of another size \(leftImg8bit/tr"),
    ("cityscapes", lambda r: shutil.rmtree(r / "gtFine/val"), r"no folder gtFine/val; expected leftImg8bit/train/"),
    ("camvid", lambda r: remove(r, "val/b1.png"), r"1 listed images are not there \(val/b1.png\)"),
    ("camvid", lambda r: remove(r, "trainannot/a2.png"), r"1 images have no mask \(trainannot/a2.png not there\)"),
    ("camvid", lambda r: draw(r, "valannot/b1.png", content=WIDE), r"val/b1.png 6x4, not 8x4"),
    (
        "camvid",
        lambda r: write(r, {"val.txt": "val/b1.png valannot/b1.png\nb1.png valannot/b1.png\nval/b1.png\n"}),
        r"val.txt: 2 of 3 lines are not two paths \(the first is line 2\); expected FOLDER/IMAGE FOLDER/MASK",
    ),
    (
        "camvid",
        lambda r: remove(r, "val.txt", "test.txt"),
        r"the folder holds test, testannot, .* expected train.txt, val.txt or test.txt",
    ),
    ("camvid", lambda r: write(r, {"val.txt": ""}), r"the val split has no image"),
    ("pets", lambda r: remove(r, "images/pug_1.jpg"), r"1 listed images are not there \(images/pug_1.jpg\)"),
    (
        "pets",
        lambda r: remove(r, "annotations/trimaps/pug_2.png"),
        r"1 images have no mask \(annotations/trimaps/pug_2",
    ),
    ("pets", lambda r: draw(r, "annotations/trimaps/pug_2.png", content=WIDE), r"pug_2.jpg 6x4, not 8x4"),
    ("pets", lambda r: remove(r, "annotations/test.txt"), r"test.txt: no such file"),
    ("masks", lambda r: remove(r, "masks/train/a.png"), r"1 images have no mask \(images/train/a.jpg\)"),
    ("masks", lambda r: remove(r, "images/train/a.jpg"), r"1 masks have no image \(masks/train/a.png\)"),
    ("masks", lambda r: draw(r, "masks/test/c.png", content=WIDE), r"images/test/c.jpg 6x4, not 8x4"),
    ("masks", lambda r: draw(r, "masks/test/c.gif"), r"masks: 1 images have a name that differs .* \(test/c\); expect"),
    ("masks", lambda r: remove(r, "classes.txt"), r"no classes.txt; expected a class a line, of the values 0, 1, 2"),
    ("masks", lambda r: write(r, {"classes.txt": "\n"}), r"classes.txt: names 0 classes; expected 1 to 255"),
    (
        "masks",
        lambda r: [shutil.rmtree(r / top / "test") for top in ("images", "masks")],
        r"there is no test split, only train; expected train and test \(or val in its place\)",
    ),
    ("masks", lambda r: draw(r, "images/d.jpg", "masks/d.png"), r"1 images are in none of the folders of splits \(ima"),
    ("masks", lambda r: write(r, {"train.txt": "train/a\n"}), r"there is no test split, only train"),
    (
        "masks",
        lambda r: write(r, {"train.txt": "train/a\ntrain/x.jpg\n", "test.txt": "test/c\n"}),
        r"1 listed images are not in images/ \(train/x.jpg\); expected names relative to it; mend the lists",
    ),
    (
        "masks",
        lambda r: write(r, {"train.txt": "train/a\ntest/c.jpg\n", "test.txt": "test/c\n"}),
        r"1 images are in two splits or twice in one \(images/test/c.jpg\)",
    ),
    (
        "masks",
        lambda r: [write(r, {"train.txt": "train/a", "test.txt": "test/c"}), remove(r, "masks/test/c.png")],
        r"1 images have no mask \(masks/test/c.png not there\)",
    ),
    (
        "masks",
        lambda r: [(r / top / split).rename(r / top / new) for top in ("images", "masks") for split, new in OTHERS],
        r"images/ has 3 images; expected 5 or more, or splits; add some",
    ),
    ("nyuv2", lambda r: remove(r, "train/rgb/0019.jpg"), r"1 listed images are not there \(train/rgb/0019.jpg\)"),
    (
        "nyuv2",
        lambda r: remove(r, "train/normals/0019.png"),
        r"1 images have no map of normals \(train/normals/0019.png not there\)",
    ),
    (
        "nyuv2",
        lambda r: draw(r, "test/normals/0126.png", content=WIDE),
        r"1 images have a map of normals of another size \(test/rgb/0126.jpg 6x4, not 8x4\)",
    ),
    ("nyuv2", lambda r: remove(r, "test.txt"), r"test.txt: no such file"),
]
TOPS = ("images", "annotations")
OTHERS = (("train", "x"), ("test", "y"))


@pytest.mark.parametrize(("case", "spoil", "message"), SPOILT, ids=[f"{c}-{m[:20]}" for c, _, m in SPOILT])
def test_messages(case: str, spoil: Change, message: str, tmp_path: Path) -> None:
    layout, make = SETS[case]
    spoil(make(tmp_path))
    with pytest.raises(LayoutError, match=message) as caught:
        layout.index(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_message_has_the_first_few_names(tmp_path: Path) -> None:
    root = year(tmp_path, train=" ".join(f"a{number:03}" for number in range(100)), val="b")
    draw(root, *(f"SegmentationClass/a{number:03}.png" for number in range(50, 100)), content=WIDE)
    with pytest.raises(LayoutError, match=r"50 images have a mask .* \(.*a050.jpg 6x4, .*a054.jpg .* and 45 more\)"):
        voc_segmentation.index(root)


def test_sizes_that_no_header_tells_are_left_to_the_job(tmp_path: Path) -> None:
    root = year(tmp_path, train="a1 a2", val="b1")
    draw(root, "JPEGImages/a1.jpg", content=b"no photo")
    draw(root, "SegmentationClass/a2.png", content=GREY[:10])
    assert counts(voc_segmentation.index(root)) == {"train": 2, "test": 1}


# ---- digests

CHANGES: dict[str, tuple[str, Change]] = {
    "image resized": ("voc", lambda root: draw(root, "JPEGImages/a1.jpg", content=GREY + b"!")),
    "mask resized": ("voc", lambda root: draw(root, "SegmentationClass/a1.png", content=GREY + b"!")),
    "mask elsewhere": (
        "voc",
        lambda root: draw(write(root, {"ImageSets/Segmentation/aug.txt": ""}), "SegmentationClassAug/a1.png"),
    ),
    "class renamed": ("voc", lambda root: write(root, {"classes.txt": "\n".join(map(str, range(20)))})),
    "normals resized": ("nyuv2", lambda root: draw(root, "test/normals/0126.png", content=GREY + b"!")),
}


@pytest.mark.parametrize("case", CHANGES)
def test_digest_changes_when_a_label_file_does(case: str, tmp_path: Path) -> None:
    name, change = CHANGES[case]
    layout, make = SETS[name]
    root = make(tmp_path)
    before = digest(layout.index(root), root)
    assert digest(layout.index(root), root) == before
    change(root)
    assert digest(layout.index(root), root) != before


def test_digest_tells_values_apart(tmp_path: Path) -> None:
    index = pets_trimaps.index(pet_set(tmp_path))
    others = [
        replace(index, categories=[2, 1]),
        replace(index, void=[3, 4]),
        replace(index, categories=[1, 2, 3], void=[]),
        replace(index, classes=[*index.classes, "[1, 2]"], categories=[]),
        replace(index, kind=NORMALS),
    ]
    assert len({digest(one, tmp_path) for one in [index, *others]}) == 6


def test_digest_of_an_absent_mask(tmp_path: Path) -> None:
    index = camvid.index(cam_set(tmp_path))
    remove(tmp_path, "valannot/b1.png")
    with pytest.raises(LayoutError, match=r"'valannot/b1.png' was indexed but is not there; index the folder again"):
        digest(index, tmp_path)


# ---- what a user's text means

WHOLE, MULTI, BOXES = "classification", "multilabel", "detection"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(Store(tmp_path / "store"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digit-scenes, which has boxes and masks."""
    root = tmp_path_factory.mktemp("data") / "digit-scenes"
    fetch.EMBEDDED["digit-scenes-masks"](root)
    return root


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((), ["voc-detection"]),
        ({WHOLE}, ["voc-detection"]),
        ({BOXES}, ["voc-detection"]),
        ({MASKS}, ["voc-segmentation"]),
        ({BOXES, MASKS, WHOLE}, ["voc-detection", "voc-segmentation"]),
    ],
)
def test_a_folder_of_boxes_and_masks(kinds: set[str], expected: list[str], scenes: Path, catalog: Catalog) -> None:
    assert [one.layout for one in adhoc.datasets(str(scenes), catalog, kinds)] == expected
    if {BOXES, MASKS} & {*kinds}:
        assert [one.layout for one in adhoc.datasets(f"voc:{scenes}", catalog, kinds)] == expected


def test_scenes_are_the_published_ones(scenes: Path, catalog: Catalog) -> None:
    index, published = voc_segmentation.index(scenes), catalog.dataset("digit-scenes-masks")
    assert index.classes == ["background", "digit"]
    assert (published.classes, published.counts) == (len(index.classes), counts(index))
    assert catalog.dataset("digit-scenes").path == published.path
    one = adhoc.dataset(f"digit-scenes-masks:{scenes}", catalog)
    assert (one.kind, one.layout, one.metric) == (MASKS, "voc-segmentation", "miou")


def test_fetch_composes_the_scenes_once(launch: Launch, tmp_path: Path) -> None:
    first, second = (launch("fetch", name) for name in ("digit-scenes-masks", "digit-scenes"))
    assert "digit-scenes: 192 scenes in" in first.stdout.replace("\n", " ")
    assert second.returncode == 0
    assert (tmp_path / "store/data/digit-scenes/SegmentationClass/0192.png").is_file()


LAID_OUT = [
    ("voc", "voc-segmentation", "voc"),
    ("ade20k", "ade20k", "ade20k"),
    ("cityscapes", "cityscapes", "cityscapes"),
    ("camvid", "camvid", "camvid"),
    ("pets", "pets-trimaps", "pets"),
    ("masks", "masks", "masks"),
    ("nyuv2", "nyuv2", "nyuv2"),
]


@pytest.mark.parametrize(("case", "layout", "prefix"), LAID_OUT)
def test_a_folder_is_recognised(case: str, layout: str, prefix: str, tmp_path: Path, catalog: Catalog) -> None:
    root = SETS[case][1](tmp_path / "mine")
    kind = NORMALS if case == "nyuv2" else MASKS
    for text in (str(root), f"{prefix}:{root}"):
        for kinds in ({kind}, {kind, WHOLE} if case != "pets" else {kind}):
            one = adhoc.dataset(text, catalog, kinds)
            assert (one.layout, one.kind) == (layout, kind)
            assert one.metric == ("within_11.25" if kind == NORMALS else "miou")
            assert not one.masks
    assert adhoc.dataset(str(root), catalog).layout == ("pets" if case == "pets" else layout)
    assert adhoc.dataset(str(root), catalog, {WHOLE}).layout == ("pets" if case == "pets" else layout)


def test_pets_are_what_the_tasks_take(tmp_path: Path, catalog: Catalog) -> None:
    root = pet_set(tmp_path / "mine")
    for text in (str(root), f"pets:{root}"):
        both = adhoc.datasets(text, catalog, {WHOLE, MASKS})
        assert [(one.layout, one.metric) for one in both] == [("pets", "mean_per_class"), ("pets-trimaps", "miou")]
        assert len({one.name for one in both}) == 2
    with pytest.raises(Refusal, match=r"it is classification \(pets\) and segmentation \(pets-trimaps\); name the la"):
        adhoc.dataset(str(root), catalog, {WHOLE, MASKS})


def test_a_plan_says_what_does_not_do(tmp_path: Path, catalog: Catalog) -> None:
    catalog.tasks["pixels"] = Task(name="pixels", kinds=(MASKS,))
    asked = Grid(tasks=("pixels",), models=("pixels_8x8",), datasets=(str(cam_set(tmp_path / "cam")),), seeds=(0,))
    assert [cell.dataset.kind for cell in plan.plan(asked, catalog).cells] == [MASKS]
    with pytest.raises(Refusal, match=r"linear takes classification or multilabel datasets, but cam-\w+ is segmenta"):
        plan.plan(replace(asked, tasks=("linear",)), catalog)
    with pytest.raises(Refusal, match=r"pixels takes segmentation datasets, but nyu-\w+ is normals"):
        plan.plan(replace(asked, datasets=(str(depth_set(tmp_path / "nyu")),)), catalog)


# ---- published sets and samples

PUBLISHED = {
    "voc2012aug": ("voc-segmentation", 21),
    "ade20k": ("ade20k", 150),
    "cityscapes": ("cityscapes", 19),
    "camvid": ("camvid", 11),
    "pets-trimaps": ("pets-trimaps", 2),
    "digit-scenes-masks": ("voc-segmentation", 2),
    "nyuv2": ("nyuv2", 0),
}


def test_published_sets(catalog: Catalog) -> None:
    found = {name: one for name, one in catalog.datasets.items() if one.kind in (MASKS, NORMALS)}
    assert {name: (one.layout, one.classes) for name, one in found.items()} == PUBLISHED
    for one in found.values():
        assert one.kind == adhoc.layout(one.layout).KIND
        assert one.metric == adhoc.METRICS[one.kind]
        assert one.source and one.licence and one.citation
        assert {"train", "test"} <= one.counts.keys()


def sample(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"no sample data: {name} is neither in $SHARED_DATA nor in ../shared/data")
    return SHARED / name


@pytest.mark.parametrize(
    ("name", "layout", "sizes"),
    [
        ("CamVid", camvid, {"train": 12, "test": 6}),
        ("oxford_pets_mini", pets_trimaps, {"train": 48, "test": 36}),
        ("voc2012_mini", voc_segmentation, {"train": 20, "test": 20}),
        ("nyuv2_mini", nyuv2, {"train": 24, "test": 12}),
    ],
)
def test_samples(name: str, layout: ModuleType, sizes: dict[str, int], catalog: Catalog) -> None:
    index = layout.index(sample(name))
    assert counts(index) == sizes
    one = adhoc.dataset(str(sample(name)), catalog, {layout.KIND})
    assert (one.kind, one.classes, one.counts) == (layout.KIND, len(index.classes), sizes)


def test_values_of_samples() -> None:
    image, numpy = pytest.importorskip("PIL.Image"), pytest.importorskip("numpy")
    for name, layout in (("CamVid", camvid), ("oxford_pets_mini", pets_trimaps), ("voc2012_mini", voc_segmentation)):
        index = layout.index(sample(name))
        seen = {
            int(v) for f in pairs.label_files(index.splits["test"]) for v in numpy.unique(image.open(SHARED / name / f))
        }
        assert len(seen) > 2
        assert seen <= {*index.categories, *index.void}


def test_the_sample_of_ade20k() -> None:
    root = sample("ade20k_sample")
    with pytest.raises(LayoutError, match=r"no folder ADEChallengeData2016/images/training, .*annotations/training; "):
        ade20k.index(root)


def test_the_classes_of_ade20k(tmp_path: Path) -> None:
    names = sample("ade20k_sample") / "ADEChallengeData2016/objectInfo150.txt"
    shutil.copy(names, ade_set(tmp_path))
    index = ade20k.index(tmp_path)
    assert (len(set(index.classes)), index.classes[0], index.classes[-1]) == (150, "wall", "flag")


def test_the_same_images_for_training_and_test(tmp_path: Path) -> None:
    root = year(tmp_path, train="a1 a2", val="a2 a1")
    found = voc_segmentation.index(root)
    assert sorted(found.splits["train"].items) == sorted(found.splits["test"].items)
