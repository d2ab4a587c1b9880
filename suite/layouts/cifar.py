"""CIFAR-10 and CIFAR-100 (its 100 fine labels), the "python version": pickles of Python 2 that hold many images each.

    cifar-10-batches-py/batches.meta                            class names
    cifar-10-batches-py/data_batch_1 ... data_batch_5           train
    cifar-10-batches-py/test_batch                              test
    cifar-100-python/meta, train, test                          the same, one file a split

The root is that folder or the one that holds it. No official val split. An item is "data_batch_1#17": file, row.
The pickles are read without numpy and without running anything: only an array's shape and bytes are taken from them.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path

from suite.index import Index, LayoutError, Split, require_all_labelled, unlike

KIND = "classification"
EXPECTED = "cifar-10-batches-py/ or cifar-100-python/"
ROW = 3072  # bytes of an image: 1024 red, 1024 green, 1024 blue, each 32 rows of 32


@dataclass(frozen=True)
class Version:
    """What differs between CIFAR-10 and CIFAR-100."""

    folder: str
    meta: str
    names: str
    labels: str
    files: dict[str, list[str]]


VERSIONS = (
    Version(
        "cifar-10-batches-py",
        "batches.meta",
        "label_names",
        "labels",
        {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]},
    ),
    Version("cifar-100-python", "meta", "fine_label_names", "fine_labels", {"train": ["train"], "test": ["test"]}),
)


def recognise(root: Path) -> bool:
    """Whether the folder looks like this layout."""
    return bool(_found(root))


def index(root: Path) -> Index:
    """Read the folder; raises LayoutError."""
    found = _found(root)
    if not found:
        raise unlike(root, EXPECTED)
    if len(found) > 1:
        raise LayoutError(
            f"{root}: holds both CIFAR-10 and CIFAR-100; expected one; name {root / found[0][1]} or the other"
        )
    version, prefix = found[0]
    meta = _read(root / prefix / version.meta)
    classes = [_text(name) for name in _list(meta.get(version.names), root / prefix / version.meta, version.names)]
    splits = {split: _split(root, prefix, version, files, classes) for split, files in version.files.items()}
    return Index(KIND, classes, splits)


def images(path: Path) -> bytes:
    """The pixels of one batch file: rows x 3072 bytes in the file's order, a row being 1024 R, 1024 G, 1024 B."""
    return _array(_read(path), path).rows()


def _found(root: Path) -> list[tuple[Version, str]]:
    """Versions that lie at the root, with the prefix of their files' paths: "" or "cifar-10-batches-py/"."""
    here = [(version, "") for version in VERSIONS if _lies(root, version)]
    return here or [(version, f"{version.folder}/") for version in VERSIONS if _lies(root / version.folder, version)]


def _lies(folder: Path, version: Version) -> bool:
    return (folder / version.meta).is_file() and (folder / version.files["test"][0]).is_file()


def _split(root: Path, prefix: str, version: Version, files: list[str], classes: list[str]) -> Split:
    items: list[str] = []
    labels: list[int] = []
    for file in files:
        path = root / prefix / file
        batch = _read(path)
        found = [label for label in _list(batch.get(version.labels), path, version.labels) if isinstance(label, int)]
        rows = _array(batch, path).shape[0]
        if len(found) != rows or any(not 0 <= label < len(classes) for label in found):
            raise LayoutError(
                f"{path}: {rows} images and {len(found)} labels from {min(found, default=None)} to "
                f"{max(found, default=None)}; expected one label of 0..{len(classes) - 1} an image; unpack it again"
            )
        items += [f"{prefix}{file}#{row}" for row in range(rows)]
        labels += found
    require_all_labelled(root, classes, labels, " and ".join(files))
    return Split(items, labels)


class _Array:
    """Stands for numpy's array: its shape and bytes, without numpy."""

    shape: tuple[int, ...] = ()
    raw: bytes = b""
    fortran = False

    def __init__(self, *_: object) -> None:
        """Made empty by the pickle, filled by __setstate__."""

    def __setstate__(self, state: tuple[int, tuple[int, ...], "_Type", bool, bytes]) -> None:
        _, self.shape, kind, self.fortran, self.raw = state
        if kind.code not in ("u1", b"u1") or len(self.shape) != 2 or len(self.raw) != self.shape[0] * self.shape[1]:
            raise pickle.UnpicklingError(f"an array of shape {self.shape} that is not rows of bytes")

    def rows(self) -> bytes:
        if not self.fortran:
            return self.raw
        count, width = self.shape
        rows = bytearray(len(self.raw))
        for column in range(width):
            rows[column::width] = self.raw[column * count : (column + 1) * count]
        return bytes(rows)


class _Type:
    """Stands for numpy's dtype."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = code

    def __setstate__(self, _: object) -> None:
        """Byte order and the like, which single bytes do not have."""


def _encode(text: str, _: str) -> bytes:
    """Stands for codecs.encode: how Python 3 writes bytes where Python 2 shall read them."""
    return text.encode("latin-1")


STANDINS = {
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy._core.multiarray._reconstruct": _Array,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Type,
    "_codecs.encode": _encode,
}


class _Unpickler(pickle.Unpickler):
    """Knows the names that these files hold, and refuses every other."""

    def find_class(self, module: str, name: str) -> object:
        full = f"{module}.{name}"
        if full not in STANDINS:
            raise pickle.UnpicklingError(f"it would run '{full}'")
        return STANDINS[full]


def _read(path: Path) -> dict[str, object]:
    """A pickled dict, its keys as text; what Python 2 wrote as str stays bytes."""
    if not path.is_file():
        raise unlike(path.parent, f"{path.name} beside the other files")
    try:
        with path.open("rb") as file:
            held = _Unpickler(file, encoding="bytes").load()
        return {_text(key): value for key, value in held.items()}
    # What a cut or foreign pickle raises; the reader builds nothing but plain data.
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise LayoutError(
            f"{path}: not a CIFAR file ({error}); expected a batch's pickle; unpack the archive again"
        ) from None


def _text(name: object) -> str:
    return name.decode("utf-8") if isinstance(name, bytes) else str(name)


def _list(value: object, path: Path, key: str) -> list[object]:
    if not isinstance(value, list):
        raise LayoutError(
            f"{path}: no list '{key}' in it; expected the python version of CIFAR; unpack the archive again"
        )
    return value


def _array(batch: dict[str, object], path: Path) -> _Array:
    data = batch.get("data")
    if not isinstance(data, _Array) or len(data.shape) != 2 or data.shape[1] != ROW:
        raise LayoutError(
            f"{path}: no 'data' of {ROW} bytes a row; expected the python version of CIFAR; unpack it again"
        )
    return data
