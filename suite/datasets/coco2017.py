"""COCO 2017, boxes and masks of objects: 80 classes; val is the test split, for test has no published annotations."""

from suite.dataset import Dataset

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
    licence="annotations CC-BY-4.0; photos: each its own Flickr licence",
    citation="Lin et al., Microsoft COCO: common objects in context, ECCV 2014",
)
