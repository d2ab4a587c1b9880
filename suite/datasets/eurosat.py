"""EuroSAT: satellite photos of ten kinds of land, with a split of t-ReX's sizes, which the layout draws by a seed.

Few-shot episodes, as published, take all parts together.
"""

from suite.dataset import Archive, Dataset

EUROSAT = Dataset(
    name="eurosat",
    layout="eurosat",
    path="eurosat",
    classes=10,
    counts={"train": 13500, "val": 5400, "test": 8100},
    source="EuroSAT.zip",
    archives=(
        Archive(
            (
                "https://madm.dfki.de/files/sentinel/EuroSAT.zip",
                "https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
            ),
            sha256="8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd",
            md5="c8fa014336c82ac7804f0398fcb19387",
        ),
    ),
    licence="MIT",
    citation=(
        "Helber et al., EuroSAT: a novel dataset and deep learning benchmark for land use and land cover "
        "classification, J-STARS 2019; split: Sariyildiz et al., No reason for no supervision, ICLR 2023"
    ),
)
