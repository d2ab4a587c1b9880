"""PASCAL VOC 2012 with the masks of SBD, the class of each pixel: 21 with the background; val is the test split."""

from suite.dataset import Dataset

VOC2012AUG = Dataset(
    name="voc2012aug",
    kind="segmentation",
    layout="voc-segmentation",
    path="VOCdevkit/VOC2012",
    classes=21,
    counts={"train": 10582, "test": 1449},
    metric="miou",
    source=(
        "VOCtrainval_11-May-2012.tar; SBD's masks as SegmentationClassAug/ and ImageSets/Segmentation/trainaug.txt"
    ),
    licence="Flickr photos, VOC terms: research use",
    citation=(
        "Everingham et al., The PASCAL visual object classes challenge, IJCV 2010; "
        "Hariharan et al., Semantic contours from inverse detectors, ICCV 2011"
    ),
)
