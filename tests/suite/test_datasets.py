"""The entries of data sets: what was published about each, and that all of it is there."""

import re
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from suite import adhoc, entry
from suite.catalog import entries
from suite.dataset import Archive, Dataset, from_json

DATASETS = entries("suite.datasets", Dataset)
KINDS = {"classification", "multilabel", "detection", "segmentation", "normals"}
METRICS = {"top1", "mean_per_class", "map11", "voc", "voc07", "coco", "miou", "within_11.25"}
HEX = re.compile(r"[0-9a-f]+")

# Classes, and images of train, val and test, as published; a set without official validation has two.
FACTS = {
    "ade20k": (150, 20210, 2000),
    "aircraft": (100, 3334, 3333, 3333),
    "caltech101": (102, 2416, 6728),
    "camvid": (11, 367, 101, 233),
    "cars": (196, 8144, 8041),
    "cifar10": (10, 50000, 10000),
    "cifar100": (100, 50000, 10000),
    "cityscapes": (19, 2975, 500),
    "coco2017": (80, 118287, 5000),
    "cog-l1": (1000, 1118804, 50000),
    "cog-l2": (1000, 1115788, 50000),
    "cog-l3": (1000, 1095203, 50000),
    "cog-l4": (1000, 1107128, 50000),
    "cog-l5": (1000, 1091654, 50000),
    "dtd": (47, 1880, 1880, 1880),
    "eurosat": (10, 13500, 5400, 8100),
    "flowers": (102, 1020, 1020, 6149),
    "food101": (101, 75750, 25250),
    "imagenet1k": (1000, 1281167, 50000),
    "inat2018": (8142, 437513, 24426),
    "inat2019": (1010, 265213, 3030),
    "nyuv2": (0, 795, 654),
    "pets": (37, 3680, 3669),
    "places205": (205, 2448873, 20500),
    "sun397": (397, 19850, 19850),
    "tiny-imagenet": (200, 100000, 10000),
    "voc0712": (20, 8218, 8333, 4952),
    "voc2007": (20, 2501, 2510, 4952),
    "voc2012aug": (21, 10582, 1449),
}
# Images of all splits together, where the splits are parts of one published whole.
WHOLE = {"aircraft": 10000, "caltech101": 9144, "cars": 16185, "eurosat": 27000, "flowers": 8189, "food101": 101000}
PER_CLASS = {"aircraft", "caltech101", "flowers", "pets"}  # the metric of Kornblith et al. 2019, and of who followed
USUAL = {"classification": "top1", "multilabel": "map11", "segmentation": "miou", "normals": "within_11.25"}


@pytest.mark.parametrize("name", DATASETS)
def test_an_entry_says_all_that_it_should(name: str) -> None:
    one = DATASETS[name]
    assert one.name == name
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", name)
    assert one.kind in KINDS
    assert one.metric in METRICS
    assert one.layout in adhoc.layout_names()
    assert one.kind == adhoc.layout(one.layout).KIND
    assert one.classes > 1 or one.kind == "normals"
    assert {"train", "test"} <= set(one.counts) <= {"train", "val", "test"}
    assert all(count > 0 for count in one.counts.values())
    assert one.licence.strip()
    assert one.citation.strip()
    assert one.source.strip()
    path = PurePosixPath(one.path)
    assert one.path
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert one.digest == ""


@pytest.mark.parametrize("name", [name for name, one in DATASETS.items() if one.archives or one.page])
def test_the_archives_of_an_entry(name: str) -> None:
    one = DATASETS[name]
    assert not one.page or one.page.startswith("https://")
    for archive in one.archives:
        assert archive.urls
        assert all(url.startswith(("https://", "http://")) and " " not in url for url in archive.urls)
        for digest, length in ((archive.sha256, 64), (archive.md5, 32)):
            assert not digest or (len(digest) == length and HEX.fullmatch(digest))
        to = PurePosixPath(archive.to)
        assert not to.is_absolute()
        assert ".." not in to.parts
    urls = [url for archive in one.archives for url in archive.urls]
    assert len(set(urls)) == len(urls)


@pytest.mark.parametrize("name", FACTS)
def test_classes_and_counts_are_as_published(name: str) -> None:
    one = DATASETS[name]
    classes, *sizes = FACTS[name]
    splits = ("train", "val", "test") if len(sizes) == 3 else ("train", "test")
    assert one.classes == classes
    assert one.counts == dict(zip(splits, sizes, strict=True))
    assert sum(sizes) == WHOLE.get(name, sum(sizes))
    if one.kind in USUAL:
        assert one.metric == ("mean_per_class" if name in PER_CLASS else USUAL[one.kind])


def test_where_it_is_brought_from_changes_no_number_and_is_not_recorded() -> None:
    one = Dataset("mine", path="/data/mine", classes=2, counts={"train": 2, "test": 2})
    brought = replace(
        one, archives=(Archive(("https://example.org/a.zip",), "ab", to="x"),), page="https://example.org"
    )
    assert entry.digest(one) == entry.digest(brought)
    assert entry.digest(one) != entry.digest(replace(one, counts={"train": 2, "test": 1}))
    assert from_json(entry.as_json(one)) == one
    assert from_json(entry.as_json(brought)) == replace(brought, archives=())
