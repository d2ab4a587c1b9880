"""ImageNet-1K: 1,000 classes, and SimCLR's lists of 1 % and 10 % of it; val is the test split."""

from dataclasses import replace

from suite.dataset import Archive, Dataset

PAGE = "https://image-net.org/download.php"  # which needs an account
LISTS = "https://raw.githubusercontent.com/google-research/simclr/master/imagenet_subsets"

IMAGENET1K = Dataset(
    name="imagenet1k",
    layout="imagenet",
    path="imagenet1k",
    classes=1000,
    counts={"train": 1281167, "test": 50000},
    source="ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz",
    archives=(
        Archive((f"{PAGE}#ILSVRC2012_img_train.tar",), md5="1d675b47d978889d74fa0da5fadfb00e", to="train"),
        Archive((f"{PAGE}#ILSVRC2012_img_val.tar",), md5="29b22e2961454d5413ddabcf34fc5622", to="val"),
        Archive((f"{PAGE}#ILSVRC2012_devkit_t12.tar.gz",), md5="fa75699e90414af021442c21a62c3abf"),
    ),
    page=PAGE,
    licence="ImageNet terms: non-commercial research",
    citation="Russakovsky et al., ImageNet large scale visual recognition challenge, IJCV 2015",
)
IMAGENET1K_1PERCENT = replace(
    IMAGENET1K,
    name="imagenet1k-1percent",
    layout="imagenet/1percent",
    counts={"train": 12811, "test": 50000},
    source="imagenet1k's folder, and 1percent.txt of https://github.com/google-research/simclr in it",
    archives=(Archive((f"{LISTS}/1percent.txt",)),),
    page="",
    citation="Chen et al., A simple framework for contrastive learning of visual representations, ICML 2020",
)
IMAGENET1K_10PERCENT = replace(
    IMAGENET1K_1PERCENT,
    name="imagenet1k-10percent",
    layout="imagenet/10percent",
    counts={"train": 128116, "test": 50000},
    source="imagenet1k's folder, and 10percent.txt of https://github.com/google-research/simclr in it",
    archives=(Archive((f"{LISTS}/10percent.txt",)),),
)
