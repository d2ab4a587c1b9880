"""SUN397, its first partition: two lists of images, in one folder a class.

    ClassName.txt                       the classes, such as /a/abbey or /a/apartment_building/outdoor
    Training_01.txt                     /a/abbey/sun_aqumgxxdcklszhzz.jpg
    Testing_01.txt                      the same
    SUN397/a/abbey/sun_aqumgxxdcklszhzz.jpg

The lists, of Partitions.zip, may also lie in Partitions/ or SUN397/; the root may be SUN397/ itself. Classes are named
without their letter, in the order of ClassName.txt. Partitions 2 to 10 are not read. No official val split.
"""

from pathlib import Path

from suite import inner
from suite.index import Index, LayoutError, Split, lines, require_all_labelled, require_present, unlike

KIND = "classification"
EXPECTED = "SUN397/a/, and beside it ClassName.txt, Training_01.txt and Testing_01.txt of Partitions.zip"
LISTS = {"train": "Training_01.txt", "test": "Testing_01.txt"}


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return None not in (_lists(root), _images(root))


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    lists, images = _lists(root), _images(root)
    if lists is None or images is None:
        raise unlike(root, EXPECTED)
    folders = [line.strip("/") for line in lines(root / lists / "ClassName.txt")]
    classes = [folder.partition("/")[2] for folder in folders]
    known = {folder: label for label, folder in enumerate(folders)}
    splits = {split: _split(root / lists / file, images, known) for split, file in LISTS.items()}
    for split, file in LISTS.items():
        require_all_labelled(root, classes, splits[split].labels, file)
    require_present(root, [item for split in splits.values() for item in split.items])
    return Index(KIND, classes, splits)


def _lists(root: Path) -> str | None:
    return inner.prefix(root, ("Partitions", "SUN397"), lambda folder: (folder / LISTS["train"]).is_file())


def _images(root: Path) -> str | None:
    return inner.prefix(root, ("SUN397",), lambda folder: (folder / "a").is_dir())


def _split(path: Path, images: str, known: dict[str, int]) -> Split:
    files = [line.strip("/") for line in lines(path)]
    bad = [file for file in files if file.rpartition("/")[0] not in known]
    if bad or not files:
        told = f"line '/{bad[0]}', a class that is not in ClassName.txt" if bad else "no line"
        raise LayoutError(f"{path}: {told}; expected /LETTER/CLASS/IMAGE.jpg; unpack Partitions.zip again")
    return Split([images + file for file in files], [known[file.rpartition("/")[0]] for file in files])
