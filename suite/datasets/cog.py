"""ImageNet-CoG: five levels of 1,000 concepts of ImageNet-21K, in one folder; L5 is the farthest from ImageNet-1K."""

from dataclasses import replace

from suite.dataset import Archive, Dataset

PAGE = "https://image-net.org/download-images.php"  # which needs an account
HOME = "http://download.europe.naverlabs.com/ComputerVision"

COG_L1 = Dataset(
    name="cog-l1",
    layout="cog/l1",
    path="cog",
    classes=1000,
    counts={"train": 1118804, "test": 50000},
    source="cog_levels_mapping_file.pkl, cog_concepts_split_file.pkl, and winter21_whole.tar.gz of ImageNet "
    "(or the tars in it)",
    archives=(
        Archive((f"{HOME}/cog_levels_mapping_file.pkl",)),
        Archive((f"{HOME}/cog_concepts_split_file.pkl",)),
        Archive((f"{PAGE}#winter21_whole.tar.gz",)),
    ),
    page=PAGE,
    licence="images: ImageNet terms, non-commercial research; lists: none stated",
    citation="Sariyildiz et al., Concept generalization in visual representation learning, ICCV 2021",
)
COG_L2 = replace(COG_L1, name="cog-l2", layout="cog/l2", counts={"train": 1115788, "test": 50000})
COG_L3 = replace(COG_L1, name="cog-l3", layout="cog/l3", counts={"train": 1095203, "test": 50000})
COG_L4 = replace(COG_L1, name="cog-l4", layout="cog/l4", counts={"train": 1107128, "test": 50000})
COG_L5 = replace(COG_L1, name="cog-l5", layout="cog/l5", counts={"train": 1091654, "test": 50000})
