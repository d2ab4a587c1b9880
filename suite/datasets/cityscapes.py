"""Cityscapes, fine annotations: 19 classes of pixels; val is the test split, for the masks of test are withheld."""

from suite.dataset import Archive, Dataset

PAGE = "https://www.cityscapes-dataset.com/downloads/"  # which needs an account

CITYSCAPES = Dataset(
    name="cityscapes",
    kind="segmentation",
    layout="cityscapes",
    path="cityscapes",
    classes=19,
    counts={"train": 2975, "test": 500},
    metric="miou",
    source="leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip",
    archives=(Archive((f"{PAGE}#leftImg8bit_trainvaltest.zip",)), Archive((f"{PAGE}#gtFine_trainvaltest.zip",))),
    page=PAGE,
    licence="Cityscapes terms: non-commercial",
    citation="Cordts et al., The Cityscapes dataset for semantic urban scene understanding, CVPR 2016",
)
