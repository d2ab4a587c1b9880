"""FGVC-Aircraft, the 100 variants: three lists of images, and one folder of images.

    data/variants.txt                       the classes, one a line, such as F-16A/B
    data/images_variant_train.txt           NUMBER VARIANT, such as 1025794 707-320
    data/images_variant_val.txt             the same; an official val split
    data/images_variant_test.txt            the same
    data/images/NUMBER.jpg

The root is the folder that holds data/, or data/ itself, or the folder that holds fgvc-aircraft-2013b/. The lists of
families and manufacturers are not read.
"""

from pathlib import Path

from suite import inner
from suite.index import Index, LayoutError, Split, lines, require_all_labelled, require_present

KIND = "classification"
EXPECTED = "data/images_variant_train.txt, its like for val and test, data/variants.txt and data/images/"
FOLDERS = ("data", "fgvc-aircraft-2013b/data")
SPLITS = ("train", "val", "test")


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return _prefix(root) is not None


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    prefix = inner.required(root, _prefix(root), EXPECTED)
    classes = lines(root / prefix / "variants.txt")
    splits = {name: _split(root, prefix, f"images_variant_{name}.txt", classes) for name in SPLITS}
    for name in ("train", "test"):
        require_all_labelled(root, classes, splits[name].labels, f"images_variant_{name}.txt")
    require_present(root, [item for split in splits.values() for item in split.items])
    return Index(KIND, classes, splits)


def _prefix(root: Path) -> str | None:
    return inner.prefix(root, FOLDERS, lambda folder: (folder / "images_variant_train.txt").is_file())


def _split(root: Path, prefix: str, file: str, classes: list[str]) -> Split:
    known = {variant: label for label, variant in enumerate(classes)}
    rows = [line.partition(" ")[::2] for line in lines(root / prefix / file)]
    bad = [f"{number} {variant}" for number, variant in rows if variant.strip() not in known]
    if bad or not rows:
        raise LayoutError(
            f"{root / prefix / file}: {f'line {bad[0]!r}' if bad else 'no line'}; expected NUMBER VARIANT, "
            f"a variant of variants.txt ({len(classes)} there); unpack the archive again"
        )
    return Split(
        [f"{prefix}images/{number}.jpg" for number, _ in rows], [known[variant.strip()] for _, variant in rows]
    )
