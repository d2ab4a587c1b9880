"""Stanford Cars: 196 makes, models and years; no official validation split."""

from suite.dataset import Archive, Dataset

HOME = "https://ai.stanford.edu/~jkrause"

CARS = Dataset(
    name="cars",
    layout="cars",
    path="cars",
    classes=196,
    counts={"train": 8144, "test": 8041},
    source="stanford_cars/, as Kaggle's archive unpacks (or cars_train.tgz, cars_test.tgz, car_devkit.tgz and "
    "cars_test_annos_withlabels.mat; or car_ims/ and cars_annos.mat)",
    archives=(
        Archive(
            (f"{HOME}/car196/cars_train.tgz",),
            sha256="b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd",
            md5="065e5b463ae28d29e77c1b4b166cfe61",
        ),
        Archive(
            (f"{HOME}/car196/cars_test.tgz",),
            sha256="bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243",
            md5="4ce7ebf6a94d07f1952d94dd34c4d501",
        ),
        Archive(
            (f"{HOME}/cars/car_devkit.tgz", "https://github.com/pytorch/vision/files/11644847/car_devkit.tgz"),
            sha256="512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288",
            md5="c3b158d763b6e2245038c8ad08e45376",
        ),
        Archive(
            (f"{HOME}/car196/cars_test_annos_withlabels.mat",),
            sha256="790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05",
            md5="b0a2b23655a3edd16d84508592a98d10",
            to="devkit",
        ),
    ),
    page="https://www.kaggle.com/datasets/rickyyyyyyy/torchvision-stanford-cars",  # Stanford's addresses are dead
    licence="none stated; research use",
    citation="Krause et al., 3D object representations for fine-grained categorization, 3dRR workshop 2013",
)
