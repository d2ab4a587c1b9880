"""Layouts of large and of few-shot sets against miniatures of the real ones, their messages, and their entries."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from folders import write

from suite import adhoc
from suite.catalog import Catalog
from suite.drawn import drawn
from suite.index import Index, LayoutError, Split
from suite.layouts import chestx, cropdiseases, imagefolder, imagenet, inaturalist, isic2018, places205
from suite.store import Store

LAYOUTS = sorted(path.stem for path in Path(imagefolder.__file__).parent.glob("[a-z]*.py"))
WNIDS = [f"n{number:08d}" for number in range(1440764, 1440764 + imagenet.WHOLE)]


def photos(root: Path, *names: str) -> Path:
    return write(root, {name: f"photo {name}" for name in names})


def counts(index: Index) -> dict[str, int]:
    assert all(len(split.items) == len(split.labels) for split in index.splits.values())
    return {name: len(split.items) for name, split in index.splits.items()}


def pooled(index: Index) -> dict[str, int]:
    """Item -> label, over all splits."""
    return {
        item: label for split in index.splits.values() for item, label in zip(split.items, split.labels, strict=True)
    }


@pytest.fixture
def known(tmp_path: Path) -> Catalog:
    return Catalog(Store(tmp_path / "store"))


# ---- drawn splits


def test_every_fifth_is_drawn_of_each_class() -> None:
    items, labels = [f"{number:02d}.jpg" for number in range(34)], [0] * 20 + [1] * 14
    splits = drawn(items, labels)
    assert {name: len(split.items) for name, split in splits.items()} == {"train": 28, "test": 6}
    assert sorted(splits["train"].items + splits["test"].items) == items
    assert splits["test"].labels == [0, 0, 0, 0, 1, 1]
    assert splits["test"].items == ["05.jpg", "09.jpg", "17.jpg", "18.jpg", "24.jpg", "33.jpg"]  # on every machine


def test_what_is_drawn_is_a_function_of_names_labels_and_seed() -> None:
    items, labels = [f"{number:02d}.jpg" for number in range(30)], [number % 3 for number in range(30)]
    assert drawn(items[::-1], labels[::-1]) == drawn(items, labels)
    assert drawn(items, labels, seed=1) != drawn(items, labels)


# ---- imagenet


def imagenet_set(root: Path) -> Path:
    write(root, {imagenet.LIST: "n02 fox, red fox\nn01 tench, Tinca tinca\n"})
    return photos(root, "train/n01/n01_1.JPEG", "train/n02/n02_7.JPEG", "train/n02/n02_8.JPEG", "val/n02/V_1.JPEG")


def test_imagenet_by_its_list(tmp_path: Path) -> None:
    index = imagenet.index(imagenet_set(tmp_path))
    assert index.classes == ["n02", "n01"]
    assert index.splits["test"] == Split(["val/n02/V_1.JPEG"], [0])
    assert index.splits["train"].labels == [1, 0, 0]


def test_imagenet_without_its_list(tmp_path: Path, known: Catalog) -> None:
    photos(tmp_path / "in", *(f"{split}/{wnid}/{wnid}_1.JPEG" for split in ("train", "val") for wnid in WNIDS))
    assert imagenet.recognise(tmp_path / "in")
    assert not imagefolder.recognise(tmp_path / "in")
    index = imagenet.index(tmp_path / "in")
    assert index.classes == WNIDS
    assert counts(index) == {"train": 1000, "test": 1000}
    assert adhoc.dataset(str(tmp_path / "in"), known).layout == "imagenet"
    photos(tmp_path / "in", "train/n99999999/a.JPEG")
    with pytest.raises(LayoutError, match=r"train/ has 1 folders that val/ has not \(n99999999\)"):
        imagenet.index(tmp_path / "in")
    (tmp_path / "in" / "val" / WNIDS[0]).rename(tmp_path / "in" / "val" / "tench")
    assert not imagenet.recognise(tmp_path / "in")
    assert imagefolder.recognise(tmp_path / "in")


def test_a_part_of_imagenet(tmp_path: Path, known: Catalog) -> None:
    root = write(imagenet_set(tmp_path / "in"), {"1percent.txt": "n02_8.JPEG\nn01_1.JPEG\n"})
    assert imagenet.recognise(root, "1percent")
    assert not imagenet.recognise(root, "10percent")
    index = adhoc.layout("imagenet/1percent").index(root)
    assert index.splits["train"] == Split(["train/n02/n02_8.JPEG", "train/n01/n01_1.JPEG"], [0, 1])
    assert index.splits["test"] == imagenet.index(root).splits["test"]
    for text in (f"imagenet/1percent:{root}", f"imagenet1k-1percent:{root}"):
        found = adhoc.dataset(text, known)
        assert (found.layout, found.counts) == ("imagenet/1percent", {"test": 1, "train": 2})
    assert adhoc.dataset(str(root), known).layout == "imagenet"
    with pytest.raises(LayoutError, match=r"holds 1percent.txt, .*; expected .* and 10percent.txt, its list of images"):
        adhoc.dataset(f"imagenet/10percent:{root}", known)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1percent.txt: no line; expected WNID_NUMBER.JPEG"),
        ("n03_1.JPEG\nn01_1.JPEG", r"1 lines are no image of a class \(n03_1.JPEG\); expected WNID_NUMBER.JPEG"),
        ("n01_9.JPEG", r"1 listed images are not there \(train/n01/n01_9.JPEG\)"),
    ],
)
def test_messages_of_a_part_of_imagenet(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=message):
        imagenet.index(write(imagenet_set(tmp_path), {"1percent.txt": text}), "1percent")


def kaggle(root: Path, *, loose: bool) -> Path:
    write(root, {imagenet.LIST: "n02 fox, red fox\nn01 tench, Tinca tinca\n", "1percent.txt": "n02_8.JPEG\n"})
    val = "" if loose else "n02/"
    names = ("train/n01/n01_1.JPEG", "train/n02/n02_8.JPEG", f"val/{val}ILSVRC2012_val_00000001.JPEG")
    return photos(root, *(f"ILSVRC/Data/CLS-LOC/{name}" for name in names))


@pytest.mark.parametrize("loose", [True, False])
def test_imagenet_as_kaggle_has_it(loose: bool, tmp_path: Path, known: Catalog) -> None:
    root = kaggle(tmp_path / "in", loose=loose)
    if loose:
        with pytest.raises(LayoutError, match=r"images of val/ are in no folders; .* LOC_val_solution.csv of Kaggle"):
            imagenet.index(root)
        write(root, {imagenet.SOLUTION: "ImageId,PredictionString\nILSVRC2012_val_00000001,n02 1 2 3 4 n02 5 6 7 8\n"})
    inner = "ILSVRC/Data/CLS-LOC"
    index = imagenet.index(root)
    test = f"{inner}/val/{'' if loose else 'n02/'}ILSVRC2012_val_00000001.JPEG"
    assert index.splits["test"] == Split([test], [0])
    assert index.splits["train"] == Split([f"{inner}/train/n01/n01_1.JPEG", f"{inner}/train/n02/n02_8.JPEG"], [1, 0])
    assert imagenet.index(root, "1percent").splits["train"].items == [f"{inner}/train/n02/n02_8.JPEG"]
    assert adhoc.dataset(str(root), known).layout == "imagenet"
    with pytest.raises(LayoutError, match=r"the folder holds train, val; expected .*; or Kaggle's ILSVRC/ and LOC_syn"):
        imagenet.index(root / inner)
    assert (root / test).is_file()  # nothing of a user's is moved


def test_messages_of_a_ground_truth(tmp_path: Path) -> None:
    root = kaggle(tmp_path, loose=True)
    write(root, {imagenet.SOLUTION: "ImageId,PredictionString\nILSVRC2012_val_00000001,n09 1 2 3 4\n"})
    with pytest.raises(LayoutError, match=r"val/ has 1 folders that LOC_synset_mapping.txt has not \(n09\)"):
        imagenet.index(root)
    write(root, {imagenet.SOLUTION: "ImageId,PredictionString\nILSVRC2012_val_00000002,n02 1 2 3 4\n"})
    with pytest.raises(LayoutError, match=r"the ground truth has no class for 1 images of val/ \(ILSVRC2012_val_0"):
        imagenet.index(root)


# ---- iNaturalist

CATEGORIES = [
    {"id": 0, "name": "Acer rubrum", "supercategory": "Plantae"},
    {"id": 1, "name": "Apis mellifera", "supercategory": "Insecta"},
]


def nature_list(*rows: tuple[int, str, int], year: int = 2018, **other: Any) -> str:
    """What is published of each image: its id, file and category are in `rows`."""
    more = {"width": 800, "height": 600, "license": 3, "rights_holder": "a name of a person"}
    whole = {
        "info": {"contributor": "iNaturalist", "year": year, "description": f"iNat{year}", "date_created": ""},
        "images": [{"id": number, "file_name": f"train_val{year}/{file}", **more} for number, file, _ in rows],
        "licenses": [{"id": 1, "name": "All Rights Reserved", "url": ""}],
        "annotations": [{"id": number, "image_id": number, "category_id": category} for number, _, category in rows],
        "categories": CATEGORIES,
    }
    return json.dumps(whole | other)


TRAIN = [(5, "Insecta/1/b.jpg", 1), (3, "Plantae/0/a.jpg", 0)]
VAL = [(9, "Insecta/1/v.jpg", 1)]


def nature_set(root: Path, year: int = 2018) -> Path:
    write(root, {f"train{year}.json": nature_list(*TRAIN, year=year), f"val{year}.json": nature_list(*VAL, year=year)})
    return photos(root, *(f"train_val{year}/{file}" for _, file, _ in TRAIN + VAL))


@pytest.mark.parametrize("year", [2018, 2019])
def test_inaturalist(year: int, tmp_path: Path) -> None:
    index = inaturalist.index(nature_set(tmp_path, year))
    assert (index.classes, index.categories) == (["Acer rubrum", "Apis mellifera"], [0, 1])
    folder = f"train_val{year}"
    assert index.splits == {
        "train": Split([f"{folder}/Insecta/1/b.jpg", f"{folder}/Plantae/0/a.jpg"], [1, 0]),
        "test": Split([f"{folder}/Insecta/1/v.jpg"], [1]),
    }


def test_inaturalist_is_joined_by_ids_not_by_place(tmp_path: Path) -> None:
    whole = json.loads(nature_list(*TRAIN))
    whole["annotations"].reverse()
    index = inaturalist.index(write(nature_set(tmp_path), {"train2018.json": json.dumps(whole)}))
    assert index.splits["train"].labels == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"train2018.json: not JSON \(.*\); expected iNaturalist's list; unpack it again"),
        ("[1]", r"no list images as it should be \(its keys are none\)"),
        (nature_list(*TRAIN, images=[]), r"no list images as it should be \(it is empty or has odd entries\)"),
        (nature_list(*TRAIN, annotations=[{"image_id": 5}]), r"no list annotations .* odd entries"),
        (nature_list(*TRAIN, annotations=[{"image_id": 5, "category_id": 1}]), r"no category for train_val2018/Plant"),
        (nature_list((5, "Insecta/1/b.jpg", 8)), r"categories that are not listed \(8\); expected one listed category"),
        (nature_list(*TRAIN, categories=[CATEGORIES[0], {"id": 1, "name": "?"}]), r"val2018.json: other categories"),
        (nature_list(TRAIN[0]), r"1 classes have no image in train2018.json \(Acer rubrum\)"),
        (
            nature_list(*TRAIN, (7, "Insecta/1/gone.jpg", 1)),
            r"1 listed images are not there \(train_val2018/Insecta/1/g",
        ),
    ],
)
def test_inaturalist_messages(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=message):
        inaturalist.index(write(nature_set(tmp_path), {"train2018.json": text}))


def test_inaturalist_of_two_years(tmp_path: Path) -> None:
    nature_set(nature_set(tmp_path), 2019)
    with pytest.raises(LayoutError, match=r"holds the lists of 2018, 2019; expected one year; move the others out"):
        inaturalist.index(tmp_path)


# ---- Places205

PLACES = {
    "train_places205.csv": "a/abbey/gsun_1.jpg 0\na/apartment_building/outdoor/gsun_2.jpg 1\n",
    "val_places205.csv": "a/abbey/gsun_3.jpg 0\n",
}
SCENES = ("a/abbey/gsun_1.jpg", "a/apartment_building/outdoor/gsun_2.jpg", "a/abbey/gsun_3.jpg")


def places_set(root: Path, images: str = "images256/", lists: str = "trainvalsplit_places205/") -> Path:
    write(root, {lists + name: text for name, text in PLACES.items()})
    return photos(root, *(images + name for name in SCENES))


@pytest.mark.parametrize("lists", ["trainvalsplit_places205/", ""])
@pytest.mark.parametrize("images", ["data/vision/torralba/deeplearning/images256/", "images256/", "images/", ""])
def test_places205(images: str, lists: str, tmp_path: Path) -> None:
    index = places205.index(places_set(tmp_path, images, lists))
    assert index.classes == ["abbey", "apartment_building/outdoor"]
    assert index.splits == {
        "train": Split([images + SCENES[0], images + SCENES[1]], [0, 1]),
        "test": Split([images + SCENES[2]], [0]),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "train_places205.csv: no line; expected a/abbey/NAME.jpg LABEL"),
        ("a/abbey/gsun_1.jpg,0", "line 'a/abbey/gsun_1.jpg,0'; expected a/abbey/NAME.jpg LABEL; unpack it again"),
        ("a/abbey/gsun_1.jpg 2", r"no image has the labels 1; expected all of 0, 1"),
        ("a/arch/gsun_2.jpg 1", r"1 classes have no image in train_places205.csv \(abbey\)"),
        (
            PLACES["train_places205.csv"] + "a/abbey/gone.jpg 0",
            r"1 listed images are not there \(images256/a/abbey/gone",
        ),
    ],
)
def test_places205_messages(text: str, message: str, tmp_path: Path) -> None:
    places_set(tmp_path)
    with pytest.raises(LayoutError, match=message):
        places205.index(write(tmp_path, {"trainvalsplit_places205/train_places205.csv": text}))


def test_places205_without_images(tmp_path: Path) -> None:
    write(tmp_path, PLACES)
    assert places205.recognise(tmp_path)
    with pytest.raises(LayoutError, match=r"holds train_places205.csv, .*; expected .* the images in data/vision/"):
        places205.index(tmp_path)


# ---- ISIC 2018

LESIONS = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]


def lesion_rows(total: int = 14) -> str:
    rows = [
        [f"ISIC_{24306 + row:07d}", *("1.0" if row % 7 == at else "0.0" for at in range(7))] for row in range(total)
    ]
    return "\n".join(",".join(row) for row in [["image", *LESIONS], *rows]) + "\n"


def lesion_set(root: Path) -> Path:
    write(root, {isic2018.LIST: lesion_rows()})
    return photos(root, *(f"ISIC2018_Task3_Training_Input/ISIC_{24306 + row:07d}.jpg" for row in range(14)))


def test_isic2018(tmp_path: Path) -> None:
    index = isic2018.index(lesion_set(tmp_path))
    assert index.classes == LESIONS
    assert counts(index) == {"train": 12, "test": 2}
    expected = {f"ISIC2018_Task3_Training_Input/ISIC_{24306 + row:07d}.jpg": row % 7 for row in range(14)}
    assert pooled(index) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "GroundTruth.csv: it is empty; expected image,MEL,NV,BCC"),
        ("lesion_id,image_id,dx\n", "line 'lesion_id,image_id,dx'; expected image,MEL"),
        (lesion_rows() + "ISIC_1,1.0,1.0,0,0,0,0,0\n", "line 'ISIC_1,1.0,1.0,0,0,0,0,0'; .* with 1.0 under its class"),
        (lesion_rows() + "ISIC_1,nv\n", "line 'ISIC_1,nv'; expected"),
        (lesion_rows(6), r"1 classes have no image in .*GroundTruth.csv \(VASC\)"),
        (lesion_rows(15), r"1 listed images are not there \(ISIC2018_Task3_Training_Input/ISIC_0024320.jpg\)"),
    ],
)
def test_isic2018_messages(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=message):
        isic2018.index(write(lesion_set(tmp_path), {isic2018.LIST: text}))


# ---- ChestX

HEAD = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
)
FINDINGS = [*chestx.CLASSES, *chestx.CLASSES, "No Finding", "Pneumonia", "Hernia", "Mass|Nodule", "Cardiomegaly|Edema"]


def xray_rows(findings: list[str]) -> str:
    rest = "0,1,058Y,M,PA,2682,2749,0.143,0.143,"
    return HEAD + "".join(f"{row:08d}_000.png,{finding},{rest}\n" for row, finding in enumerate(findings))


def xray_set(root: Path, list_name: str = "Data_Entry_2017.csv", folders: tuple[str, ...] = ("images",)) -> Path:
    write(root, {list_name: xray_rows(FINDINGS)})
    return photos(root, *(f"{folders[row % len(folders)]}/{row:08d}_000.png" for row in range(len(FINDINGS))))


@pytest.mark.parametrize("list_name", chestx.LISTS)
@pytest.mark.parametrize("folders", [("images",), ("images_001/images", "images_012/images"), ("images_001", "images")])
def test_chestx(list_name: str, folders: tuple[str, ...], tmp_path: Path) -> None:
    index = chestx.index(xray_set(tmp_path, list_name, folders))
    assert index.classes == chestx.CLASSES
    assert counts(index) == {"train": 12, "test": 2}
    assert index.dropped == {"no finding": 1, "another finding": 2, "several findings": 2}
    assert pooled(index) == {f"{folders[row % len(folders)]}/{row:08d}_000.png": row % 7 for row in range(14)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Data_Entry_2017.csv: it is empty; expected Image Index,Finding Labels"),
        ("image,label\n", "line 'image,label'; expected Image Index,Finding Labels,... and an image a line"),
        (HEAD + "1.png\n", "line '1.png'; expected Image Index"),
        (xray_rows(FINDINGS[:6]), r"1 classes have no image in Data_Entry_2017.csv \(Pneumothorax\)"),
        (
            xray_rows([*FINDINGS, "Mass"]),
            r"1 listed images are not there \(00000019_000.png\); unpack all of the archi",
        ),
    ],
)
def test_chestx_messages(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=message):
        chestx.index(write(xray_set(tmp_path), {"Data_Entry_2017.csv": text}))


def test_chestx_without_images(tmp_path: Path) -> None:
    write(tmp_path, {"Data_Entry_2017_v2020.csv": xray_rows(FINDINGS)})
    with pytest.raises(LayoutError, match=r"holds Data_Entry_2017_v2020.csv; expected .* and images/\*.png"):
        chestx.index(tmp_path)


# ---- CropDiseases


def crop_set(root: Path) -> Path:
    names = [f"{name}/{number}.JPG" for name in ("Apple___Apple_scab", "Corn_(maize)___healthy") for number in range(5)]
    return photos(root, *(f"dataset/train/{name}" for name in names), "dataset/test/Apple___Apple_scab/t.JPG")


def test_cropdiseases(tmp_path: Path) -> None:
    index = cropdiseases.index(crop_set(tmp_path))
    assert index.classes == ["Apple___Apple_scab", "Corn_(maize)___healthy"]
    assert counts(index) == {"train": 8, "test": 2}
    assert sorted(index.splits["test"].labels) == [0, 1]
    assert len(pooled(index)) == 10
    assert all(item.startswith("dataset/train/") for item in pooled(index))


def test_cropdiseases_messages(tmp_path: Path) -> None:
    write(crop_set(tmp_path), {"dataset/train/Grape___Esca/notes.txt": ""})
    with pytest.raises(LayoutError, match=r"no image in dataset/train/ of Grape___Esca; expected \*.jpg"):
        cropdiseases.index(tmp_path)
    with pytest.raises(LayoutError, match=r"holds test, train; expected dataset/train/PLANT___DISEASE"):
        cropdiseases.index(tmp_path / "dataset")


# ---- all of them

MINIATURES = {
    "chestx": xray_set,
    "cropdiseases": crop_set,
    "imagenet": imagenet_set,
    "inaturalist": nature_set,
    "isic2018": lesion_set,
    "places205": places_set,
}


@pytest.mark.parametrize("layout", MINIATURES)
def test_no_other_layout_recognises_it(layout: str, tmp_path: Path) -> None:
    root = MINIATURES[layout](tmp_path)
    modules = {name: importlib.import_module(f"suite.layouts.{name}") for name in LAYOUTS if name != "images"}
    assert [name for name, module in modules.items() if module.recognise(root)] == [layout]


ENTRIES = {
    "chestx": (7, 25848),
    **{f"cog-l{level}": (1000, total) for level, total in enumerate((1168804, 1165788, 1145203, 1157128, 1141654), 1)},
    "cropdiseases": (38, 43456),
    "imagenet1k": (1000, 1331167),
    "imagenet1k-10percent": (1000, 178116),
    "imagenet1k-1percent": (1000, 62811),
    "inat2018": (8142, 461939),
    "inat2019": (1010, 268243),
    "isic2018": (7, 10015),
    "places205": (205, 2469373),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_entries(name: str, known: Catalog) -> None:
    one = known.dataset(name)
    assert (one.classes, sum(one.counts.values())) == ENTRIES[name]
    assert one.layout in adhoc.layout_names()
    assert (one.kind, one.metric, set(one.counts)) == ("classification", "top1", {"train", "test"})
    assert one.page or one.archives
    if adhoc.layout(one.layout).index.func in (chestx.index, cropdiseases.index, isic2018.index):
        assert one.counts["test"] == sum(one.counts.values()) // 5
