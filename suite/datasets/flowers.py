"""Oxford Flowers-102: 102 flowers, with the official validation split; test is the largest part."""

from suite.dataset import Archive, Dataset

HOMES = ("https://www.robots.ox.ac.uk/~vgg/data/flowers/102", "https://thor.robots.ox.ac.uk/flowers/102")

FLOWERS = Dataset(
    name="flowers",
    layout="flowers",
    path="flowers",
    classes=102,
    counts={"train": 1020, "val": 1020, "test": 6149},
    metric="mean_per_class",
    source="102flowers.tgz, imagelabels.mat and setid.mat",
    archives=(
        Archive(tuple(f"{home}/102flowers.tgz" for home in HOMES), md5="52808999861908f626f3c1f4e79d11fa"),
        Archive(tuple(f"{home}/imagelabels.mat" for home in HOMES), md5="e0620be6f572b9609742df49c70aed4d"),
        Archive(tuple(f"{home}/setid.mat" for home in HOMES), md5="a5357ecc9cb78c4bef273ce3793fc85c"),
    ),
    licence="none stated; research use",
    citation="Nilsback and Zisserman, Automated flower classification over a large number of classes, ICVGIP 2008",
)
