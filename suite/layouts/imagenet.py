"""ImageNet-1K: one folder a class, named by its WordNet number, and the list of all classes in their usual order.

    train/WNID/*.JPEG              optional
    val/WNID/*.JPEG                the test split: the labels of test/ were never published
    LOC_synset_mapping.txt         WNID and words, a class a line

Classes are those of the list, also where some have no image here: so a part of the set keeps their numbers, which are
those of published classifiers.
"""

from pathlib import Path

from suite.index import Index, LayoutError, Split, folders, images, lines, some, unlike

KIND = "classification"
LIST = "LOC_synset_mapping.txt"
EXPECTED = f"val/WNID/*.JPEG and {LIST}; train/WNID/*.JPEG may be there"


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return (root / LIST).is_file() and (root / "val").is_dir()


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    if not recognise(root):
        raise unlike(root, EXPECTED)
    classes = [line.split()[0] for line in lines(root / LIST)]
    twice = sorted({wnid for wnid in classes if classes.count(wnid) > 1}) if len(set(classes)) < len(classes) else []
    if twice or not classes:
        raise LayoutError(f"{root / LIST}: {f'{some(twice)} twice' if twice else 'no line'}; unpack it again")
    there = {"test": "val"} | ({"train": "train"} if (root / "train").is_dir() else {})
    return Index(KIND, classes, {split: _split(root, folder, classes) for split, folder in sorted(there.items())})


def _split(root: Path, folder: str, classes: list[str]) -> Split:
    known = {wnid: number for number, wnid in enumerate(classes)}
    present = folders(root / folder)
    if unknown := [wnid for wnid in present if wnid not in known]:
        raise LayoutError(f"{root}: {folder}/ has {len(unknown)} folders that {LIST} has not ({some(unknown)})")
    found = [(f"{folder}/{wnid}/{image}", known[wnid]) for wnid in present for image in images(root / folder / wnid)]
    if not found:
        raise unlike(root / folder, "one folder a class with images in it")
    return Split([item for item, _ in found], [label for _, label in found])
