"""A folder of images and one of masks of the same names, the class of each pixel (segmentation).

    classes.txt             a name a line, in the order of their values 0, 1, 2 ...
    images/**/NAME.jpg      or any other image
    masks/**/NAME.png       the same names, the extension may differ; 255 does not count

The splits are the lists train.txt, val.txt and test.txt in the root (a name relative to images/ a line, with or
without its extension), where there are any; or else the folders images/train/, images/val/ and images/test/, the same
in masks/; with neither, every fifth image in the order of their names is the test split. Without test, val is it.
"""

from pathlib import Path

from suite.index import Index, LayoutError, Split, lines, some, unlike
from suite.pairs import by_name, classes, paired, require_pairs

KIND = "segmentation"
EXPECTED = "images/, masks/ with the same names, and classes.txt"
SPLITS = ("train", "val", "test")
EVERY = 5
VOID = 255


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return (root / "images").is_dir() and (root / "masks").is_dir()


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    if not recognise(root):
        raise unlike(root, EXPECTED)
    if not (root / "classes.txt").is_file():
        raise LayoutError(f"{root}: no classes.txt; expected a class a line, of the values 0, 1, 2 ...; write it")
    names = classes(root / "classes.txt")
    splits = _splits(root)
    return require_pairs(root, Index(KIND, names, splits, list(range(len(names))), void=[VOID]))


def _splits(root: Path) -> dict[str, Split]:
    photos, masks = by_name(root, "images"), by_name(root, "masks")
    if any((root / f"{split}.txt").is_file() for split in SPLITS):
        held = _lists(root, photos)
    else:
        paired(root, photos, masks)
        held = _folders(root, photos) or _every_fifth(root, photos)
    if "test" not in held and "val" in held:
        held["test"] = held.pop("val")
    if gone := [split for split in ("train", "test") if split not in held]:
        raise LayoutError(
            f"{root}: there is no {gone[0]} split, only {some(list(held))}; expected train and test (or val in its "
            "place), each a list in the root or a folder in images/ and masks/; add it"
        )
    return {
        split: Split([photos[name] for name in names], [masks.get(name, f"masks/{name}.png") for name in names])
        for split, names in held.items()
    }


def _lists(root: Path, photos: dict[str, str]) -> dict[str, list[str]]:
    """Split -> the names in its list; LayoutError where one is no image's."""
    known = {file.removeprefix("images/"): name for name, file in photos.items()} | {name: name for name in photos}
    held = {split: lines(root / f"{split}.txt") for split in SPLITS if (root / f"{split}.txt").is_file()}
    if gone := [name for names in held.values() for name in names if name not in known]:
        raise LayoutError(
            f"{root}: {len(gone)} listed images are not in images/ ({some(gone)}); expected names relative to it; "
            "mend the lists"
        )
    return {split: [known[name] for name in names] for split, names in held.items()}


def _folders(root: Path, photos: dict[str, str]) -> dict[str, list[str]]:
    """Split -> the names in its folder; LayoutError where there are such folders and images beside them."""
    held: dict[str, list[str]] = {}
    for name in photos:
        held.setdefault(name.rpartition("/")[0].partition("/")[0], []).append(name)
    if not any(split in held for split in SPLITS):
        return {}
    if beside := [photos[name] for folder, names in held.items() if folder not in SPLITS for name in names]:
        raise LayoutError(
            f"{root}: {len(beside)} images are in none of the folders of splits ({some(beside)}); expected all of "
            f"them in images/{', images/'.join(SPLITS)}; move or remove them"
        )
    return held


def _every_fifth(root: Path, photos: dict[str, str]) -> dict[str, list[str]]:
    names = sorted(photos)
    if len(names) < EVERY:
        raise LayoutError(f"{root}: images/ has {len(names)} images; expected {EVERY} or more, or splits; add some")
    tested = names[EVERY - 1 :: EVERY]
    return {"train": [name for at, name in enumerate(names, 1) if at % EVERY], "test": tested}
