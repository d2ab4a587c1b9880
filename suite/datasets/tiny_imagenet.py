"""Tiny ImageNet: 200 classes at 64x64 pixels; its labelled validation split is the test split."""

from suite.dataset import Archive, Dataset

TINY_IMAGENET = Dataset(
    name="tiny-imagenet",
    layout="tiny-imagenet",
    path="tiny-imagenet-200",
    classes=200,
    counts={"train": 100000, "test": 10000},
    source="tiny-imagenet-200.zip",
    archives=(Archive(("http://cs231n.stanford.edu/tiny-imagenet-200.zip",), md5="90528d7ca1a48142e341f4ef8d21d0de"),),
    licence="ImageNet terms: non-commercial research",
    citation="Le and Yang, Tiny ImageNet visual recognition challenge, 2015",
)
