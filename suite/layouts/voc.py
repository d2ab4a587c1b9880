"""PASCAL VOC, the labels of whole images (multilabel), one year.

    [VOCdevkit/]VOC2007/ImageSets/Main/CLASS_train.txt      IMAGE 1|0|-1: there, only as "difficult", not there
    [VOCdevkit/]VOC2007/ImageSets/Main/CLASS_val.txt
    [VOCdevkit/]VOC2007/ImageSets/Main/CLASS_test.txt       2007 only; without it val is the test split
    [VOCdevkit/]VOC2007/JPEGImages/IMAGE.jpg

The root may be the year's folder, VOCdevkit/ or the folder that holds either. A label is 1 only where the list says 1;
where it says 0, the class is one of the image's `difficult` ones.
"""

from collections.abc import Callable
from pathlib import Path

from suite.index import Index, LayoutError, Split, folders, lines, require_present, some, unlike

KIND = "multilabel"
EXPECTED = "[VOCdevkit/]VOC2007/ImageSets/Main/CLASS_train.txt (or another year's)"


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return bool(years(root, _is_year))


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    lists = root / year(root, _is_year, EXPECTED) / "ImageSets" / "Main"
    classes = _classes(lists, "train")
    splits = {split: _split(root, lists, split, classes) for split in ("train", "val")}
    tested = _classes(lists, "test")
    if tested:
        if tested != classes:
            odd = sorted(set(tested) ^ set(classes))
            raise LayoutError(f"{lists}: classes of train and test differ ({some(odd)}); unpack both archives again")
        splits["test"] = _split(root, lists, "test", classes)
    else:
        splits["test"] = splits.pop("val")
    require_present(root, [item for split in splits.values() for item in split.items])
    return Index(KIND, classes, splits)


def year(root: Path, fits: Callable[[Path], bool], expected: str) -> str:
    """The folder of the one year that a root has; LayoutError where it has none or several."""
    found = years(root, fits)
    if not found:
        raise unlike(root, expected)
    if len(found) > 1:
        raise LayoutError(
            f"{root}: holds {some(found)}; expected one year; name the year's folder, as {root / found[0]}"
        )
    return found[0]


def years(root: Path, fits: Callable[[Path], bool]) -> list[str]:
    """Folders of years that fit, relative to the root; "." where the root is one."""
    if not root.is_dir():
        return []
    if fits(root):
        return ["."]
    held = [name for name in folders(root) if name.startswith("VOC2")]
    if (root / "VOCdevkit").is_dir():
        held += [f"VOCdevkit/{name}" for name in folders(root / "VOCdevkit") if name.startswith("VOC2")]
    return [name for name in held if fits(root / name)]


def _is_year(folder: Path) -> bool:
    return bool(_classes(folder / "ImageSets" / "Main", "train"))


def _classes(lists: Path, split: str) -> list[str]:
    ending = f"_{split}.txt"
    return sorted(path.name.removesuffix(ending) for path in lists.glob(f"*{ending}") if not path.name.startswith("."))


def _split(root: Path, lists: Path, split: str, classes: list[str]) -> Split:
    columns = [_column(lists / f"{name}_{split}.txt") for name in classes]
    images = list(columns[0])
    for name, column in zip(classes, columns, strict=True):
        if list(column) != images:
            raise LayoutError(
                f"{lists}: {name}_{split}.txt lists other images than {classes[0]}_{split}.txt "
                f"({some(sorted(column.keys() ^ set(images))) or 'in another order'}); unpack the lists again"
            )
    folder = (lists.parent.parent / "JPEGImages").relative_to(root).as_posix()
    return Split(
        [f"{folder}/{image}.jpg" for image in images],
        [[int(column[image] == "1") for column in columns] for image in images],
        difficult=[[label for label, column in enumerate(columns) if column[image] == "0"] for image in images],
    )


def _column(path: Path) -> dict[str, str]:
    """Image -> "1", "0" or "-1", as one class's list says."""
    rows = [line.split() for line in lines(path)]
    bad = [" ".join(row) for row in rows if len(row) != 2 or row[1] not in ("1", "0", "-1")]
    if bad or not rows:
        raise LayoutError(f"{path}: {f'line {bad[0]!r}' if bad else 'no line'}; expected IMAGE 1|0|-1; unpack it again")
    return {row[0]: row[1] for row in rows}
