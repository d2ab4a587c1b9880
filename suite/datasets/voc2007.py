"""PASCAL VOC 2007, image-level labels: 20 classes, several to an image, 11-point mAP."""

from suite.dataset import Archive, Dataset

HOMES = ("http://host.robots.ox.ac.uk/pascal/VOC/voc2007", "https://thor.robots.ox.ac.uk/pascal/VOC/voc2007")

VOC2007 = Dataset(
    name="voc2007",
    kind="multilabel",
    layout="voc",
    path="VOCdevkit/VOC2007",
    classes=20,
    counts={"train": 2501, "val": 2510, "test": 4952},
    metric="map11",
    source="VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar",
    archives=(
        Archive(tuple(f"{home}/VOCtrainval_06-Nov-2007.tar" for home in HOMES), md5="c52e279531787c972589f7e41ab4ae64"),
        Archive(tuple(f"{home}/VOCtest_06-Nov-2007.tar" for home in HOMES), md5="b6e924de25625d8de591ea690078ad9f"),
    ),
    licence="Flickr photos, VOC terms: research use",
    citation="Everingham et al., The PASCAL visual object classes challenge, IJCV 2010",
)
