"""SUN397: scenes of 397 classes, the first of ten official partitions; no official validation split."""

from suite.dataset import Archive, Dataset

SUN397 = Dataset(
    name="sun397",
    layout="sun397",
    path="sun397",
    classes=397,
    counts={"train": 19850, "test": 19850},
    source="SUN397.tar.gz and Partitions.zip",
    archives=(
        Archive(
            (
                "http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz",
                "https://huggingface.co/zhengli97/SUN397_Dataset/resolve/main/SUN397.tar.gz",
            ),
            sha256="f404130965a7ad77bed5ececc71e720ab50f3cc1e1bb257257610d38f3b928ec",
            md5="8ca2778205c41d23104230ba66911c7a",
        ),
        Archive(
            (
                "https://vision.princeton.edu/projects/2010/SUN/download/Partitions.zip",
                "https://3dvision.princeton.edu/projects/2010/SUN/download/Partitions.zip",
            ),
            sha256="e3311ea5f812d4cc6faef194688343d1111f6cd6f70f2c62f393c2b8d6ba1ec9",
            md5="29a205c0a0129d21f36cbecfefe81881",
        ),
    ),
    page="https://3dvision.princeton.edu/projects/2010/SUN/",
    licence="non-commercial research",
    citation="Xiao et al., SUN database: large-scale scene recognition from abbey to zoo, CVPR 2010",
)
