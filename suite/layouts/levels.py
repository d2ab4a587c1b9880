"""Levels of concepts as `launch.py levels` made them, in a folder with a folder of images for each concept.

    levels.json             the concepts of each level, and how many of their images are tested
    CONCEPT/*.JPEG

A level is a part of the layout, levels/l1 (the nearest to what was seen) to levels/l9. Classes are its concepts, in
order. Of each, random.Random("SEED/CONCEPT") draws a number for each of its sorted images: in the order of these the
first `tested` are the test, those up to `most` are for training, and more are not used.
"""

import random
from pathlib import Path
from typing import Any

from suite.index import Index, LayoutError, Split, images, some, unlike
from suite.levels import FILE
from suite.store import read_json

KIND = "classification"
SETS = tuple(f"l{number}" for number in range(1, 10))
EXPECTED = f"{FILE}, as launch.py levels writes it, and CONCEPT/*.JPEG"


def recognise(root: Path, part: str = "") -> bool:
    """Whether the folder looks like this layout, and has the level of that part."""
    return (root / FILE).is_file() and (not part or SETS.index(part) < len(_read(root)["levels"]))


def index(root: Path, part: str = "") -> Index:
    """Read one level of the folder; raises LayoutError."""
    if not (root / FILE).is_file():
        raise unlike(root, EXPECTED)
    made = _read(root)
    there = SETS[: len(made["levels"])]
    if part not in there:
        raise LayoutError(f"{root}: holds the levels {', '.join(there)}; name one of them, as levels/l1:{root}")
    concepts = sorted(one["name"] for one in made["levels"][SETS.index(part)])
    if gone := [name for name in concepts if not (root / name).is_dir()]:
        raise LayoutError(f"{root}: {len(gone)} of {len(concepts)} concepts have no folder ({some(gone)})")
    drawn = [_drawn(images(root / name), made, name) for name in concepts]
    if empty := [name for name, parts in zip(concepts, drawn, strict=True) if not all(parts.values())]:
        raise LayoutError(f"{root}: {len(empty)} concepts have no image for training, or for the test ({some(empty)})")
    splits = {}
    for split in ("train", "test"):
        rows = [(f"{concepts[label]}/{item}", label) for label, parts in enumerate(drawn) for item in parts[split]]
        splits[split] = Split([item for item, _ in rows], [label for _, label in rows])
    return Index(KIND, concepts, splits)


def _drawn(names: list[str], made: dict[str, Any], concept: str) -> dict[str, list[str]]:
    draw = random.Random(f"{made['seed']}/{concept}")
    order = sorted(names, key=lambda _: draw.random())  # which draws the same in all of Python's versions
    return {"train": sorted(order[made["tested"] : made["most"]]), "test": sorted(order[: made["tested"]])}


def _read(root: Path) -> dict[str, Any]:
    found = read_json(root / FILE)
    fields = {"seed", "tested", "most", "levels"}
    if not isinstance(found, dict) or not fields <= found.keys() or not found["levels"]:
        raise LayoutError(f"{root / FILE}: is not as launch.py levels writes it; make it again")
    return found
