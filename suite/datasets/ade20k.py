"""ADE20K of the scene parsing challenge: 150 classes of pixels; val is the test split."""

from suite.dataset import Archive, Dataset

ADE20K = Dataset(
    name="ade20k",
    kind="segmentation",
    layout="ade20k",
    path="ADEChallengeData2016",
    classes=150,
    counts={"train": 20210, "test": 2000},
    metric="miou",
    source="ADEChallengeData2016.zip",
    archives=(
        Archive(
            ("http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",),
            md5="7328b3957e407ddae1d3cbf487f149ef",
        ),
    ),
    licence="ADE20K terms: non-commercial research",
    citation="Zhou et al., Scene parsing through ADE20K dataset, CVPR 2017",
)
