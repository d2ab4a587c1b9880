"""ADE20K of the scene parsing challenge: 150 classes of pixels; val is the test split."""

from suite.dataset import Dataset

ADE20K = Dataset(
    name="ade20k",
    kind="segmentation",
    layout="ade20k",
    path="ADEChallengeData2016",
    classes=150,
    counts={"train": 20210, "test": 2000},
    metric="miou",
    source="ADEChallengeData2016.zip",
    licence="ADE20K terms: non-commercial research",
    citation="Zhou et al., Scene parsing through ADE20K dataset, CVPR 2017",
)
