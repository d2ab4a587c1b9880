"""ImageNet-CoG: five levels of 1,000 concepts of ImageNet-21K each, the farther from ImageNet-1K the higher.

    cog_levels_mapping_file.pkl     as published: five lists of WNIDs, a level each
    cog_concepts_split_file.pkl     as published: WNID -> "train" and "test" -> arrays of WNID/NAME.JPEG
    [FOLDER/]WNID/*.JPEG            a concept's tar, unpacked into a folder of its name; or WNID/WNID/*.JPEG

A level is a part of the layout, cog/l1 to cog/l5. Classes are its WNIDs, sorted; images are sorted in a concept. There
is no official val split. The pickles are read without numpy and without running anything.
"""

import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from suite.index import Index, LayoutError, Split, folders, require_present, some, unlike
from suite.unpickle import UNREADABLE, Inert, Unpickler

KIND = "classification"
SETS = ("l1", "l2", "l3", "l4", "l5")
LEVELS, LISTS = "cog_levels_mapping_file.pkl", "cog_concepts_split_file.pkl"
EXPECTED = f"{LEVELS}, {LISTS} and WNID/*.JPEG"
SPLITS = ("train", "test")
WNID = re.compile(r"n\d{8}")


def recognise(root: Path, part: str = "") -> bool:
    """Whether the folder looks like this layout; it has all parts or none."""
    return (root / LEVELS).is_file() and (root / LISTS).is_file()


def index(root: Path, part: str = "") -> Index:
    """Read one level of the folder; raises LayoutError."""
    if not recognise(root):
        raise unlike(root, EXPECTED)
    if part not in SETS:
        raise LayoutError(
            f"{root}: holds the levels {', '.join(SETS)}; expected one of them; name it, as cog/l1:{root}"
        )
    concepts = _level(root / LEVELS, SETS.index(part))
    listed = _listed(root / LISTS, concepts)
    places = _places(root, concepts)
    splits = {}
    for split in SPLITS:
        items = [f"{places[wnid]}/{name}" for wnid in concepts for name in listed[wnid][split]]
        labels = [label for label, wnid in enumerate(concepts) for _ in listed[wnid][split]]
        require_present(root, items)
        splits[split] = Split(items, labels)
    return Index(KIND, concepts, splits)


def _level(path: Path, number: int) -> list[str]:
    """The concepts of a level, sorted."""
    levels = _read(path)
    if not isinstance(levels, list | tuple) or len(levels) != len(SETS):
        raise _odd(path, "no list of five lists")
    concepts = sorted(_names(path, levels[number]))
    if not concepts or len(set(concepts)) < len(concepts) or not all(map(WNID.fullmatch, concepts)):
        raise _odd(path, f"no WNIDs, each once, but {some(concepts) or 'nothing'}")
    return concepts


def _listed(path: Path, concepts: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """WNID -> split -> its images' names, sorted."""
    whole = _read(path)
    found = {}
    for wnid in concepts:
        held = whole.get(wnid) if isinstance(whole, dict) else None
        if not isinstance(held, dict) or any(split not in held for split in SPLITS):
            raise _odd(path, f"no train and test of {wnid}")
        found[wnid] = {split: _files(path, held[split]) for split in SPLITS}
        if empty := [split for split in SPLITS if not found[wnid][split]]:
            raise _odd(path, f"no image in {' and '.join(empty)} of {wnid}")
    return found


def _files(path: Path, value: Any) -> list[str]:
    """The names of the images, without the folder of their concept, which they may begin with."""
    return sorted(re.split(r"[/\\]", name)[-1] for name in _names(path, value))


def _places(root: Path, concepts: list[str]) -> dict[str, str]:
    """WNID -> its images' folder; LayoutError where one has none."""
    outer = ["", *(f"{name}/" for name in folders(root) if not WNID.fullmatch(name))]
    ends = ("", ".tar")  # in the first folder that has any of them, unpacked or else packed
    held = (
        place for end in ends for place in outer if any((root / f"{place}{wnid}{end}").exists() for wnid in concepts)
    )
    inner = next(held, "")
    if gone := [wnid for wnid in concepts if not (root / inner / wnid).is_dir()]:
        packed = sum((root / inner / f"{wnid}.tar").is_file() for wnid in gone)
        told = f"; {packed} of them are there as a tar" if packed else ""
        raise LayoutError(
            f"{root}: {len(gone)} of {len(concepts)} concepts have no folder ({some(gone)}){told}; expected "
            "WNID/*.JPEG of ImageNet-21K, as its release of winter 2021 has them; unpack each WNID.tar into "
            "WNID/, as launch.py fetch cog-l1 --from FOLDER does"
        )
    twice = {wnid: f"{inner}{wnid}/{wnid}" for wnid in concepts}
    return {wnid: place if (root / place).is_dir() else f"{inner}{wnid}" for wnid, place in twice.items()}


# ---- the pickles


class _Type(Inert):
    """Stands for numpy's dtype: its code, such as U30, and in its state the byte order."""

    code: Any

    def __new__(cls, code: Any, *_: Any) -> Any:
        made = super().__new__(cls)
        made.code = code
        return made


class _Encoded(Inert):
    """Stands for codecs.encode: how Python 3 writes bytes where Python 2 shall read them."""

    def __new__(cls, text: str, *_: Any) -> Any:
        return text.encode("latin-1")


class _Unpickler(Unpickler):
    """Keeps what the names are read from."""

    def standin(self, full: str) -> type | None:
        found = {"numpy.dtype": _Type, "_codecs.encode": _Encoded}.get(full) or super().standin(full)
        if found is None:
            raise pickle.UnpicklingError(f"it would run '{full}'")
        return found


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _Unpickler(path, file).load()
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except UNREADABLE as error:
        raise _odd(path, f"cannot be read: {error}") from None


def _names(path: Path, value: Any) -> list[str]:
    """The strings of a list, or of numpy's array of strings or of objects."""
    found = value
    if isinstance(value, Inert):
        try:
            _, _, kind, _, raw = value.state
            found = raw if isinstance(raw, list) else _cut(raw, kind)
        except UNREADABLE:
            found = None
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) and name for name in found):
        raise _odd(path, "something else than a list of names")
    return list(found)


def _cut(raw: bytes | str, kind: _Type) -> list[str]:
    """The strings of an array's bytes: of four bytes a character (U), or of one (S), each padded with zeros."""
    code = kind.code.decode() if isinstance(kind.code, bytes) else kind.code
    letter, width = code.lstrip("<>|=")[0], int(code.lstrip("<>|=")[1:])
    plain = raw.encode("latin-1") if isinstance(raw, str) else raw  # Python 2's
    encoding = {"U": "utf-32-be" if kind.state[1] == ">" else "utf-32-le", "S": "latin-1"}[letter]
    text = plain.decode(encoding)
    return [text[start : start + width].rstrip("\0") for start in range(0, len(text), width)]


def _odd(path: Path, found: str) -> LayoutError:
    return LayoutError(f"{path}: {found}; expected the pickle of ImageNet-CoG as it was published; bring it again")
