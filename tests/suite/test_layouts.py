"""Each layout against a miniature of the real one, its messages, and the sample data where it is there."""

import importlib
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from folders import write

from suite.index import Index, LayoutError, Split, Thing, digest, images, locate
from suite.layouts import cifar, dtd, imagefolder, pets, tiny_imagenet, voc

LAYOUTS = sorted(path.stem for path in Path(imagefolder.__file__).parent.glob("[a-z]*.py"))
SHARED = Path(os.environ.get("SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")


def photos(root: Path, *names: str) -> Path:
    return write(root, {name: f"photo {name}" for name in names})


def counts(index: Index) -> dict[str, int]:
    for split in index.splits.values():
        assert len(split.items) == len(split.labels)
    return {name: len(split.items) for name, split in index.splits.items()}


# ---- the index


def test_locate() -> None:
    assert locate("a/data_batch_1#17") == ("a/data_batch_1", 17)
    assert locate("train/c#/photo#1.jpg") == ("train/c#/photo#1.jpg", None)
    assert locate("photo.jpg") == ("photo.jpg", None)


def test_images_are_sorted_by_code_point_and_hidden_files_left_out(tmp_path: Path) -> None:
    photos(tmp_path, "b.jpg", "B.JPEG", "ä.png", "a/z.webp", "._b.jpg", ".cache/c.jpg", "Thumbs.db", "notes.txt")
    assert images(tmp_path) == ["B.JPEG", "a/z.webp", "b.jpg", "ä.png"]


def folder_set(root: Path) -> Path:
    return photos(root, "train/cat/1.jpg", "train/cat/2.jpg", "train/dog/1.jpg", "test/cat/1.jpg", "test/dog/1.jpg")


CHANGES: dict[str, Callable[[Path], object]] = {
    "added": lambda root: photos(root, "train/dog/3.jpg"),
    "removed": lambda root: (root / "train/cat/2.jpg").unlink(),
    "renamed": lambda root: (root / "train/cat/2.jpg").rename(root / "train/cat/3.jpg"),
    "relabelled": lambda root: (root / "train/cat/2.jpg").rename(root / "train/dog/2.jpg"),
    "resized": lambda root: (root / "test/dog/1.jpg").write_text("a longer photo than before"),
    "class renamed": lambda root: [(root / split / "dog").rename(root / split / "fox") for split in ("train", "test")],
}


@pytest.mark.parametrize("change", CHANGES)
def test_digest_changes_when_a_file_is(change: str, tmp_path: Path) -> None:
    root = folder_set(tmp_path)
    before = digest(imagefolder.index(root), root)
    assert len(before) == 64
    CHANGES[change](root)
    assert digest(imagefolder.index(root), root) != before


def test_digest_is_that_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    here, there = folder_set(tmp_path / "a"), folder_set(tmp_path / "elsewhere")
    os.utime(there / "train/cat/1.jpg", (0, 0))
    assert digest(imagefolder.index(here), here) == digest(imagefolder.index(there), there)


def test_digest_tells_labels_kinds_and_splits_apart(tmp_path: Path) -> None:
    photos(tmp_path, "1.jpg", "2.jpg")
    split = Split(["1.jpg", "2.jpg"], [0, 1])
    index = Index("classification", ["a", "b"], {"train": split})
    others = [
        Index("multilabel", ["a", "b"], {"train": split}),
        Index("classification", ["ab"], {"train": split}),
        Index("classification", ["a", "b"], {"test": split}),
        Index("classification", ["a", "b"], {"train": Split(["1.jpg", "2.jpg"], [1, 0])}),
        Index("classification", ["a", "b"], {"train": Split(["1.jpg", "2.jpg"], [[0, 1], [1, 0]])}),
        *(
            Index("detection", ["a", "b"], {"train": Split(["1.jpg", "2.jpg"], [[thing], []])})
            for thing in (
                Thing(0, (0, 0, 1, 1)),
                Thing(0, (0, 0, 1, 2)),
                Thing(1, (0, 0, 1, 1)),
                Thing(0, (0, 0, 1, 1), difficult=True),
                Thing(0, (0, 0, 1, 1), mask=[[0, 0, 1, 1, 0, 1]]),
            )
        ),
    ]
    assert len({digest(each, tmp_path) for each in [index, *others]}) == 11


def test_digest_of_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"'1.jpg' was indexed but is not there"):
        digest(Index("classification", ["a"], {"train": Split(["1.jpg"], [0])}), tmp_path)


# ---- imagefolder


def test_imagefolder_with_three_splits(tmp_path: Path) -> None:
    root = photos(folder_set(tmp_path), "val/dog/deep/er/1.JPEG", "val/dog/.hidden.jpg", "train/.git/1.jpg")
    index = imagefolder.index(root)
    assert index.kind == imagefolder.KIND == "classification"
    assert index.classes == ["cat", "dog"]
    assert index.splits["train"] == Split(["train/cat/1.jpg", "train/cat/2.jpg", "train/dog/1.jpg"], [0, 0, 1])
    assert index.splits["val"] == Split(["val/dog/deep/er/1.JPEG"], [1])
    assert counts(index) == {"train": 3, "val": 1, "test": 2}


def test_imagefolder_whose_val_is_the_test_split(tmp_path: Path) -> None:
    index = imagefolder.index(photos(tmp_path, "train/a/1.jpg", "val/a/1.jpg"))
    assert index.splits == {"train": Split(["train/a/1.jpg"], [0]), "test": Split(["val/a/1.jpg"], [0])}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "the folder is empty; expected train/CLASS"),
        (["val/a/1.jpg"], "the folder holds val; expected train/CLASS"),
        (["train/a/1.jpg"], "the folder holds train; expected train/CLASS"),
        (["train/1.jpg", "test/1.jpg"], "train: the folder holds 1.jpg; expected one folder a class"),
        (["train/a/1.jpg", "test/1.jpg"], "test: the folder holds 1.jpg; expected one folder a class"),
        (["train/a/1.txt", "test/a/1.jpg"], "no image in train/a/"),
        (["train/a/1.jpg", "test/b/1.jpg"], r"test/ has 1 classes that train/ has not \(b\)"),
    ],
)
def test_imagefolder_messages(files: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=message) as caught:
        imagefolder.index(photos(tmp_path, *files))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_that_does_not_exist_or_is_a_file(layout: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"suite.layouts.{layout}")
    assert isinstance(module.KIND, str)
    (tmp_path / "file").touch()
    for name, message in (("none", "does not exist; expected"), ("file", "is a file, not a folder; expected")):
        assert not module.recognise(tmp_path / name)
        with pytest.raises(LayoutError, match=message):
            module.index(tmp_path / name)


# ---- pets


def pet_set(root: Path) -> Path:
    lists = {
        "annotations/trainval.txt": "#Image CLASS-ID SPECIES BREED ID\nBengal_1 1 1 1\nshiba_inu_10 2 2 1\n",
        "annotations/test.txt": "shiba_inu_2 2 2 1\n",
    }
    return photos(write(root, lists), "images/Bengal_1.jpg", "images/shiba_inu_10.jpg", "images/shiba_inu_2.jpg")


def test_pets(tmp_path: Path) -> None:
    index = pets.index(pet_set(tmp_path))
    assert index.classes == ["Bengal", "shiba_inu"]
    assert index.splits == {
        "train": Split(["images/Bengal_1.jpg", "images/shiba_inu_10.jpg"], [0, 1]),
        "test": Split(["images/shiba_inu_2.jpg"], [1]),
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Bengal_7 1 1 1", r"1 listed images are not there \(images/Bengal_7.jpg\); unpack the images"),
        ("Bengal_7 3 1 1", r"1 classes have no image in trainval.txt \(Bengal\)"),
        ("pug_7 5 1 1", r"class ids are \[1, 2, 5\]; expected 1, 2, 3"),
        ("pug_7 1 1 1", "class id 1 is 'Bengal' and 'pug'"),
        ("pug_7", "line 'pug_7'; expected NAME CLASS-ID"),
    ],
)
def test_pets_messages(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=message):
        pets.index(write(pet_set(tmp_path), {"annotations/test.txt": line}))


def test_pets_without_the_test_list(tmp_path: Path) -> None:
    (pet_set(tmp_path) / "annotations/test.txt").unlink()
    with pytest.raises(LayoutError, match=r"test.txt: no such file; the folder holds trainval.txt"):
        pets.index(tmp_path)


# ---- dtd


def texture_set(root: Path) -> Path:
    names = {
        split: [f"{kind}/{kind}_{number}.jpg" for kind in ("zig", "dot")] for number, split in enumerate(dtd.SPLITS)
    }
    write(root, {f"labels/{split}1.txt": "\n".join(listed) + "\n" for split, listed in names.items()})
    return photos(root, *(f"images/{name}" for listed in names.values() for name in listed))


def test_dtd(tmp_path: Path) -> None:
    index = dtd.index(texture_set(tmp_path))
    assert index.classes == ["dot", "zig"]
    assert index.splits["val"] == Split(["images/zig/zig_1.jpg", "images/dot/dot_1.jpg"], [1, 0])
    assert counts(index) == {"train": 2, "val": 2, "test": 2}


def test_dtd_messages(tmp_path: Path) -> None:
    root = texture_set(tmp_path)
    write(root, {"labels/val1.txt": "".join(f"dot/dot_9{number}.jpg\n" for number in range(7))})
    with pytest.raises(LayoutError, match=r"7 listed images are not there \(images/dot/dot_90.jpg, .* and 2 more\)"):
        dtd.index(root)
    write(root, {"labels/val1.txt": "new/new_1.jpg\n"})
    with pytest.raises(LayoutError, match=r"val1.txt names classes that train1.txt has not \(new\)"):
        dtd.index(root)
    write(root, {"labels/val1.txt": "\n"})
    with pytest.raises(LayoutError, match=r"val1.txt is empty"):
        dtd.index(root)


# ---- cifar: pickles as Python 2 and numpy wrote them, opcode by opcode


def text(value: bytes) -> bytes:
    """A str of Python 2."""
    return b"T" + struct.pack("<i", len(value)) + value


def array(rows: int, raw: bytes, fortran: bool = False) -> bytes:
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    kind = (
        b"cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    shape = b"J" + struct.pack("<i", rows) + b"M\x00\x0c\x86"
    return reconstruct + b"(K\x01" + shape + kind + (b"I01\n" if fortran else b"I00\n") + text(raw) + b"tb"


def python_2(**entries: bytes) -> bytes:
    return b"\x80\x02}(" + b"".join(text(key.encode()) + value for key, value in entries.items()) + b"u."


def numbers(values: list[int]) -> bytes:
    return b"](" + b"".join(b"K" + bytes([value]) for value in values) + b"e"


def words(values: list[str]) -> bytes:
    return b"](" + b"".join(text(value.encode()) for value in values) + b"e"


def pixels(rows: int, seed: int = 0) -> bytes:
    return bytes((seed + position * 7) % 251 for position in range(rows * cifar.ROW))


def cifar10(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "batches.meta").write_bytes(python_2(label_names=words(["plane", "car"])))
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        batch = python_2(batch_label=text(b"one of"), labels=numbers([1, 0]), data=array(2, pixels(2)))
        (folder / name).write_bytes(batch)
    return folder


def cifar100(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "meta").write_bytes(python_2(fine_label_names=words(["apple", "bee"]), coarse_label_names=words(["x"])))
    for name in ("train", "test"):
        batch = python_2(fine_labels=numbers([0, 1, 1]), coarse_labels=numbers([0, 0, 0]), data=array(3, pixels(3)))
        (folder / name).write_bytes(batch)
    return folder


def test_cifar10_at_the_root_or_below(tmp_path: Path) -> None:
    folder = cifar10(tmp_path / "cifar-10-batches-py")
    index = cifar.index(folder)
    assert index.classes == ["plane", "car"]
    assert index.splits["test"] == Split(["test_batch#0", "test_batch#1"], [1, 0])
    assert counts(index) == {"train": 10, "test": 2}
    above = cifar.index(tmp_path)
    assert above.splits["train"].items[2] == "cifar-10-batches-py/data_batch_2#0"
    assert digest(index, folder) != digest(above, tmp_path)
    assert cifar.images(folder / "data_batch_1") == pixels(2)


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    index = cifar.index(cifar100(tmp_path / "any-name"))
    assert index.classes == ["apple", "bee"]
    assert index.splits["train"] == Split(["train#0", "train#1", "train#2"], [0, 1, 1])


def test_cifar_pixels_of_an_array_in_column_order_and_of_python_3(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    rows = numpy.frombuffer(pixels(3), dtype="uint8").reshape(3, cifar.ROW)
    (tmp_path / "columns").write_bytes(python_2(data=array(3, rows.tobytes(order="F"), fortran=True)))
    (tmp_path / "python-3").write_bytes(pickle.dumps({"data": rows.copy()}, protocol=2))
    assert cifar.images(tmp_path / "columns") == cifar.images(tmp_path / "python-3") == pixels(3)


def test_cifar_messages(tmp_path: Path) -> None:
    folder = cifar10(tmp_path / "both" / "cifar-10-batches-py")
    cifar100(tmp_path / "both" / "cifar-100-python")
    with pytest.raises(LayoutError, match=r"both CIFAR-10 and CIFAR-100; expected one; name .*cifar-10-batches-py"):
        cifar.index(tmp_path / "both")
    whole = (folder / "data_batch_4").read_bytes()
    (folder / "data_batch_4").unlink()
    with pytest.raises(LayoutError, match=r"expected data_batch_4 beside the other files"):
        cifar.index(folder)
    (folder / "data_batch_4").write_bytes(whole[:3000])
    with pytest.raises(LayoutError, match=r"data_batch_4: not a CIFAR file .*unpack the archive again"):
        cifar.index(folder)
    (folder / "data_batch_4").write_bytes(python_2(labels=numbers([7]), data=array(2, pixels(2))))
    with pytest.raises(LayoutError, match=r"2 images and 1 labels from 7 to 7; expected one label of 0..1 an image"):
        cifar.index(folder)
    (folder / "data_batch_4").write_bytes(python_2(data=numbers([1])))
    with pytest.raises(LayoutError, match=r"no list 'labels' in it"):
        cifar.index(folder)


def test_cifar_runs_nothing(tmp_path: Path) -> None:
    folder = cifar10(tmp_path / "cifar-10-batches-py")
    mark = tmp_path / "ran"
    (folder / "test_batch").write_bytes(b"cposix\nsystem\n" + b"(S'touch " + bytes(mark) + b"'\ntR.")
    with pytest.raises(LayoutError, match=r"it would run 'posix.system'"):
        cifar.index(folder)
    assert not mark.exists()


# ---- tiny imagenet


def tiny_set(root: Path) -> Path:
    lists = {
        "wnids.txt": "n2\nn1\n",
        "train/n1/n1_boxes.txt": "n1_0.JPEG\t0\t0\t9\t9\n",
        "val/val_annotations.txt": "val_0.JPEG\tn2\t0\t0\t9\t9\nval_1.JPEG\tn1\t0\t0\t9\t9\n",
    }
    write(root, lists)
    return photos(
        root,
        *("train/n1/images/n1_0.JPEG", "train/n2/images/n2_0.JPEG", "val/images/val_0.JPEG", "val/images/val_1.JPEG"),
        "test/images/test_0.JPEG",
    )


def test_tiny_imagenet(tmp_path: Path) -> None:
    index = tiny_imagenet.index(tiny_set(tmp_path))
    assert index.classes == ["n1", "n2"]
    assert index.splits == {
        "train": Split(["train/n1/images/n1_0.JPEG", "train/n2/images/n2_0.JPEG"], [0, 1]),
        "test": Split(["val/images/val_0.JPEG", "val/images/val_1.JPEG"], [1, 0]),
    }


def test_tiny_imagenet_messages(tmp_path: Path) -> None:
    root = tiny_set(tmp_path)
    (root / "val/images/val_1.JPEG").unlink()
    with pytest.raises(LayoutError, match=r"1 listed images are not there \(val/images/val_1.JPEG\)"):
        tiny_imagenet.index(root)
    write(root, {"val/val_annotations.txt": "val_0.JPEG\tn9\n"})
    with pytest.raises(LayoutError, match=r"n9'; expected IMAGE<tab>WNID"):
        tiny_imagenet.index(root)
    (root / "train/n2/images/n2_0.JPEG").unlink()
    with pytest.raises(LayoutError, match=r"1 classes have no image in train/ \(n2\)"):
        tiny_imagenet.index(root)
    write(root, {"wnids.txt": "n1\nn2\nn3\n"})
    with pytest.raises(LayoutError, match=r"train/ has 2 classes and wnids.txt 3, not the same \(n3\)"):
        tiny_imagenet.index(root)


# ---- voc


def voc_set(year: Path, *splits: str) -> Path:
    for split in splits:
        lists = {"cat": f"{split}_1  1\n{split}_2 -1\n", "bus": f"{split}_1  0\n{split}_2  1\n"}
        write(year / "ImageSets" / "Main", {f"{name}_{split}.txt": column for name, column in lists.items()})
        write(year / "ImageSets" / "Main", {f"{split}.txt": f"{split}_1\n{split}_2\n"})
        photos(year / "JPEGImages", f"{split}_1.jpg", f"{split}_2.jpg")
    return year


def test_voc_with_a_test_list(tmp_path: Path) -> None:
    voc_set(tmp_path / "VOCdevkit" / "VOC2007", "train", "val", "trainval", "test")
    index = voc.index(tmp_path)
    assert (index.kind, index.classes) == ("multilabel", ["bus", "cat"])
    assert counts(index) == {"train": 2, "val": 2, "test": 2}
    folder = "VOCdevkit/VOC2007/JPEGImages"
    images = [f"{folder}/test_1.jpg", f"{folder}/test_2.jpg"]
    assert index.splits["test"] == Split(images, [[0, 1], [1, 0]], difficult=[[0], []])  # a bus, hard to see


@pytest.mark.parametrize(("root", "prefix"), [(".", "VOC2012/"), ("VOC2012", "")])
def test_voc_whose_val_is_the_test_split(root: str, prefix: str, tmp_path: Path) -> None:
    voc_set(tmp_path / "VOC2012", "train", "val")
    index = voc.index(tmp_path / root)
    assert counts(index) == {"train": 2, "test": 2}
    assert index.splits["test"].items[0] == f"{prefix}JPEGImages/val_1.jpg"


def test_voc_messages(tmp_path: Path) -> None:
    year = voc_set(tmp_path / "VOC2007", "train", "val", "test")
    lists = year / "ImageSets" / "Main"
    (year / "JPEGImages/val_2.jpg").unlink()
    with pytest.raises(LayoutError, match=r"1 listed images are not there \(JPEGImages/val_2.jpg\)"):
        voc.index(year)
    write(lists, {"cat_val.txt": "val_1 1\n"})
    with pytest.raises(LayoutError, match=r"cat_val.txt lists other images than bus_val.txt \(val_2\)"):
        voc.index(year)
    write(lists, {"cat_val.txt": "val_1\nval_2\n"})
    with pytest.raises(LayoutError, match=r"line 'val_1'; expected IMAGE 1\|0\|-1"):
        voc.index(year)
    voc_set(year, "val")
    (lists / "cat_test.txt").unlink()
    with pytest.raises(LayoutError, match=r"classes of train and test differ \(cat\)"):
        voc.index(year)
    voc_set(tmp_path / "VOCdevkit" / "VOC2012", "train", "val")
    with pytest.raises(
        LayoutError, match=r"holds VOC2007, VOCdevkit/VOC2012; expected one year; name the year's folder"
    ):
        voc.index(tmp_path)


# ---- real data

SAMPLES = {
    "cifar10_mini": (cifar, 10, {"train": 1000, "test": 500}),
    "dtd_mini": (dtd, 10, {"train": 60, "val": 30, "test": 30}),
    "hymenoptera_mini": (imagefolder, 2, {"train": 80, "test": 40}),
    "oxford_pets_mini": (pets, 3, {"train": 48, "test": 36}),
    "tiny-imagenet-mini": (tiny_imagenet, 10, {"train": 240, "test": 100}),
    "voc2012_mini": (voc, 20, {"train": 20, "test": 20}),
}
ALSO = {  # other layouts that a sample has: test_detection_layouts.py and test_segmentation_layouts.py
    "oxford_pets_mini": ["pets_trimaps"],
    "voc2012_mini": ["voc_detection", "voc_segmentation"],
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_sample_data(sample: str) -> None:
    root = SHARED / sample
    if not root.is_dir():
        pytest.skip(f"no sample data: {sample} is neither in $SHARED_DATA nor in ../shared/data")
    layout, classes, sizes = SAMPLES[sample]
    specific = [name for name in LAYOUTS if name != "images"]  # which all of them are
    modules: list[ModuleType] = [importlib.import_module(f"suite.layouts.{name}") for name in specific]
    others = [importlib.import_module(f"suite.layouts.{name}") for name in ALSO.get(sample, [])]
    assert [module for module in modules if module.recognise(root)] == [layout, *others]
    index = layout.index(root)
    assert len(index.classes) == classes
    assert counts(index) == sizes
    assert digest(index, root) == digest(layout.index(root), root)


def test_sample_cifar_against_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    path = SHARED / "cifar10_mini" / "cifar-10-batches-py" / "test_batch"
    if not path.is_file():
        pytest.skip("no sample data: cifar10_mini is neither in $SHARED_DATA nor in ../shared/data")
    with path.open("rb") as file:
        expected = pickle.load(file, encoding="latin1")
    rows = numpy.frombuffer(cifar.images(path), dtype="uint8").reshape(-1, cifar.ROW)
    assert (rows == expected["data"]).all()
    assert cifar.index(path.parent).splits["test"].labels == expected["labels"]
