"""NYU Depth v2, the surface normal of each pixel, with the official splits of its labelled images."""

from suite.dataset import Dataset

NYUV2 = Dataset(
    name="nyuv2",
    kind="normals",
    layout="nyuv2",
    path="nyuv2",
    classes=0,
    counts={"train": 795, "test": 654},
    metric="within_11.25",
    source=(
        "photos of nyu_depth_v2_labeled.mat, splits of splits.mat; "
        "normals made of its depth, as the layout's docstring has them"
    ),
    licence="research use",
    citation="Silberman et al., Indoor segmentation and support inference from RGBD images, ECCV 2012",
)
