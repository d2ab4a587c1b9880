"""PASCAL VOC 2007 and 2012, the boxes of objects: trained on both years, tested on 2007, 11-point mAP (07+12)."""

from suite.dataset import Dataset
from suite.datasets.voc2007 import VOC2007
from suite.datasets.voc2012aug import TRAINVAL_2012

VOC0712 = Dataset(
    name="voc0712",
    kind="detection",
    layout="voc-detection",
    path="VOCdevkit",
    classes=20,
    counts={"train": 2501 + 5717, "val": 2510 + 5823, "test": 4952},
    metric="voc07",
    source="VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar and VOCtrainval_11-May-2012.tar",
    archives=(*VOC2007.archives, TRAINVAL_2012),
    licence="Flickr photos, VOC terms: research use",
    citation="Everingham et al., The PASCAL visual object classes challenge, IJCV 2010",
)
