"""CropDiseases: leaves with 38 plants' diseases or without, for few-shot episodes from all of its training folder.

The split is ours, drawn from dataset/train/ by a seed (drawn.py); the published episodes take both parts together.
"""

from suite.dataset import Dataset

CROPDISEASES = Dataset(
    name="cropdiseases",
    layout="cropdiseases",
    path="CropDiseases",
    classes=38,
    counts={"train": 34765, "test": 8691},
    source="the folder dataset/ of Kaggle's saroz014/plant-disease",
    page="https://www.kaggle.com/datasets/saroz014/plant-disease",
    licence="PlantVillage: CC-BY-SA-3.0",
    citation=(
        "Mohanty et al., Using deep learning for image-based plant disease detection, Frontiers in Plant Science 2016; "
        "Guo et al., A broader study of cross-domain few-shot learning, ECCV 2020"
    ),
)
