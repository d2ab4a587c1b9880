"""ImageNet-1K: one folder a class, named by its WordNet number, and the list of all classes in their usual order.

    train/WNID/*.JPEG              optional
    val/WNID/*.JPEG                the test split: the labels of test/ were never published
    LOC_synset_mapping.txt         WNID and words, a class a line; not needed where val/ has all 1,000 folders
    LOC_val_solution.csv, or ILSVRC2012_devkit_t12/     needed where val/ has its images in no folders
    1percent.txt, 10percent.txt    only for the parts imagenet/1percent and imagenet/10percent, which train on the
                                   images that it lists: WNID_NUMBER.JPEG a line

As Kaggle has it, train/ and val/ are in ILSVRC/Data/CLS-LOC/, and the lists beside ILSVRC/. The class of an image of
val/ in no folder is that of the ground truth.

Classes are those of the list, also where some have no image here: so a part of the set keeps their numbers, which are
those of published classifiers. Without the list they are the 1,000 folders, sorted, which is the same order.
"""

import os
import re
from pathlib import Path

from suite import csvfile, inner, matfile
from suite.index import Index, LayoutError, Split, folders, images, lines, require_present, some, unlike

KIND = "classification"
SETS = ("1percent", "10percent")
LIST = "LOC_synset_mapping.txt"
WHOLE = 1000
LOOSE = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")
SOLUTION, DEVKIT = "LOC_val_solution.csv", "ILSVRC2012_devkit_t12/data"
FOLDERS = ("ILSVRC/Data/CLS-LOC",)  # Kaggle's
EXPECTED = (
    f"val/WNID/*.JPEG and {LIST} (or all {WHOLE} folders in val/); train/WNID/*.JPEG may be there; or Kaggle's ILSVRC/ "
    f"and {LIST}"
)


def recognise(root: Path, part: str = "") -> bool:
    """Whether the folder looks like this layout, and has the list of the part."""
    prefix = _prefix(root)
    if prefix is None or (part and not (root / f"{part}.txt").is_file()):
        return False
    return (root / LIST).is_file() or len(_wnids(root / prefix)) == WHOLE


def index(root: Path, part: str = "") -> Index:
    """Read the folder; raises LayoutError."""
    if not recognise(root, part):
        raise unlike(root, f"{EXPECTED}{f'; and {part}.txt, its list of images of train/' if part else ''}")
    prefix = _prefix(root) or ""
    classes = _classes(root, prefix)
    splits = {"test": _split(root, f"{prefix}val", classes)}
    if part:
        splits["train"] = _listed(root, prefix, part, classes)
    elif (root / prefix / "train").is_dir():
        splits["train"] = _split(root, f"{prefix}train", classes)
    return Index(KIND, classes, splits)


def settle(root: Path) -> None:
    """Moves the images of val/, which ILSVRC2012_val.tar has side by side, into the folders of their classes, as the
    published ground truth says. Raises LayoutError where that is not there."""
    loose = _loose(root, "val") if (root / "val").is_dir() else {}
    for wnid in set(loose.values()):
        (root / "val" / wnid).mkdir(exist_ok=True)
    for name, wnid in loose.items():
        os.rename(root / "val" / name, root / "val" / wnid / name)


def _prefix(root: Path) -> str | None:
    return inner.prefix(root, FOLDERS, lambda folder: (folder / "val").is_dir())


def _loose(root: Path, folder: str) -> dict[str, str]:
    """Validation image that is in no folder of a class -> WNID."""
    names = sorted(name for name in os.listdir(root / folder) if LOOSE.fullmatch(name))
    truth = _truth(root) if names else {}
    if gone := [name for name in names if name not in truth]:
        raise LayoutError(f"{root}: the ground truth has no class for {len(gone)} images of val/ ({some(gone)})")
    return {name: truth[name] for name in names}


def _truth(root: Path) -> dict[str, str]:
    """File of a validation image -> WNID, of Kaggle's list or of the development kit."""
    if (root / SOLUTION).is_file():
        return {f"{row[0]}.JPEG": row[1].split()[0] for row in csvfile.rows(root / SOLUTION)[1:] if len(row) > 1}
    path = root / DEVKIT / "ILSVRC2012_validation_ground_truth.txt"
    if not path.is_file():
        raise LayoutError(
            f"{root}: the images of val/ are in no folders; expected val/WNID/*.JPEG, or {SOLUTION} of Kaggle or the "
            "ground truth of ILSVRC2012_devkit_t12.tar.gz, by which they are moved; bring one of these"
        )
    synsets = matfile.read(root / DEVKIT / "meta.mat").structs("synsets")
    wnids = {one.number("ILSVRC2012_ID"): one.text("WNID") for one in synsets}
    numbers = [int(line) if line.isdecimal() else 0 for line in lines(path)]
    if odd := sorted({str(number) for number in numbers if number not in wnids}):
        raise LayoutError(f"{path}: {some(odd)} are numbers of no class of meta.mat; unpack the kit again")
    return {f"ILSVRC2012_val_{at:08d}.JPEG": wnids[number] for at, number in enumerate(numbers, 1)}


def _wnids(root: Path) -> list[str]:
    return [name for name in folders(root / "val") if re.fullmatch(r"n\d{8}", name)]


def _classes(root: Path, prefix: str) -> list[str]:
    if not (root / LIST).is_file():
        return _wnids(root / prefix)
    classes = [line.split()[0] for line in lines(root / LIST)]
    twice = sorted({wnid for wnid in classes if classes.count(wnid) > 1}) if len(set(classes)) < len(classes) else []
    if twice or not classes:
        raise LayoutError(f"{root / LIST}: {f'{some(twice)} twice' if twice else 'no line'}; unpack it again")
    return classes


def _split(root: Path, folder: str, classes: list[str]) -> Split:
    known = {wnid: number for number, wnid in enumerate(classes)}
    present, loose = folders(root / folder), _loose(root, folder)
    if unknown := sorted({*present, *loose.values()} - known.keys()):
        held = LIST if (root / LIST).is_file() else "val/"
        raise LayoutError(f"{root}: {folder}/ has {len(unknown)} folders that {held} has not ({some(unknown)})")
    found = [(f"{folder}/{wnid}/{image}", known[wnid]) for wnid in present for image in images(root / folder / wnid)]
    found += [(f"{folder}/{image}", known[wnid]) for image, wnid in loose.items()]
    if not found:
        raise unlike(root / folder, "one folder a class with images in it")
    return Split([item for item, _ in found], [label for _, label in found])


def _listed(root: Path, prefix: str, part: str, classes: list[str]) -> Split:
    known = {wnid: number for number, wnid in enumerate(classes)}
    names = [line.rpartition("/")[2] for line in lines(root / f"{part}.txt")]
    odd = [name for name in names if name.partition("_")[0] not in known]
    if odd or not names:
        told = f"{len(odd)} lines are no image of a class ({some(odd)})" if odd else "no line"
        raise LayoutError(
            f"{root / part}.txt: {told}; expected WNID_NUMBER.JPEG, such as n01440764_10026.JPEG; bring the list again"
        )
    labels = [known[name.partition("_")[0]] for name in names]
    items = [f"{prefix}train/{classes[label]}/{name}" for name, label in zip(names, labels, strict=True)]
    require_present(root, items)
    return Split(items, labels)
