"""One folder a class under one folder a split (ImageNet and most sets that people make themselves).

    train/CLASS/**/*.jpg
    val/CLASS/**/*.jpg        optional; where there is no test/, it is the test split and there is no val split
    test/CLASS/**/*.jpg

Classes are the folder names of train/, sorted.
"""

from pathlib import Path

from suite.index import Index, LayoutError, Split, folders, images, some, unlike
from suite.layouts import imagenet

KIND = "classification"
EXPECTED = "train/CLASS/*.jpg and test/CLASS/*.jpg (val/ beside test/, or in its place)"


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    held_out = (root / "test").is_dir() or (root / "val").is_dir()
    # Tiny ImageNet, whose val/ is one folder and a list; ImageNet, whose list has the classes' order.
    listed = any((root / name).exists() for name in ("wnids.txt", imagenet.LIST))
    if listed or not held_out or not (root / "train").is_dir() or imagenet.recognise(root):
        return False
    held = folders(root / "train")
    return bool(held) and not {"rgb", "normals"} <= set(held)  # NYUv2's, which are no classes


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    names = [name for name in ("train", "val", "test") if (root / name).is_dir()]
    if "train" not in names or len(names) == 1:
        raise unlike(root, EXPECTED)
    classes = folders(root / "train")
    if not classes:
        raise unlike(root / "train", "one folder a class with images in it")
    splits = {name: _split(root, name, classes) for name in names}
    if "test" not in splits:
        splits["test"] = splits.pop("val")
    return Index(KIND, classes, splits)


def _split(root: Path, name: str, classes: list[str]) -> Split:
    known = {label: number for number, label in enumerate(classes)}
    present = folders(root / name)
    unknown = [label for label in present if label not in known]
    if unknown:
        raise LayoutError(
            f"{root}: {name}/ has {len(unknown)} classes that train/ has not ({some(unknown)}); "
            f"expected the classes of train/ ({some(classes)}); rename, move or remove their folders"
        )
    items: list[str] = []
    labels: list[int] = []
    for label in present:
        found = images(root / name / label)
        if not found:
            raise LayoutError(f"{root}: no image in {name}/{label}/; expected *.jpg or the like; fill or remove it")
        items += [f"{name}/{label}/{image}" for image in found]
        labels += [known[label]] * len(found)
    if not items:
        raise unlike(root / name, "one folder a class with images in it")
    return Split(items, labels)
