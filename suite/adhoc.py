"""Entries that a user names on the command line: PATH:ARCHITECTURE, timm:NAME, LAYOUT:PATH."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from suite import catalog, checkpoint, entry, index, layouts
from suite.catalog import Catalog
from suite.dataset import Dataset
from suite.entry import Refusal
from suite.model import Model, Weights

METRICS = {"classification": "top1", "multilabel": "map11"}


def model(text: str, known: Catalog) -> Model:
    """The model that `text` spells: a name, `timm:NAME[?pretrained]` or `PATH:ARCHITECTURE`. Refusal where none."""
    if text.startswith("timm:"):
        return _timm(text, known)
    colon = ":" in text
    if colon or "/" in text or Path(text).exists():
        if not colon:
            raise Refusal(f"{text}: which architecture? Write {text}:ARCHITECTURE, for instance {text}:resnet50")
        return _file(text, known)
    return known.model(text)


def dataset(text: str, known: Catalog) -> Dataset:
    """The dataset that `text` spells: a name, `LAYOUT:PATH`, `DATASET:PATH` or a folder whose layout is recognised."""
    prefix, colon, path = text.partition(":")
    if not colon and ("/" in text or Path(text).is_dir()):
        return _folder(_recognise(Path(text)), Path(text), known)
    if not colon:
        return known.dataset(text)
    if prefix in known.datasets:
        return _folder(known.datasets[prefix].layout, Path(path), known, metric=known.datasets[prefix].metric)
    if prefix not in layout_names():
        raise entry.near(prefix, {*layout_names(), *known.datasets}, "layout")
    return _folder(prefix, Path(path), known)


def layout_names() -> list[str]:
    """The layouts that there is a reader for."""
    return [m.name.replace("_", "-") for m in pkgutil.iter_modules(layouts.__path__)]


def layout(name: str) -> ModuleType:
    """The reader of a layout: a module with `recognise(root)` and `index(root)`."""
    return importlib.import_module(f"suite.layouts.{name.replace('-', '_')}")


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


def _recognise(root: Path) -> str:
    if not root.is_dir():
        raise Refusal(f"{root}: no such folder")
    fitting = [name for name in layout_names() if layout(name).recognise(root)]
    if len(fitting) != 1:
        told = f"it looks like {' and '.join(fitting)}" if fitting else "its layout is not recognised"
        raise Refusal(f"{root}: {told}; name the layout, one of {', '.join(layout_names())}: LAYOUT:{root}")
    return fitting[0]


def _folder(name: str, path: Path, known: Catalog, metric: str = "") -> Dataset:
    root = path.expanduser().absolute()
    if not root.is_dir():
        raise Refusal(f"{name}:{path}: no such folder")
    found = layout(name).index(root)
    published = [d.metric for d in known.datasets.values() if d.layout == name != "imagefolder"]
    digest = index.digest(found, root)
    return Dataset(
        name=f"{entry.plain(root.name)}-{digest[:8]}",
        kind=found.kind,
        layout=name,
        path=str(root),
        classes=len(found.classes),
        counts={split: len(rows.items) for split, rows in found.splits.items()},
        metric=metric or (published or [METRICS[found.kind]])[0],
        digest=digest,
    )
