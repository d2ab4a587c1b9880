"""PASCAL VOC 2012 with the masks of SBD, the class of each pixel: 21 with the background; val is the test split."""

from suite.dataset import Archive, Dataset

TRAINVAL_2012 = Archive(
    ("http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",),
    md5="6cd6e144f989b92b3379bac3b3de84fd",
)

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
    archives=(
        TRAINVAL_2012,
        Archive(("http://vllab1.ucmerced.edu/~whung/adv-semi-seg/SegmentationClassAug.zip",)),
        Archive(
            ("https://raw.githubusercontent.com/hfslyc/AdvSemiSeg/master/dataset/voc_list/train_aug.txt",),
            to="ImageSets/Segmentation",
        ),
    ),
    licence="Flickr photos, VOC terms: research use",
    citation=(
        "Everingham et al., The PASCAL visual object classes challenge, IJCV 2010; "
        "Hariharan et al., Semantic contours from inverse detectors, ICCV 2011"
    ),
)
