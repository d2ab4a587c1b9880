"""Stanford Cars: the images' classes in MAT-files, as published in 2013 and again with the older archive.

    devkit/cars_meta.mat                        class_names
    devkit/cars_train_annos.mat                 annotations: fname, class (from 1), a box
    devkit/cars_test_annos_withlabels.mat       the same; also right in the root
    cars_train/00001.jpg
    cars_test/00001.jpg

    cars_annos.mat                              class_names; annotations: relative_im_path, class, test (0 or 1), a box
    car_ims/000001.jpg

Either will do: they hold the same images and the same split, numbered otherwise. Where both are there, the first is
read. The root is that folder, or the one that holds stanford_cars/. No official val split.
"""

from pathlib import Path

from suite import inner, matfile
from suite.index import Index, LayoutError, Split, require_all_labelled, require_present, some

KIND = "classification"
EXPECTED = "devkit/cars_train_annos.mat, cars_train/ and cars_test/; or cars_annos.mat and car_ims/"
FOLDERS = ("stanford_cars",)
TEST = "cars_test_annos_withlabels.mat"
Listed = tuple[list[str], dict[str, list[tuple[str, int]]]]  # class names; split -> file, number of its class


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return _prefix(root) is not None


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    prefix = inner.required(root, _prefix(root), EXPECTED)
    classes, listed = (_in_two if _is_two(root / prefix) else _in_one)(root / prefix)
    bad = [f"{file} {label}" for rows in listed.values() for file, label in rows if not 1 <= label <= len(classes)]
    if bad:
        raise LayoutError(
            f"{root}: {len(bad)} images of a class that is not from 1 to {len(classes)} ({some(bad)}); "
            "bring the MAT-files again"
        )
    splits = {
        split: Split([prefix + file for file, _ in rows], [label - 1 for _, label in rows])
        for split, rows in listed.items()
    }
    for split, rows in splits.items():
        require_all_labelled(root, classes, rows.labels, split)
    require_present(root, [item for split in splits.values() for item in split.items])
    return Index(KIND, classes, splits)


def _prefix(root: Path) -> str | None:
    return inner.prefix(root, FOLDERS, lambda folder: _is_two(folder) or _is_one(folder))


def _is_two(folder: Path) -> bool:
    return (folder / "devkit" / "cars_train_annos.mat").is_file() and (folder / "cars_train").is_dir()


def _is_one(folder: Path) -> bool:
    return (folder / "cars_annos.mat").is_file() and (folder / "car_ims").is_dir()


def _in_two(folder: Path) -> Listed:
    devkit = folder / "devkit"
    test = next((path for path in (devkit / TEST, folder / TEST) if path.is_file()), None)
    if test is None:
        raise LayoutError(
            f"{folder}: no {TEST}, in devkit/ or right there; cars_test_annos.mat of the devkit, which has no classes, "
            "does not do; bring that file"
        )
    lists = {"train": (devkit / "cars_train_annos.mat", "cars_train"), "test": (test, "cars_test")}
    listed = {
        split: [_image(row, "fname", images) for row in matfile.read(path).structs("annotations")]
        for split, (path, images) in lists.items()
    }
    return matfile.read(devkit / "cars_meta.mat").texts("class_names"), listed


def _in_one(folder: Path) -> Listed:
    held = matfile.read(folder / "cars_annos.mat")
    rows = held.structs("annotations")
    listed = {
        split: [_image(row, "relative_im_path", "car_ims") for row in rows if row.number("test") == flag]
        for split, flag in (("train", 0), ("test", 1))
    }
    return held.texts("class_names"), listed


def _image(row: matfile.Named, name: str, images: str) -> tuple[str, int]:
    """File and number of the class of an annotation."""
    return f"{images}/{row.text(name).rpartition('/')[2]}", row.number("class")
