"""Food-101: two lists of images, whose folders are the classes.

    meta/train.txt              CLASS/NUMBER, without an ending; or train.json: {CLASS: [CLASS/NUMBER, ...]}
    meta/test.txt               the same
    images/CLASS/NUMBER.jpg

The root is that folder, or the one that holds food-101/. Classes are the folder names in the list of train, sorted. No
official val split.
"""

import json
from pathlib import Path

from suite import inner
from suite.index import Index, LayoutError, Split, lines, require_all_labelled, require_present, some

KIND = "classification"
EXPECTED = "meta/train.txt and meta/test.txt (or .json), and images/"
FOLDERS = ("food-101",)


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return _prefix(root) is not None


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    prefix = inner.required(root, _prefix(root), EXPECTED)
    listed = {split: _listed(root / prefix / "meta", split) for split in ("train", "test")}
    known = {name: label for label, name in enumerate(sorted({_folder(image) for image in listed["train"]}))}
    if odd := sorted({_folder(image) for image in listed["test"]} - known.keys()):
        raise LayoutError(f"{root}: the list of test has classes that train has not ({some(odd)}); unpack meta/ again")
    splits = {
        split: Split([f"{prefix}images/{image}.jpg" for image in images], [known[_folder(image)] for image in images])
        for split, images in listed.items()
    }
    require_all_labelled(root, list(known), splits["test"].labels, "the list of test")
    require_present(root, [item for split in splits.values() for item in split.items])
    return Index(KIND, list(known), splits)


def _prefix(root: Path) -> str | None:
    return inner.prefix(root, FOLDERS, _lies)


def _lies(folder: Path) -> bool:
    listed = any((folder / "meta" / name).is_file() for name in ("train.txt", "train.json"))
    return listed and (folder / "images").is_dir()


def _listed(meta: Path, split: str) -> list[str]:
    path = meta / f"{split}.json"
    if (meta / f"{split}.txt").is_file() or not path.is_file():
        path = meta / f"{split}.txt"
        found = lines(path)
    else:
        try:
            found = [str(image) for images in json.loads(path.read_bytes()).values() for image in images]
        except (ValueError, AttributeError, TypeError) as error:
            raise LayoutError(f"{path}: cannot be read ({error}); unpack the archive again") from None
    bad = [image for image in found if image.count("/") != 1]
    if bad or not found:
        told = f"line {bad[0]!r}" if bad else "no image"
        raise LayoutError(f"{path}: {told}; expected CLASS/NUMBER; unpack the archive again")
    return found


def _folder(image: str) -> str:
    return image.partition("/")[0]
