"""ISIC 2018, task 3: seven kinds of skin lesion, for few-shot episodes from all of its training images.

The split is ours, drawn by a seed (drawn.py); the published episodes take both parts together.
"""

from suite.dataset import Archive, Dataset

HOME = "https://isic-challenge-data.s3.amazonaws.com/2018"

ISIC2018 = Dataset(
    name="isic2018",
    layout="isic2018",
    path="ISIC2018",
    classes=7,
    counts={"train": 8012, "test": 2003},
    source="ISIC2018_Task3_Training_Input.zip and ISIC2018_Task3_Training_GroundTruth.zip",
    archives=(
        Archive((f"{HOME}/ISIC2018_Task3_Training_Input.zip",)),
        Archive((f"{HOME}/ISIC2018_Task3_Training_GroundTruth.zip",)),
    ),
    licence="CC-BY-NC-4.0",
    citation=(
        "Codella et al., Skin lesion analysis toward melanoma detection 2018, arXiv 2019; "
        "Tschandl et al., The HAM10000 dataset, Scientific Data 2018"
    ),
)
