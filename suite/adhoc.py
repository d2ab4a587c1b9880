"""Entries that a user names on the command line: PATH:ARCHITECTURE, timm:NAME, LAYOUT[/PART]:PATH."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from suite import catalog, checkpoint, entry, index, layouts, packed
from suite.catalog import Catalog
from suite.dataset import Dataset
from suite.entry import Refusal
from suite.index import Index
from suite.model import Model, Weights

METRICS = {
    "images": "",
    "classification": "top1",
    "multilabel": "map11",
    "detection": "voc",
    "segmentation": "miou",
    "normals": "within_11.25",
}


@dataclass(frozen=True)
class Reader:
    """What reads one layout, or one part of it."""

    KIND: str
    recognise: Callable[[Path], bool]
    index: Callable[[Path], Index]


class Place(NamedTuple):
    """Where a data set is: its layout, its folder, and its entry where it was published or is on record."""

    layout: str
    root: Path
    published: Dataset | None


def model(text: str, known: Catalog) -> Model:
    """The model that `text` spells: a name, `timm:NAME[?pretrained]`, `PATH:ARCHITECTURE` or
    `RECIPE_ARCHITECTURE@DATASET`. Refusal where none."""
    if text.startswith("timm:"):
        return _timm(text, known)
    made_of, at, data = text.partition("@")
    if at and made_of.partition("_")[0] in known.recipes:
        return known.model(f"{made_of}@{_trained_on(data, known)}")
    colon = ":" in text
    if colon or "/" in text or Path(text).exists():
        if not colon:
            raise Refusal(f"{text}: which architecture? Write {text}:ARCHITECTURE, for instance {text}:resnet50")
        return _file(text, known)
    return known.model(text)


def dataset(text: str, known: Catalog, kinds: Collection[str] = ()) -> Dataset:
    """The one dataset that `text` spells, as `datasets` has it; Refusal where it spells several."""
    found = datasets(text, known, kinds)
    if len(found) > 1:
        raise Refusal(f"{text}: it is {' and '.join(f'{one.kind} ({one.layout})' for one in found)}; name the layout")
    return found[0]


def datasets(text: str, known: Catalog, kinds: Collection[str] = ()) -> list[Dataset]:
    """What `text` spells: a name, `LAYOUT:PATH`, `DATASET:PATH` or a folder whose layout is recognised.

    `kinds` are those that are wanted: a folder that has several of them is a dataset of each. Where it has none of
    them it is the dataset that it is, so that who wanted them can say why it does not do.
    """
    prefix, colon, path = text.partition(":")
    if not colon and ("/" in text or Path(text).is_dir() or packed.folder(Path(text)).is_dir()):
        return [_folder(name, Path(text), known) for name in _recognise(Path(text), kinds)]
    if not colon:
        return [known.dataset(text)]
    if prefix not in known.datasets and prefix not in layout_names():
        raise entry.near(prefix, {*layout_names(), *known.datasets}, "layout")
    published = known.datasets.get(prefix)
    own = published.layout if published else prefix
    return [
        _folder(name, Path(path), known, metric=published.metric if published and name == own else "")
        for name in _meant(own, Path(path), kinds)
    ]


def place(text: str, known: Catalog) -> Place:
    """Where the one data set is that `text` spells, as `datasets` has it; nothing of it is read."""
    prefix, colon, path = text.partition(":")
    root = Path(path if colon else text).expanduser().absolute()
    if not colon and ("/" in text or _is_there(root)) and text not in known.datasets:
        found = _recognise(root, ())
        if len(found) > 1:
            raise Refusal(f"{text}: it looks like {' and '.join(found)}; name the layout: LAYOUT:{text}")
        return Place(found[0], root, None)
    if not colon:
        one = known.dataset(text)
        return Place(one.layout, known.store.data / one.path, one)
    if prefix not in known.datasets and prefix not in layout_names():
        raise entry.near(prefix, {*layout_names(), *known.datasets}, "layout")
    if not _is_there(root):
        raise Refusal(f"{text}: no such folder")
    published = known.datasets.get(prefix)
    return Place(published.layout if published else prefix, root, published)


def layout_names() -> list[str]:
    """The layouts that there is a reader for, each followed by its parts: cog, cog/l1, cog/l2 ..."""
    names = [m.name.replace("_", "-") for m in pkgutil.iter_modules(layouts.__path__)]
    parts = {name: getattr(_module(name), "SETS", ()) for name in names}
    return [spelled for name in names for spelled in (name, *(f"{name}/{part}" for part in parts[name]))]


def layout(name: str) -> Reader:
    """The reader of a layout: its module's KIND, `recognise(root)` and `index(root)`. NAME/PART is one of several data
    sets that a folder holds (the module's SETS): the same functions, with `part`."""
    spelled, _, part = name.partition("/")
    module, which = _module(spelled), {"part": part} if part else {}
    return Reader(module.KIND, partial(module.recognise, **which), partial(module.index, **which))


def read(name: str, root: Path) -> Index:
    """The index of a folder of a layout, or of what the folder was packed into where it is not there; LayoutError."""
    if packed.holds(root, name):
        return packed.index(root, name)
    return index.require_apart(root, layout(name).index(root))


def fits(name: str, root: Path) -> bool:
    """Whether a folder looks like a layout, or was packed as one and is not there."""
    return packed.holds(root, name) or layout(name).recognise(root)


def settle(name: str, root: Path) -> None:
    """Puts what was unpacked where the layout reads it, if that is elsewhere than its archives have it; LayoutError."""
    module = _module(name.partition("/")[0])
    if hasattr(module, "settle"):
        module.settle(root)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"suite.layouts.{name.replace('-', '_')}")


def _trained_on(text: str, known: Catalog) -> str:
    """The name of the data set that stands behind a model's @, and the seed: a name, or spelled like any that a user
    names."""
    if ":" not in text and "/" not in text:
        return text
    path, mark, seed = text.rpartition("~")
    path, behind = (path, mark + seed) if mark and seed.isdecimal() else (text, "")
    found = dataset(path, known, ("images", "classification"))
    known.named[found.name] = found
    return found.name + behind


def _timm(text: str, known: Catalog) -> Model:
    name, _, asked = text.partition("?")
    if asked not in ("", "pretrained"):
        raise Refusal(f"{text}: only '?pretrained' may follow a timm name")
    if not asked:
        return catalog.random_init(name)
    found = catalog.of_architecture("pretrained", name)
    recorded = known.store.weights / f"{found.name}.json"
    if not recorded.exists():
        raise Refusal(f"{text}: its weights are not in the store; bring them with: launch.py fetch '{text}'")
    return known.model(found.name)


def _file(text: str, known: Catalog) -> Model:
    path, _, name = text.rpartition(":timm:")
    path, name = (path, f"timm:{name}") if path else text.rsplit(":", 1)
    file = Path(path).expanduser().absolute()
    checkpoint.inspect(file)
    catalog.of_architecture("", name)  # refused before the file is read through
    sha256 = checkpoint.sha256(file, known.store.weights / ".sha256.json" if known.store.weights.is_dir() else None)
    title = f"{entry.plain(file.name.split('.')[0])}-{sha256[:8]}"
    return catalog.of_architecture(title, name, weights=Weights(file=str(file), sha256=sha256), pretraining=path)


def _recognise(root: Path, kinds: Collection[str]) -> list[str]:
    """The layouts of a folder, one for each wanted kind that it has."""
    if not _is_there(root):
        raise Refusal(f"{root}: no such folder")
    whole = [name for name in layout_names() if name != "images" and "/" not in name]
    fitting = [name for name in whole if fits(name, root)]
    if not fitting and "images" in kinds and layout("images").recognise(root):
        return ["images"]  # which any folder is that has some
    # Where none is wanted, `voc-segmentation` is passed over for `voc-detection`, and that for `voc`.
    bases: dict[str, str] = {}
    for name in fitting:
        bases.setdefault(name.partition("-")[0], name)
    wanted = [name for name in fitting if layout(name).KIND in kinds]
    found = wanted or list(bases.values())
    if not found or len(found) > (len({layout(name).KIND for name in wanted}) or 1):
        told = f"it looks like {' and '.join(found)}" if found else "its layout is not recognised"
        raise Refusal(f"{root}: {told}; name the layout, one of {', '.join(layout_names())}: LAYOUT:{root}")
    return found


def _meant(name: str, root: Path, kinds: Collection[str]) -> list[str]:
    """The layouts that `NAME:ROOT` means: NAME, or those of NAME and NAME-* that are of a wanted kind and fit."""
    family = [name, *(other for other in layout_names() if other.startswith(f"{name}-"))]
    wanted = [one for one in family if layout(one).KIND in kinds]
    return [one for one in wanted if fits(one, root)] or wanted[:1] or [name]


def _folder(name: str, path: Path, known: Catalog, metric: str = "") -> Dataset:
    root = path.expanduser().absolute()
    if not _is_there(root):
        raise Refusal(f"{name}:{path}: no such folder")
    found = read(name, root)
    digest, usual = index.digest(found, root), _metric(name, found, root, known)
    # Measured in another way, it is another data set, of another name.
    files = digest if metric in ("", usual) else entry.digest([digest, metric])
    return Dataset(
        name="-".join(filter(None, (entry.plain(root.name), name.partition("/")[2], files[:8]))),
        kind=found.kind,
        layout=name,
        path=str(root),
        classes=len(found.classes),
        counts={split: len(rows.items) for split, rows in found.splits.items()},
        metric=metric or usual,
        digest=digest,
        masks=index.masked(found),
        images=index.of_classes(found),
    )


def _is_there(root: Path) -> bool:
    return root.is_dir() or (not root.exists() and packed.folder(root).is_dir())


def _metric(name: str, found: Index, root: Path, known: Catalog) -> str:
    """The metric that such a folder is measured with: its layout's, its published set's, or its kind's."""
    if name == "voc-detection":
        # 2007 alone was scored at 11 points of recall; the later years by the area under the curve.
        tested = root / found.splits["test"].items[0]
        return "voc07" if tested.parent.parent.name == "VOC2007" else METRICS[found.kind]
    published = [d.metric for d in known.datasets.values() if d.layout == name != "imagefolder"]
    return (published or [METRICS[found.kind]])[0]
