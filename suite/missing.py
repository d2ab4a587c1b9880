"""Missing: why a model or a data set cannot be used now, in words that say how to bring it."""

from __future__ import annotations

from pathlib import Path

from suite import adhoc, packed, product
from suite.catalog import Catalog
from suite.dataset import Dataset
from suite.model import Model


def weights(model: Model, known: Catalog) -> str:
    """Why a model cannot be run now: '' where its weights are there (or where it needs none)."""
    if model.weights is None or (known.store.weights / model.weights.file).is_file():
        return ""
    if model.recipe:
        key = product.maker(model, known).key
        return f"{model.name}: no {known.store.weights / model.weights.file}, though {key} made it; remove that result"
    if Path(model.weights.file).is_absolute():
        return f"{model.name}: its weights are gone from {model.weights.file}"
    return f"{model.name}: no {known.store.weights / model.weights.file}; bring it with: launch.py fetch {model.name}"


def data(dataset: Dataset, known: Catalog) -> str:
    """Why a dataset cannot be read now: '' where it is there."""
    root = known.store.data / dataset.path
    if packed.holds(root, dataset.layout):
        return ""
    if not root.is_dir():
        return (
            f"{dataset.name}: no folder {root}; put it there, name your own with --datasets {dataset.name}:PATH, "
            f"or: launch.py fetch {dataset.name}"
        )
    if not adhoc.layout(dataset.layout).recognise(root):
        return f"{dataset.name}: {root} does not have the layout {dataset.layout!r}"
    return ""
