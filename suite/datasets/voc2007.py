"""PASCAL VOC 2007, image-level labels: 20 classes, several to an image, 11-point mAP."""

from suite.dataset import Dataset

VOC2007 = Dataset(
    name="voc2007",
    kind="multilabel",
    layout="voc",
    path="VOCdevkit/VOC2007",
    classes=20,
    counts={"train": 2501, "val": 2510, "test": 4952},
    metric="map11",
    source="VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar",
    licence="Flickr photos, VOC terms: research use",
    citation="Everingham et al., The PASCAL visual object classes challenge, IJCV 2010",
)
