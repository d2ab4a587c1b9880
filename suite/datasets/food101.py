"""Food-101: 101 dishes; what is trained on was left uncleaned; no official validation split."""

from suite.dataset import Archive, Dataset

FOOD101 = Dataset(
    name="food101",
    layout="food101",
    path="food101",
    classes=101,
    counts={"train": 75750, "test": 25250},
    source="food-101.tar.gz",
    archives=(
        Archive(
            ("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
            sha256="d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4",
            md5="85eeb15f3717b99a5da872d97d918f87",
        ),
    ),
    licence="Foodspotting's photos: scientific fair use",
    citation="Bossard et al., Food-101: mining discriminative components with random forests, ECCV 2014",
)
