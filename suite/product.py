"""Product: what one cell leaves in the store for others to work with, and who waits for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from suite import architecture
from suite.cell import Cell
from suite.dataset import Dataset
from suite.model import Model

if TYPE_CHECKING:
    from suite.catalog import Catalog

VITS = ("vit_", "deit", "test_vit")  # how the names of plain vision transformers begin
RESNETS = ("resnet", "resnext", "wide_resnet", "seresnet")


def needs(cells: Iterable[Cell]) -> dict[str, str]:
    """key -> key of that one of `cells` whose product it works with: features, or, where none of the cells extracts
    these, a model. Where none of them makes it, it is there, or a cell makes its own (a frozen task extracts the
    features that it does not find), and waits for nobody."""
    cells = list(cells)
    extracted = {_features(cell): cell.key for cell in cells if cell.task.makes == "features"}
    trained = {cell.model.name: cell.key for cell in cells if cell.task.makes == "weights"}
    found: dict[str, str] = {}
    for cell in cells:
        if cell.task.frozen and not cell.task.makes and _features(cell) in extracted:
            found[cell.key] = extracted[_features(cell)]
        elif cell.task.makes != "weights" and cell.model.name in trained:
            found[cell.key] = trained[cell.model.name]
    return found


def maker(model: Model, known: Catalog) -> Cell:
    """The cell that makes a model which has a recipe."""
    return Cell(known.task("pretrain"), known.dataset(model.trained_on), model, model.init)


def unfit(model: Model, dataset: Dataset) -> str:
    """Why a model's recipe does not take its architecture, or the data set; '' where it does."""
    recipe = model.recipe
    if recipe is None:
        return f"{model.name} has no recipe"
    name = model.architecture.removeprefix("timm:")
    vit = name.startswith(VITS)
    fits = {
        "any": True,
        "vit": vit,
        "cnn": not vit and bool(architecture.strides(model.architecture)),
        "resnet": name.startswith(RESNETS),
    }[recipe.takes]
    what = {"vit": "a plain vision transformer", "cnn": "a CNN that gives maps", "resnet": "a ResNet"}
    if not fits:
        return f"{model.name}: {recipe.name} takes {what[recipe.takes]}, such as {recipe.architecture}"
    images, batch = dataset.counts.get("train", 0), recipe.settings["batch"]
    if images < batch:
        short = "" if recipe.name.endswith("-short") else "; recipes that end with -short take less"
        return f"{model.name}: {dataset.name} has {images} images to train on, less than one batch of {batch}{short}"
    return ""


def _features(cell: Cell) -> tuple[str, str, object]:
    return cell.dataset.name, cell.model.name, cell.task.settings.get("precision")
