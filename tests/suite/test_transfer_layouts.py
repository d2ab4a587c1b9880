"""The layouts of the sets that transfer is measured on, against miniatures of the real ones, and their messages."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mat_writer
import pytest
from folders import write

from suite import adhoc
from suite.catalog import Catalog
from suite.index import Index, LayoutError, Split, digest
from suite.layouts import aircraft, caltech101, cars, eurosat, flowers, food101, sun397, voc


def photos(root: Path, *names: str) -> Path:
    return write(root, {name: f"photo {name}" for name in names})


def touch(root: Path, folder: str, names: list[str]) -> None:
    """Many empty files, fast."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        os.close(os.open(f"{root}/{folder}/{name}", os.O_CREAT | os.O_WRONLY))


def counts(index: Index) -> dict[str, int]:
    for split in index.splits.values():
        assert len(split.items) == len(split.labels) == len(set(split.items))
    return {name: len(split.items) for name, split in index.splits.items()}


# ---- the miniatures


def aircraft_set(root: Path) -> Path:
    lists = {
        "data/variants.txt": "707-320\nF-16A/B\nHawk T1\n",
        "data/images_variant_train.txt": "1025794 707-320\n1340192 F-16A/B\n0056978 Hawk T1\n",
        "data/images_variant_val.txt": "1025795 F-16A/B\n",
        "data/images_variant_test.txt": "1514522 Hawk T1\n0747566 707-320\n0748444 F-16A/B\n",
        "data/images_variant_trainval.txt": "1025794 707-320\n",
        "data/families.txt": "Boeing 707\n",
        "README.md": "",
    }
    numbers = ("1025794", "1340192", "0056978", "1025795", "1514522", "0747566", "0748444")
    return photos(write(root, lists), *(f"data/images/{number}.jpg" for number in numbers))


def caltech_set(root: Path) -> Path:
    for name, count in (("BACKGROUND_Google", 40), ("Faces", 35), ("Faces_easy", 33)):
        folder = f"101_ObjectCategories/{name}"
        touch(root, folder, [f"image_{number:04d}.jpg" for number in range(1, count + 1)])
        touch(root, folder, ["._image_0001.jpg", ".DS_Store"])
    touch(root, "101_ObjectCategories/BACKGROUND_Google", ["tmp"])
    touch(root, "__MACOSX", ["._101_ObjectCategories"])
    return root


BOX = {"bbox_x1": 39, "bbox_y1": 116, "bbox_x2": 569, "bbox_y2": 375}
MODELS = ("AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012")


def cars_set(root: Path, test: str = "devkit/cars_test_annos_withlabels.mat") -> Path:
    train = [BOX | {"class": number, "fname": f"0000{number}.jpg"} for number in (1, 2)]
    tested = [BOX | {"class": 2, "fname": "00001.jpg"}, BOX | {"class": 1, "fname": "00002.jpg"}]
    mat_writer.write(root / "devkit/cars_meta.mat", {"class_names": MODELS})
    mat_writer.write(root / "devkit/cars_train_annos.mat", {"annotations": train})
    mat_writer.write(root / "devkit/cars_test_annos.mat", {"annotations": [BOX | {"fname": "00001.jpg"}]})
    mat_writer.write(root / test, {"annotations": tested})
    return photos(root, *(f"cars_{split}/0000{number}.jpg" for split in ("train", "test") for number in (1, 2)))


def old_cars_set(root: Path) -> Path:
    rows = [
        {"relative_im_path": f"car_ims/00000{number}.jpg"} | BOX | {"class": label, "test": test}
        for number, (label, test) in enumerate(((1, 0), (2, 1), (1, 1), (2, 0)), start=1)
    ]
    mat_writer.write(root / "cars_annos.mat", {"annotations": rows, "class_names": MODELS})
    return photos(root, *(f"car_ims/00000{number}.jpg" for number in range(1, 5)))


def flowers_set(root: Path) -> Path:
    mat_writer.write(root / "imagelabels.mat", {"labels": [2, 1, 2, 1, 1, 2]})
    mat_writer.write(root / "setid.mat", {"trnid": [1, 2], "valid": [4, 3], "tstid": [6, 5]})
    return photos(root, *(f"jpg/image_0000{number}.jpg" for number in range(1, 7)))


def food_set(root: Path) -> Path:
    lists = {
        "meta/classes.txt": "beignets\napple_pie\n",
        "meta/train.txt": "beignets/101\napple_pie/1005649\napple_pie/1014775\n",
        "meta/test.txt": "apple_pie/1011328\nbeignets/103\n",
        "meta/train.json": '{"beignets": ["beignets/101"], "apple_pie": ["apple_pie/1005649", "apple_pie/1014775"]}',
        "meta/test.json": '{"apple_pie": ["apple_pie/1011328"], "beignets": ["beignets/103"]}',
        "README.txt": "",
    }
    names = ("beignets/101", "apple_pie/1005649", "apple_pie/1014775", "apple_pie/1011328", "beignets/103")
    return photos(write(root, lists), *(f"images/{name}.jpg" for name in names))


def sun_set(root: Path, lists: str = "") -> Path:
    partitions = {
        "ClassName.txt": "/a/abbey\n/a/apartment_building/outdoor\n/y/youth_hostel\n",
        "Training_01.txt": "/a/abbey/sun_a.jpg\r\n/y/youth_hostel/sun_y.jpg\r\n/a/apartment_building/outdoor/sun_o.jpg",
        "Testing_01.txt": "/a/abbey/sun_b.jpg\n/y/youth_hostel/sun_z.jpg\n/a/apartment_building/outdoor/sun_p.jpg\n",
        "Training_02.txt": "/a/abbey/sun_b.jpg\n",
        "Testing_02.txt": "/a/abbey/sun_a.jpg\n",
    }
    write(root / lists, partitions)
    names = ("abbey/sun_a", "abbey/sun_b", "apartment_building/outdoor/sun_o", "apartment_building/outdoor/sun_p")
    photos(
        root / "SUN397", *(f"a/{name}.jpg" for name in names), "y/youth_hostel/sun_y.jpg", "y/youth_hostel/sun_z.jpg"
    )
    return write(root, {"SUN397/ClassName.txt": partitions["ClassName.txt"]})


def eurosat_set(root: Path) -> Path:
    for name in eurosat.CLASSES:
        touch(root, f"2750/{name}", [f"{name}_{number}.jpg" for number in range(1, 13)])
    return root


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eurosat, "TEST", 3)
    monkeypatch.setattr(eurosat, "VAL", 2)


SETS: dict[str, tuple[Any, Callable[[Path], Path], str]] = {
    "aircraft": (aircraft, aircraft_set, "fgvc-aircraft-2013b"),
    "caltech101": (caltech101, caltech_set, "caltech-101"),
    "cars": (cars, cars_set, "stanford_cars"),
    "old cars": (cars, old_cars_set, "stanford_cars"),
    "flowers": (flowers, flowers_set, "flowers-102"),
    "food101": (food101, food_set, "food-101"),
    "sun397": (sun397, sun_set, ""),
    "eurosat": (eurosat, eurosat_set, "EuroSAT"),
}


# ---- of all


@pytest.mark.parametrize("name", SETS)
@pytest.mark.usefixtures("few")
def test_it_alone_recognises_the_folder_and_the_one_around_it(name: str, tmp_path: Path) -> None:
    layout, make, folder = SETS[name]
    root = make(tmp_path / "data" / folder)
    names = [one for one in adhoc.layout_names() if one != "images" and "/" not in one]
    for place in {root, tmp_path / "data"}:
        assert [one for one in names if adhoc.layout(one).recognise(place)] == [layout.__name__.rpartition(".")[2]]
        index = layout.index(place)
        assert index.kind == layout.KIND == "classification"
        assert digest(index, place) == digest(layout.index(place), place)
    assert counts(layout.index(root)) == counts(layout.index(tmp_path / "data"))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.usefixtures("few")
def test_half_a_set_is_told_in_a_line(name: str, tmp_path: Path) -> None:
    """Whatever single folder or file is gone, it is another digest or a message, never a crash."""
    layout, make, _ = SETS[name]
    whole = make(tmp_path / "whole")
    before, index = digest(layout.index(whole), whole), layout.index(whole)
    items = {item for split in index.splits.values() for item in split.items}
    for gone in sorted(path.relative_to(whole) for path in whole.rglob("*"))[:40]:
        shutil.rmtree(tmp_path / "part", ignore_errors=True)
        shutil.copytree(whole, tmp_path / "part")
        path = tmp_path / "part" / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        try:
            left = digest(layout.index(tmp_path / "part"), tmp_path / "part")
            assert left != before or str(gone) not in items, gone
        except LayoutError as error:
            assert "\n" not in str(error)


# ---- each


def test_aircraft(tmp_path: Path) -> None:
    index = aircraft.index(aircraft_set(tmp_path))
    assert index.classes == ["707-320", "F-16A/B", "Hawk T1"]
    assert index.splits["train"] == Split(
        [f"data/images/{n}.jpg" for n in ("1025794", "1340192", "0056978")], [0, 1, 2]
    )
    assert counts(index) == {"train": 3, "val": 1, "test": 3}
    assert aircraft.index(tmp_path / "data").splits["val"] == Split(["images/1025795.jpg"], [1])


def test_a_byte_order_mark_is_no_part_of_a_list(tmp_path: Path) -> None:
    before = aircraft.index(aircraft_set(tmp_path))
    for name in ("variants.txt", "images_variant_train.txt"):
        path = tmp_path / "data" / name
        path.write_text(path.read_text(), encoding="utf-8-sig")
    assert aircraft.index(tmp_path) == before


def test_aircraft_messages(tmp_path: Path) -> None:
    root = aircraft_set(tmp_path)
    whole = (root / "data/images_variant_test.txt").read_text()
    write(root, {"data/images_variant_test.txt": "1514522 Hawk T1\n0747566 707-320\n"})
    with pytest.raises(LayoutError, match=r"1 classes have no image in images_variant_test.txt \(F-16A/B\)"):
        aircraft.index(root)
    write(root, {"data/images_variant_test.txt": whole})
    (root / "data/images/0747566.jpg").unlink()
    with pytest.raises(
        LayoutError, match=r"1 listed images are not there \(data/images/0747566.jpg\); unpack the images"
    ):
        aircraft.index(root)
    write(root, {"data/images_variant_val.txt": "1025795 Boeing 707\n"})
    with pytest.raises(
        LayoutError, match=r"val.txt: line '1025795 Boeing 707'; expected NUMBER VARIANT, .* \(3 there\)"
    ):
        aircraft.index(root)
    write(root, {"data/images_variant_val.txt": "\n"})
    with pytest.raises(LayoutError, match=r"val.txt: no line; expected NUMBER VARIANT"):
        aircraft.index(root)
    (root / "data/images_variant_val.txt").unlink()
    with pytest.raises(LayoutError, match=r"images_variant_val.txt: no such file; the folder holds families.txt"):
        aircraft.index(root)


def test_caltech101_leaves_out_what_is_no_image_and_repeats_its_draw(tmp_path: Path) -> None:
    index = caltech101.index(caltech_set(tmp_path))
    assert index.classes == ["BACKGROUND_Google", "Faces", "Faces_easy"]
    items = [item for split in index.splits.values() for item in split.items]
    assert len(items) == 40 + 35 + 33
    assert all(item.endswith(".jpg") and "/._" not in item for item in items)
    assert all(17 <= index.splits["train"].labels.count(label) <= 30 for label in range(3))  # type: ignore[call-overload]
    inside = caltech101.index(tmp_path / "101_ObjectCategories")
    assert [f"101_ObjectCategories/{item}" for item in inside.splits["train"].items] == index.splits["train"].items


def test_caltech101_draws_as_numpy_does() -> None:
    numpy = pytest.importorskip("numpy")
    numpy.random.seed(5)
    draw = caltech101._twister(5)
    for count in (31, 32, 33, 435, 800):
        assert caltech101._draws(draw, count) == set(numpy.random.choice(count, 30).tolist())


# Images of each class of the published archive.
CALTECH = """
BACKGROUND_Google:467 Faces:435 Faces_easy:435 Leopards:200 Motorbikes:798 accordion:55 airplanes:800 anchor:42 ant:42
barrel:47 bass:54 beaver:46 binocular:33 bonsai:128 brain:98 brontosaurus:43 buddha:85 butterfly:91 camera:50
cannon:43 car_side:123 ceiling_fan:47 cellphone:59 chair:62 chandelier:107 cougar_body:47 cougar_face:69 crab:73
crayfish:70 crocodile:50 crocodile_head:51 cup:57 dalmatian:67 dollar_bill:52 dolphin:65 dragonfly:68
electric_guitar:75 elephant:64 emu:53 euphonium:64 ewer:85 ferry:67 flamingo:67 flamingo_head:45 garfield:34
gerenuk:34 gramophone:51 grand_piano:99 hawksbill:100 headphone:42 hedgehog:54 helicopter:88 ibis:80 inline_skate:31
joshua_tree:64 kangaroo:86 ketch:114 lamp:61 laptop:81 llama:78 lobster:41 lotus:66 mandolin:43 mayfly:40 menorah:87
metronome:32 minaret:76 nautilus:55 octopus:35 okapi:39 pagoda:47 panda:38 pigeon:45 pizza:53 platypus:34 pyramid:57
revolver:82 rhino:59 rooster:49 saxophone:40 schooner:63 scissors:39 scorpion:84 sea_horse:57 snoopy:35 soccer_ball:64
stapler:45 starfish:86 stegosaurus:59 stop_sign:64 strawberry:35 sunflower:85 tick:49 trilobite:86 umbrella:75
watch:239 water_lilly:37 wheelchair:59 wild_cat:34 windsor_chair:56 wrench:39 yin_yang:60
"""


def test_caltech101_of_the_whole_set_is_the_published_split(known: Catalog, tmp_path: Path) -> None:
    """The digests are those of caltech101-splits/train.txt and test.txt of linusericsson/ssl-transfer at 416913f,
    with line feeds alone."""
    for name, count in (one.split(":") for one in CALTECH.split()):
        files = [f"image_{number:04d}.jpg" for number in range(1, int(count) + 1)]
        touch(tmp_path, f"101_ObjectCategories/{name}", files)
    index = caltech101.index(tmp_path)
    assert (len(index.classes), counts(index)) == (known.datasets["caltech101"].classes, {"train": 2416, "test": 6728})
    text = {
        name: "".join(
            f"{item.removeprefix('101_ObjectCategories/')} {label}\n"
            for item, label in zip(split.items, split.labels, strict=True)
        )
        for name, split in index.splits.items()
    }
    assert {name: hashlib.sha256(one.encode()).hexdigest() for name, one in text.items()} == {
        "train": "b35f228082a402eb0848a2b365418d508126337ab453b0adb91773e099c8691e",
        "test": "b9ed3419c72dff3f1ad3cb7cee5eb756e6e59502cc0062d46f3b454da3f87c24",
    }


def test_caltech101_messages(tmp_path: Path) -> None:
    root = caltech_set(tmp_path)
    for path in (root / "101_ObjectCategories/Faces").iterdir():
        path.unlink()
    with pytest.raises(LayoutError, match=r"1 classes have no image in train \(Faces\)"):
        caltech101.index(root)
    touch(root, "101_ObjectCategories/Faces", ["image_0001.jpg"])
    with pytest.raises(LayoutError, match=r"no image in test: more than 30 a class are needed \(Faces\)"):
        caltech101.index(root)
    shutil.rmtree(root / "101_ObjectCategories/BACKGROUND_Google")
    with pytest.raises(LayoutError, match=r"expected 101_ObjectCategories/CLASS/\*.jpg, BACKGROUND_Google being one"):
        caltech101.index(root)


@pytest.mark.parametrize("test", ["devkit/cars_test_annos_withlabels.mat", "cars_test_annos_withlabels.mat"])
def test_cars_of_the_devkit(test: str, tmp_path: Path) -> None:
    index = cars.index(cars_set(tmp_path, test))
    assert index.classes == list(MODELS)
    assert index.splits == {
        "train": Split(["cars_train/00001.jpg", "cars_train/00002.jpg"], [0, 1]),
        "test": Split(["cars_test/00001.jpg", "cars_test/00002.jpg"], [1, 0]),
    }


def test_cars_of_the_older_archive(tmp_path: Path) -> None:
    index = cars.index(old_cars_set(tmp_path))
    assert index.classes == list(MODELS)
    assert index.splits == {
        "train": Split(["car_ims/000001.jpg", "car_ims/000004.jpg"], [0, 1]),
        "test": Split(["car_ims/000002.jpg", "car_ims/000003.jpg"], [1, 0]),
    }


def test_cars_messages(tmp_path: Path) -> None:
    root = cars_set(tmp_path)
    labelled = root / "devkit/cars_test_annos_withlabels.mat"
    whole = labelled.read_bytes()
    labelled.write_bytes(whole[:200])
    with pytest.raises(LayoutError, match=r"withlabels.mat: damaged \(.*\); bring it again"):
        cars.index(root)
    shutil.copy(root / "devkit/cars_test_annos.mat", labelled)
    with pytest.raises(LayoutError, match=r"withlabels.mat: no 'class' in it, but bbox_x1"):
        cars.index(root)
    mat_writer.write(labelled, {"annotations": [BOX | {"class": 3, "fname": "00001.jpg"}]})
    with pytest.raises(LayoutError, match=r"1 images of a class that is not from 1 to 2 \(cars_test/00001.jpg 3\)"):
        cars.index(root)
    labelled.unlink()
    with pytest.raises(
        LayoutError, match=r"no cars_test_annos_withlabels.mat, in devkit/ or right there; cars_test_ann"
    ):
        cars.index(root)
    labelled.write_bytes(whole)
    (root / "cars_train/00002.jpg").unlink()
    with pytest.raises(LayoutError, match=r"1 listed images are not there \(cars_train/00002.jpg\)"):
        cars.index(root)


def test_flowers(tmp_path: Path) -> None:
    index = flowers.index(flowers_set(tmp_path))
    assert index.classes == ["1", "2"]
    assert index.splits == {
        "train": Split(["jpg/image_00001.jpg", "jpg/image_00002.jpg"], [1, 0]),
        "val": Split(["jpg/image_00004.jpg", "jpg/image_00003.jpg"], [0, 1]),
        "test": Split(["jpg/image_00006.jpg", "jpg/image_00005.jpg"], [1, 0]),
    }


def test_flowers_messages(tmp_path: Path) -> None:
    root = flowers_set(tmp_path)
    mat_writer.write(root / "setid.mat", {"trnid": [1, 2, 9], "valid": [4, 3], "tstid": [6, 5]})
    with pytest.raises(
        LayoutError, match=r"setid.mat names 1 images that imagelabels.mat has no class of \(9; it has 6\)"
    ):
        flowers.index(root)
    mat_writer.write(root / "setid.mat", {"trnid": [1, 2], "valid": [4], "tstid": [6, 5]})
    with pytest.raises(LayoutError, match=r"1 classes have no image in val \(2\)"):
        flowers.index(root)
    mat_writer.write(root / "setid.mat", {"trnid": [1, 2]})
    with pytest.raises(LayoutError, match=r"setid.mat: no 'valid' in it, but trnid"):
        flowers.index(root)
    (root / "imagelabels.mat").write_text("<html>Not found</html>")
    with pytest.raises(LayoutError, match=r"imagelabels.mat: begins with b'<html>Not found"):
        flowers.index(root)
    (root / "imagelabels.mat").unlink()
    with pytest.raises(LayoutError, match=r"imagelabels.mat: cannot be read \(No such file"):
        flowers.index(root)


def test_food101(tmp_path: Path) -> None:
    root = food_set(tmp_path)
    index = food101.index(root)
    assert index.classes == ["apple_pie", "beignets"]
    assert index.splits["train"] == Split(
        ["images/beignets/101.jpg", "images/apple_pie/1005649.jpg", "images/apple_pie/1014775.jpg"], [1, 0, 0]
    )
    assert counts(index) == {"train": 3, "test": 2}
    for split in ("train", "test"):
        (root / f"meta/{split}.txt").unlink()
    assert food101.index(root) == index


def test_food101_messages(tmp_path: Path) -> None:
    root = food_set(tmp_path)
    write(root, {"meta/test.txt": "apple_pie/1011328\nbeignets/103\nchurros/1\n"})
    with pytest.raises(LayoutError, match=r"the list of test has classes that train has not \(churros\)"):
        food101.index(root)
    write(root, {"meta/test.txt": "apple_pie\n"})
    with pytest.raises(LayoutError, match=r"test.txt: line 'apple_pie'; expected CLASS/NUMBER"):
        food101.index(root)
    write(root, {"meta/test.txt": "apple_pie/1011328\n"})
    with pytest.raises(LayoutError, match=r"1 classes have no image in the list of test \(beignets\)"):
        food101.index(root)
    (root / "meta/test.txt").unlink()
    (root / "images/beignets/103.jpg").unlink()
    with pytest.raises(LayoutError, match=r"1 listed images are not there \(images/beignets/103.jpg\)"):
        food101.index(root)
    for text in ('{"beignets": ', "[]", '{"beignets": 1}'):
        write(root, {"meta/test.json": text})
        with pytest.raises(LayoutError, match=r"test.json: cannot be read"):
            food101.index(root)
    (root / "meta/test.json").unlink()
    with pytest.raises(LayoutError, match=r"meta/test.txt: no such file; the folder holds classes.txt"):
        food101.index(root)


@pytest.mark.parametrize("lists", ["", "Partitions", "SUN397"])
def test_sun397(lists: str, tmp_path: Path) -> None:
    index = sun397.index(sun_set(tmp_path, lists))
    assert index.classes == ["abbey", "apartment_building/outdoor", "youth_hostel"]
    train = ["a/abbey/sun_a.jpg", "y/youth_hostel/sun_y.jpg", "a/apartment_building/outdoor/sun_o.jpg"]
    assert index.splits["train"] == Split([f"SUN397/{name}" for name in train], [0, 2, 1])
    assert counts(index) == {"train": 3, "test": 3}
    if lists == "SUN397":
        assert sun397.index(tmp_path / "SUN397").splits["train"] == Split(train, [0, 2, 1])


def test_sun397_messages(tmp_path: Path) -> None:
    root = sun_set(tmp_path)
    with pytest.raises(LayoutError, match=r"holds ClassName.txt, a, y; expected SUN397/a/, and beside it .*Partitions"):
        sun397.index(root / "SUN397")
    (root / "SUN397/a/abbey/sun_b.jpg").unlink()
    with pytest.raises(LayoutError, match=r"1 listed images are not there \(SUN397/a/abbey/sun_b.jpg\)"):
        sun397.index(root)
    write(root, {"Testing_01.txt": "/z/zoo/sun_z.jpg\n"})
    with pytest.raises(LayoutError, match=r"Testing_01.txt: line '/z/zoo/sun_z.jpg', a class that is not in ClassName"):
        sun397.index(root)
    write(root, {"Testing_01.txt": "/a/abbey/sun_b.jpg\n"})
    with pytest.raises(LayoutError, match=r"2 classes have no image in Testing_01.txt"):
        sun397.index(root)


@pytest.mark.usefixtures("few")
def test_eurosat_in_any_of_its_places(tmp_path: Path) -> None:
    index = eurosat.index(eurosat_set(tmp_path))
    assert index.classes == eurosat.CLASSES == sorted(eurosat.CLASSES)
    assert counts(index) == {"train": 70, "val": 20, "test": 30}
    assert [index.splits[split].labels.count(4) for split in ("train", "val", "test")] == [7, 2, 3]  # type: ignore[call-overload]
    found = [item for split in index.splits.values() for item in split.items]
    assert len(set(found)) == 120
    (tmp_path / "2750").rename(tmp_path / "EuroSAT_RGB")
    for root, prefix in ((tmp_path, "EuroSAT_RGB/"), (tmp_path / "EuroSAT_RGB", "")):
        moved = [item for split in eurosat.index(root).splits.values() for item in split.items]
        assert moved == [item.replace("2750/", prefix) for item in found]


def test_eurosat_of_the_whole_set(known: Catalog, tmp_path: Path) -> None:
    sizes = dict.fromkeys(eurosat.CLASSES, 3000) | {"Pasture": 2000}
    sizes |= dict.fromkeys(("Highway", "Industrial", "PermanentCrop", "River"), 2500)
    for name, count in sizes.items():
        touch(tmp_path, f"2750/{name}", [f"{name}_{number}.jpg" for number in range(1, count + 1)])
    index = eurosat.index(tmp_path)
    assert counts(index) == known.datasets["eurosat"].counts == {"train": 13500, "val": 5400, "test": 8100}
    assert index.splits["test"].items[:2] == [
        "2750/AnnualCrop/AnnualCrop_645.jpg",
        "2750/AnnualCrop/AnnualCrop_1360.jpg",
    ]
    assert eurosat.index(tmp_path) == index


def test_eurosat_messages(tmp_path: Path) -> None:
    root = eurosat_set(tmp_path)
    with pytest.raises(
        LayoutError, match=r"12 images in 2750/AnnualCrop/; expected 2000 to 3000 \*.jpg, of which 810 are"
    ):
        eurosat.index(root)
    for path in (root / "2750/AnnualCrop").iterdir():
        path.rename(path.with_suffix(".tif"))
    with pytest.raises(LayoutError, match=r"0 images in .*\(the \*.tif of all bands are not read\)"):
        eurosat.index(root)
    shutil.rmtree(root / "2750/SeaLake")
    with pytest.raises(LayoutError, match=r"the folder holds 2750; expected 2750/ with ten folders"):
        eurosat.index(root)


# ---- several labels to an image


def test_voc2007_has_several_labels_to_an_image(known: Catalog, tmp_path: Path) -> None:
    """Of all 20 classes: an image of none, of one, of three; what is only there as "difficult" is not counted."""
    published = known.datasets["voc2007"]
    names = [
        *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
        *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
    ]
    year = tmp_path / "VOCdevkit/VOC2007"
    there = {"000012": {"car"}, "000017": {"horse", "person", "chair"}, "000023": set()}
    difficult = {"000017": {"dog"}, "000023": {"car"}}
    for split in ("train", "val", "test", "trainval"):
        for name in names:
            marks = [
                1 if name in held else 0 if name in difficult.get(image, set()) else -1 for image, held in there.items()
            ]
            text = "".join(f"{split}_{image} {mark:2d}\n" for image, mark in zip(there, marks, strict=True))
            write(year, {f"ImageSets/Main/{name}_{split}.txt": text})
    photos(year, *(f"JPEGImages/{split}_{image}.jpg" for split in ("train", "val", "test") for image in there))
    index = voc.index(tmp_path)
    assert (index.kind, len(index.classes)) == (published.kind, published.classes) == ("multilabel", 20)
    assert index.splits.keys() == published.counts.keys()
    assert [[names[at] for at, one in enumerate(row) if one] for row in index.splits["test"].labels] == [
        ["car"],
        ["chair", "horse", "person"],
        [],
    ]
    found = adhoc.dataset(f"voc2007:{tmp_path}", known, ("multilabel",))
    assert (found.kind, found.metric, found.classes, found.counts) == (
        *("multilabel", published.metric, 20),
        {"train": 3, "val": 3, "test": 3},
    )


def test_the_entries_that_a_folder_is_named_as_have_their_own_metric(known: Catalog, tmp_path: Path) -> None:
    found = adhoc.dataset(f"flowers:{flowers_set(tmp_path / 'flowers')}", known, ("classification",))
    assert (found.layout, found.metric, found.counts) == (
        "flowers",
        "mean_per_class",
        {"train": 2, "val": 2, "test": 2},
    )
    assert adhoc.dataset(str(aircraft_set(tmp_path / "a")), known, ("classification",)).metric == "mean_per_class"
