"""COCO 2017, boxes and masks of objects: 80 classes; val is the test split, for test has no published annotations."""

from suite.dataset import Archive, Dataset

HOME = "http://images.cocodataset.org"

COCO2017 = Dataset(
    name="coco2017",
    kind="detection",
    layout="coco",
    path="coco",
    classes=80,
    counts={"train": 118287, "test": 5000},
    metric="coco",
    masks=True,
    source="train2017.zip, val2017.zip and annotations_trainval2017.zip",
    archives=(
        Archive((f"{HOME}/zips/train2017.zip",), md5="cced6f7f71b7629ddf16f17bbcfab6b2"),
        Archive((f"{HOME}/zips/val2017.zip",), md5="442b8da7639aecaf257c1dceb8ba8c80"),
        Archive((f"{HOME}/annotations/annotations_trainval2017.zip",), md5="f4bbac642086de4f52a3fdda2de5fa2c"),
    ),
    licence="annotations CC-BY-4.0; photos: each its own Flickr licence",
    citation="Lin et al., Microsoft COCO: common objects in context, ECCV 2014",
)
