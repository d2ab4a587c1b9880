"""Miniatures of published data sets: for each, its archives by their names, with the paths that the real ones hold."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import mat_writer
import numpy as np
from PIL import Image

from suite.layouts import chestx, eurosat, isic2018, voc_segmentation

Files = dict[str, bytes]


class Miniature(NamedTuple):
    """`make` gives each archive's members, or a file's bytes; `classes` and `counts` are what there is then."""

    make: Callable[[], dict[str, Files | bytes]]
    classes: int
    counts: dict[str, int]


def packed(name: str, files: Files | bytes) -> bytes:
    """The archive of that name: a zip or a tar, with folders of their own as the real ones have; or a file as it is."""
    if isinstance(files, bytes):
        return files
    buffer = io.BytesIO()
    folders = {f"{'/'.join(name.split('/')[: depth + 1])}/" for name in files for depth in range(name.count("/"))}
    if name.endswith(".zip"):
        with zipfile.ZipFile(buffer, "w") as held:
            for member, content in [*((folder, b"") for folder in sorted(folders)), *files.items()]:
                held.writestr(member, content)
        return buffer.getvalue()
    kind = "w:gz" if name.endswith(("gz", "tgz")) else "w"
    with tarfile.open(fileobj=buffer, mode=kind) as held:  # type: ignore[call-overload]
        for folder in sorted(folders):
            info = tarfile.TarInfo(folder.rstrip("/"))
            info.type = tarfile.DIRTYPE
            held.addfile(info)
        for member, content in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            held.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def photo(number: int, size: tuple[int, int] = (9, 7), kind: str = "JPEG") -> bytes:
    """A photo, unlike others; of PNG a mask whose pixels are all that number."""
    buffer = io.BytesIO()
    if kind == "PNG":
        Image.fromarray(np.full(size[::-1], number % 256, np.uint8)).save(buffer, "PNG")
    else:
        pixels = np.random.default_rng(number).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def photos(*names: str) -> Files:
    return {name: photo(hash_of(name)) for name in names}


def hash_of(name: str) -> int:
    return sum(position * ord(letter) for position, letter in enumerate(name, 1))


def text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def mat(variables: dict[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return mat_writer.write(Path(folder) / "a.mat", variables).read_bytes()


# ---- classification


def aircraft() -> dict[str, Files | bytes]:
    lists = {
        "variants.txt": text("707-320", "F-16A/B"),
        "images_variant_train.txt": text("1025794 707-320", "1340192 F-16A/B"),
        "images_variant_val.txt": text("1025795 F-16A/B"),
        "images_variant_test.txt": text("1514522 F-16A/B", "0747566 707-320"),
    }
    numbers = ("1025794", "1340192", "1025795", "1514522", "0747566")
    held = {f"data/{name}": lines for name, lines in lists.items()}
    held |= photos(*(f"data/images/{number}.jpg" for number in numbers))
    return {"fgvc-aircraft-2013b.tar.gz": {f"fgvc-aircraft-2013b/{name}": content for name, content in held.items()}}


def caltech101() -> dict[str, Files | bytes]:
    counts = {"BACKGROUND_Google": 40, "Faces_easy": 33}
    names = [f"{name}/image_{at:04d}.jpg" for name, count in counts.items() for at in range(1, count + 1)]
    inner = photos(*(f"101_ObjectCategories/{name}" for name in names))
    return {"caltech_101.tgz": {f"caltech_101/{name}": content for name, content in inner.items()}}


def cars() -> dict[str, Files | bytes]:
    box = {"bbox_x1": 39, "bbox_y1": 116, "bbox_x2": 569, "bbox_y2": 375}
    rows = [box | {"class": number, "fname": f"0000{number}.jpg"} for number in (1, 2)]
    kit = {"cars_meta.mat": {"class_names": ("AM General", "Ram")}, "cars_train_annos.mat": {"annotations": rows}}
    sets = {
        f"cars_{split}.tgz": photos(*(f"cars_{split}/0000{at}.jpg" for at in (1, 2))) for split in ("train", "test")
    }
    return {
        **sets,
        "car_devkit.tgz": {f"devkit/{name}": mat(held) for name, held in kit.items()},
        "cars_test_annos_withlabels.mat": mat({"annotations": rows}),
    }


def flowers() -> dict[str, Files | bytes]:
    return {
        "102flowers.tgz": photos(*(f"jpg/image_{number:05d}.jpg" for number in range(1, 7))),
        "imagelabels.mat": mat({"labels": [2, 1, 2, 1, 1, 2]}),
        "setid.mat": mat({"trnid": [1, 2], "valid": [4, 3], "tstid": [6, 5]}),
    }


def food101() -> dict[str, Files | bytes]:
    train, test = ("beignets/101", "apple_pie/1005649"), ("apple_pie/1011328", "beignets/103")
    lists = {"food-101/meta/train.txt": text(*train), "food-101/meta/test.txt": text(*test)}
    return {"food-101.tar.gz": lists | photos(*(f"food-101/images/{name}.jpg" for name in (*train, *test)))}


def sun397() -> dict[str, Files | bytes]:
    lists = {
        "ClassName.txt": text("/a/abbey", "/y/youth_hostel"),
        "Training_01.txt": text("/a/abbey/sun_a.jpg", "/y/youth_hostel/sun_y.jpg"),
        "Testing_01.txt": text("/a/abbey/sun_b.jpg", "/y/youth_hostel/sun_z.jpg"),
    }
    names = ("a/abbey/sun_a", "a/abbey/sun_b", "y/youth_hostel/sun_y", "y/youth_hostel/sun_z")
    return {"SUN397.tar.gz": photos(*(f"SUN397/{name}.jpg" for name in names)), "Partitions.zip": lists}


def eurosat_archive() -> dict[str, Files | bytes]:
    names = [f"2750/{name}/{name}_{number}.jpg" for name in eurosat.CLASSES for number in range(1, 13)]
    return {"EuroSAT.zip": photos(*names)}


def dtd() -> dict[str, Files | bytes]:
    parts = {"train": (1, 2), "val": (3,), "test": (4,)}
    lists = {
        f"dtd/labels/{split}{fold}.txt": text(
            *(f"{kind}/{kind}_{at}.jpg" for kind in ("banded", "zigzagged") for at in ats)
        )
        for split, ats in parts.items()
        for fold in (1, 2)
    }
    names = [f"dtd/images/{kind}/{kind}_{at}.jpg" for kind in ("banded", "zigzagged") for at in range(1, 5)]
    return {"dtd-r1.0.1.tar.gz": lists | photos(*names) | {"dtd/imdb/imdb.mat": b"MATLAB"}}


def pets() -> dict[str, Files | bytes]:
    names = ("Abyssinian_1", "beagle_1", "Abyssinian_2", "beagle_2")
    lines = [f"{name} {1 + (name[0] == 'b')} 1 1" for name in names]
    masks = {f"annotations/trimaps/{name}.png": photo(1 + at % 3, kind="PNG") for at, name in enumerate(names)}
    lists = {"annotations/trainval.txt": text("#", *lines[:2]), "annotations/test.txt": text(*lines[2:])}
    extra = {"annotations/trimaps/._Abyssinian_1.png": b"macOS", "annotations/xmls/beagle_1.xml": b"<a/>"}
    return {
        "images.tar.gz": photos(*(f"images/{name}.jpg" for name in names)),
        "annotations.tar.gz": lists | masks | extra,
    }


def cifar(folder: str, meta: str, names: str, labels: str, files: dict[str, int]) -> Files:
    rows = [
        (name, np.full((count, 3072), at, np.uint8), [0, 1] * (count // 2))
        for at, (name, count) in enumerate(files.items())
    ]
    held = {name: {b"data": pixels, labels.encode(): told} for name, pixels, told in rows}
    whole: dict[str, Any] = {**held, meta: {names.encode(): [b"airplane", b"truck"]}}
    return {f"{folder}/{name}": pickle.dumps(value, protocol=2) for name, value in whole.items()}


def cifar10() -> dict[str, Files | bytes]:
    files = {**{f"data_batch_{number}": 4 for number in range(1, 6)}, "test_batch": 2}
    return {"cifar-10-python.tar.gz": cifar("cifar-10-batches-py", "batches.meta", "label_names", "labels", files)}


def cifar100() -> dict[str, Files | bytes]:
    files = {"train": 6, "test": 4}
    return {"cifar-100-python.tar.gz": cifar("cifar-100-python", "meta", "fine_label_names", "fine_labels", files)}


def tiny_imagenet() -> dict[str, Files | bytes]:
    wnids = ("n01443537", "n01629819")
    train = [f"train/{wnid}/images/{wnid}_{number}.JPEG" for wnid in wnids for number in range(3)]
    lists = {
        "wnids.txt": text(*wnids),
        "val/val_annotations.txt": text(*(f"val_{at}.JPEG\t{wnid}\t0\t0\t9\t9" for at, wnid in enumerate(wnids))),
    }
    held = lists | photos(*train, "val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/test_0.JPEG")
    return {"tiny-imagenet-200.zip": {f"tiny-imagenet-200/{name}": content for name, content in held.items()}}


WNIDS = [f"n{1440764 + number:08d}" for number in range(1000)]  # ImageNet's layout takes no fewer for all of them


def imagenet1k() -> dict[str, Files | bytes]:
    """The ground truth numbers classes in another order than their WNIDs'."""
    one = photo(1)
    train = {f"{wnid}.tar": packed("a.tar", photos(f"{wnid}_1.JPEG", f"{wnid}_2.JPEG")) for wnid in WNIDS[:2]}
    synsets = [{"ILSVRC2012_ID": 1000 - at, "WNID": wnid, "words": "a fish"} for at, wnid in enumerate(WNIDS)]
    kit = {
        "data/meta.mat": mat({"synsets": synsets}),
        "data/ILSVRC2012_validation_ground_truth.txt": text(*(str(number) for number in range(1, 1001))),
        "readme.txt": b"",
    }
    return {
        "ILSVRC2012_img_train.tar": train,
        "ILSVRC2012_img_val.tar": {f"ILSVRC2012_val_{number:08d}.JPEG": one for number in range(1, 1001)},
        "ILSVRC2012_devkit_t12.tar.gz": {f"ILSVRC2012_devkit_t12/{name}": content for name, content in kit.items()},
    }


def cog() -> dict[str, Files | bytes]:
    levels = [[f"n{level}000000{number}" for number in (2, 1)] for level in range(1, 6)]
    files = {wnid: {"train": [f"{wnid}_30.JPEG"], "test": [f"{wnid}_8.JPEG"]} for level in levels for wnid in level}
    tars = {
        f"winter21_whole/{wnid}.tar": packed("a.tar", photos(*held["train"], *held["test"]))
        for wnid, held in files.items()
    }
    return {
        "cog_levels_mapping_file.pkl": pickle.dumps(levels, 3),
        "cog_concepts_split_file.pkl": pickle.dumps(files, 3),
        "winter21_whole.tar.gz": tars,
    }


def inaturalist(year: int) -> dict[str, Files | bytes]:
    rows = {"train": ["Plantae/0/a.jpg", "Insecta/1/b.jpg"], "val": ["Insecta/1/c.jpg"]}
    lists: dict[str, Files | bytes] = {}
    for split, names in rows.items():
        whole = {
            "images": [{"id": at, "file_name": f"train_val{year}/{name}", "width": 9} for at, name in enumerate(names)],
            "annotations": [
                {"id": at, "image_id": at, "category_id": int(name.split("/")[1])} for at, name in enumerate(names)
            ],
            "categories": [{"id": 0, "name": "Acer"}, {"id": 1, "name": "Apis"}],
        }
        lists[f"{split}{year}.json.tar.gz"] = {f"{split}{year}.json": json.dumps(whole).encode()}
    images = photos(*(f"train_val{year}/{name}" for names in rows.values() for name in names))
    return {f"train_val{year}.tar.gz": images, **lists}


def places205() -> dict[str, Files | bytes]:
    train, test = ("a/abbey/gsun_1.jpg 0", "a/apartment_building/outdoor/gsun_2.jpg 1"), ("a/abbey/gsun_3.jpg 0",)
    images = [f"data/vision/torralba/deeplearning/images256/{line.split()[0]}" for line in (*train, *test)]
    lists = {"train_places205.csv": text(*train), "val_places205.csv": text(*test)}
    return {
        "imagesPlaces205_resize.tar.gz": photos(*images),
        "trainvalsplit_places205.tar.gz": {f"trainvalsplit_places205/{name}": held for name, held in lists.items()},
    }


def isic2018_archives() -> dict[str, Files | bytes]:
    cells = [[f"ISIC_{24306 + row:07d}", *("1.0" if row % 7 == at else "0.0" for at in range(7))] for row in range(14)]
    lines = ["image,MEL,NV,BCC,AKIEC,BKL,DF,VASC", *(",".join(row) for row in cells)]
    more = {f"{isic2018.NAME}_GroundTruth/LICENSE.txt": b"CC", isic2018.LIST: text(*lines)}
    images = photos(*(f"{isic2018.NAME}_Input/{row[0]}.jpg" for row in cells))
    images[f"{isic2018.NAME}_Input/LICENSE.txt"] = b"CC"
    return {f"{isic2018.NAME}_Input.zip": images, f"{isic2018.NAME}_GroundTruth.zip": more}


def chestx_archives() -> dict[str, Files | bytes]:
    rows = [f"{row:08d}_000.png,{chestx.CLASSES[row % 7]},0,1,058Y" for row in range(24)]
    lines = [
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age",
        *rows,
        "00000099_000.png,No Finding,0,2,1Y",
    ]
    tars: dict[str, Files | bytes] = {
        f"images_{part:03d}.tar.gz": {
            f"images/{row:08d}_000.png": photo(row, kind="PNG") for row in (2 * part - 2, 2 * part - 1)
        }
        for part in range(1, 13)
    }
    return {"Data_Entry_2017.csv": text(*lines), **tars}


# ---- boxes and pixels


def coco() -> dict[str, Files | bytes]:
    def listed(split: str, count: int) -> bytes:
        images = [{"id": at, "file_name": f"{at:012d}.jpg", "width": 9, "height": 7} for at in range(count)]
        things = [
            {
                **{"id": at, "image_id": at, "category_id": 1 + 2 * (at % 2), "bbox": [1, 1, 4, 3], "area": 12.5},
                **{"iscrowd": 0, "segmentation": [[1, 1, 5, 1, 5, 4.25]]},
            }
            for at in range(count)
        ]
        kinds = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
        return json.dumps({"images": images, "annotations": things, "categories": kinds, "info": {}}).encode()

    counts = {"train": 3, "val": 2}
    photographed: dict[str, Files | bytes] = {
        f"{split}2017.zip": photos(*(f"{split}2017/{at:012d}.jpg" for at in range(count)))
        for split, count in counts.items()
    }
    lists = {f"annotations/instances_{split}2017.json": listed(split, count) for split, count in counts.items()}
    return {**photographed, "annotations_trainval2017.zip": lists}


def ade20k() -> dict[str, Files | bytes]:
    held = {"objectInfo150.txt": text("Idx\tRatio\tTrain\tVal\tName", "1\t0.5\t2\t1\twall, panel", "2\t0.5\t2\t1\tsky")}
    for split, count in {"training": 2, "validation": 1}.items():
        names = [f"{split}/ADE_{split[:3]}_{number:08d}" for number in range(1, count + 1)]
        held |= photos(*(f"images/{name}.jpg" for name in names))
        held |= {f"annotations/{name}.png": photo(2, kind="PNG") for name in names}
    whole = {f"ADEChallengeData2016/{name}": content for name, content in held.items()}
    return {"ADEChallengeData2016.zip": whole}


def cityscapes() -> dict[str, Files | bytes]:
    """Both have a README of their own."""
    places = ("train/aachen/aachen_000000", "train/bonn/bonn_000001", "val/ulm/ulm_000002")
    left = {f"leftImg8bit/{name}_leftImg8bit.png": photo(hash_of(name), kind="PNG") for name in places}
    fine = {f"gtFine/{name}_gtFine_labelIds.png": photo(7, kind="PNG") for name in places}
    return {
        "leftImg8bit_trainvaltest.zip": left | {"README": b"left", "license.txt": b"terms"},
        "gtFine_trainvaltest.zip": fine | {"README": b"fine", "license.txt": b"terms"},
    }


def voc(year: int, **splits: str) -> Files:
    """A year's folder, whose splits have these images: each with a cat and a dog, marked, boxed and masked."""
    boxes = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{left}</xmin><ymin>1</ymin>"
        f"<xmax>{left + 3}</xmax><ymax>5</ymax></bndbox></object>"
        for name, left in (("cat", 1), ("dog", 5))
    )
    size = "<size><width>9</width><height>7</height><depth>3</depth></size>"
    held: Files = {}
    for split, names in splits.items():
        listed = names.split()
        held[f"ImageSets/Main/{split}.txt"] = held[f"ImageSets/Segmentation/{split}.txt"] = text(*listed)
        for kind in ("cat", "dog"):
            held[f"ImageSets/Main/{kind}_{split}.txt"] = text(*(f"{name}  1" for name in listed))
        for name in listed:
            held[f"Annotations/{name}.xml"] = f"<annotation>{size}{boxes}</annotation>".encode()
            held[f"JPEGImages/{name}.jpg"] = photo(hash_of(name))
            held[f"SegmentationClass/{name}.png"] = photo(8, kind="PNG")
    return {f"VOCdevkit/VOC{year}/{name}": content for name, content in held.items()}


def voc2007() -> dict[str, Files | bytes]:
    return {
        "VOCtrainval_06-Nov-2007.tar": voc(2007, train="000005 000007", val="000009"),
        "VOCtest_06-Nov-2007.tar": voc(2007, test="000001 000002"),
    }


def voc0712() -> dict[str, Files | bytes]:
    return voc2007() | {"VOCtrainval_11-May-2012.tar": voc(2012, train="2008_000002", val="2008_000003 2008_000007")}


def voc2012aug() -> dict[str, Files | bytes]:
    masks = {f"SegmentationClassAug/{name}.png": photo(12, kind="PNG") for name in ("2008_000002", "2008_000003")}
    return {
        "VOCtrainval_11-May-2012.tar": voc0712()["VOCtrainval_11-May-2012.tar"],
        "SegmentationClassAug.zip": masks | {"__MACOSX/SegmentationClassAug/._2008_000002.png": b"macOS"},
        "train_aug.txt": text("2008_000002"),
    }


PETS = {"train": 2, "test": 2}
LEVEL = {"train": 2, "test": 2}
MINIATURES = {
    "ade20k": Miniature(ade20k, 2, {"train": 2, "test": 1}),
    "aircraft": Miniature(aircraft, 2, {"train": 2, "val": 1, "test": 2}),
    "caltech101": Miniature(caltech101, 2, {"train": 44, "test": 29}),
    "cars": Miniature(cars, 2, {"train": 2, "test": 2}),
    "chestx": Miniature(chestx_archives, 7, {"train": 20, "test": 4}),
    "cifar10": Miniature(cifar10, 2, {"train": 20, "test": 2}),
    "cifar100": Miniature(cifar100, 2, {"train": 6, "test": 4}),
    "cityscapes": Miniature(cityscapes, 19, {"train": 2, "test": 1}),
    "coco2017": Miniature(coco, 2, {"train": 3, "test": 2}),
    "cog-l3": Miniature(cog, 2, LEVEL),
    "dtd": Miniature(dtd, 2, {"train": 4, "val": 2, "test": 2}),
    "eurosat": Miniature(eurosat_archive, 10, {"train": 70, "val": 20, "test": 30}),
    "flowers": Miniature(flowers, 2, {"train": 2, "val": 2, "test": 2}),
    "food101": Miniature(food101, 2, {"train": 2, "test": 2}),
    "imagenet1k": Miniature(imagenet1k, 1000, {"train": 4, "test": 1000}),
    "inat2018": Miniature(partial(inaturalist, 2018), 2, {"train": 2, "test": 1}),
    "inat2019": Miniature(partial(inaturalist, 2019), 2, {"train": 2, "test": 1}),
    "isic2018": Miniature(isic2018_archives, 7, {"train": 12, "test": 2}),
    "pets": Miniature(pets, 2, PETS),
    "pets-trimaps": Miniature(pets, 2, PETS),
    "places205": Miniature(places205, 2, {"train": 2, "test": 1}),
    "sun397": Miniature(sun397, 2, {"train": 2, "test": 2}),
    "tiny-imagenet": Miniature(tiny_imagenet, 2, {"train": 6, "test": 2}),
    "voc0712": Miniature(voc0712, 2, {"train": 3, "val": 3, "test": 2}),
    "voc2007": Miniature(voc2007, 2, {"train": 2, "val": 1, "test": 2}),
    "voc2012aug": Miniature(voc2012aug, len(voc_segmentation.CLASSES), {"train": 1, "test": 2}),
}
