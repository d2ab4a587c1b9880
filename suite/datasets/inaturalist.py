"""iNaturalist 2018 and 2019: species of plants and animals, from many photos of one to few; val is the test split."""

from suite.dataset import Archive, Dataset

HOME = "https://ml-inat-competition-datasets.s3.amazonaws.com"

INAT2018 = Dataset(
    name="inat2018",
    layout="inaturalist",
    path="inat2018",
    classes=8142,
    counts={"train": 437513, "test": 24426},
    source="train_val2018.tar.gz, train2018.json.tar.gz and val2018.json.tar.gz",
    archives=(
        Archive((f"{HOME}/2018/train_val2018.tar.gz",), md5="b1c6952ce38f31868cc50ea72d066cc3"),
        Archive((f"{HOME}/2018/train2018.json.tar.gz",), md5="bfa29d89d629cbf04d826a720c0a68b0"),
        Archive((f"{HOME}/2018/val2018.json.tar.gz",), md5="f2ed8bfe3e9901cdefceb4e53cd3775d"),
    ),
    licence="iNaturalist competition terms: non-commercial research and education",
    citation="Van Horn et al., The iNaturalist species classification and detection dataset, CVPR 2018",
)
INAT2019 = Dataset(
    name="inat2019",
    layout="inaturalist",
    path="inat2019",
    classes=1010,
    counts={"train": 265213, "test": 3030},
    source="train_val2019.tar.gz, train2019.json.tar.gz and val2019.json.tar.gz",
    archives=(
        Archive((f"{HOME}/2019/train_val2019.tar.gz",), md5="c60a6e2962c9b8ccbd458d12c8582644"),
        Archive((f"{HOME}/2019/train2019.json.tar.gz",), md5="b06a6683537867c0d5c7a45f407a306d"),
        Archive((f"{HOME}/2019/val2019.json.tar.gz",), md5="5cc5509b0fe495f1c8c1362612448497"),
    ),
    licence=INAT2018.licence,
    citation=INAT2018.citation,
)
