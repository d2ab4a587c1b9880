"""Recipes and what they make: entries, names, and the cells that pre-train where others need it."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from suite import adhoc, entry, plan, product, result
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.grid import Grid
from suite.model import Model
from suite.recipe import COMMON
from suite.store import write_json

METHODS = {
    *("relative_loc", "rotation", "deepcluster", "npid", "odc", "moco", "moco_v3", "simclr", "byol", "swav"),
    *("densecl", "simsiam", "mae"),
}
NAMES = {
    *("relative-loc", "rotation", "deepcluster", "npid", "odc", "moco-v1", "moco-v2", "moco-v3", "simclr", "byol"),
    *("swav", "densecl", "simsiam", "mae"),
}


@pytest.fixture
def here(known: Catalog) -> Catalog:
    """A store with the digits, and room for weights."""
    known.store.weights.mkdir(exist_ok=True)
    return known


def planned(here: Catalog, models: str, tasks: str = "linear", datasets: str = "digits") -> list[str]:
    asked = Grid(tasks=tuple(tasks.split(",")), models=tuple(models.split(",")), datasets=plan.words(datasets))
    return [cell.key for cell in plan.plan(asked, here).cells]


def test_all_fourteen_methods_have_their_recipes(here: Catalog) -> None:
    names = set(here.recipes)
    assert names >= NAMES | {f"{name}-short" for name in NAMES} | {f"{name}@digits" for name in NAMES}
    assert {recipe.method for recipe in here.recipes.values()} == METHODS
    for name in NAMES:
        assert here.recipes[name].expected and here.recipes[name].source


def test_every_recipe_is_sound(here: Catalog) -> None:
    for name, recipe in here.recipes.items():
        assert "_" not in name and "~" not in name
        assert set(COMMON) | {"views"} <= set(recipe.settings), name
        assert importlib.util.find_spec(f"jobs.pretrain.{recipe.method}")
        assert recipe.settings["optimizer"] != "adamw" or "betas" in recipe.settings
        assert recipe.settings["schedule"] != "step" or recipe.settings["drops"]
        made = here.model(f"{name.partition('@')[0]}_{recipe.architecture.replace(':', '-')}@digits")
        large = replace(here.dataset("digits"), counts={"train": 10**6})
        assert product.unfit(made, large) == ""


def test_a_products_name_says_what_it_is(here: Catalog) -> None:
    made = here.model("simclr-short_timm-resnet10t@digits~3")
    assert (made.architecture, made.init, made.trained_on) == ("timm:resnet10t", 3, "digits")
    assert made.weights and made.weights.file == "simclr-short_timm-resnet10t@digits~3.safetensors"
    assert (made.input.size, made.input.resize) == (32, 32)
    assert here.model("simclr_resnet50@imagenet1k").input.size == 224
    assert here.model("deepcluster_resnet50@imagenet1k").input.channels == "sobel"


def test_what_a_recipe_means_on_one_data_set(here: Catalog) -> None:
    on_digits, elsewhere = here.model("simclr_resnet18@digits"), here.model("simclr_resnet18@tiny-imagenet")
    assert on_digits.recipe and elsewhere.recipe
    assert (on_digits.recipe.name, elsewhere.recipe.name) == ("simclr@digits", "simclr")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("simclr@digits", "RECIPE_ARCHITECTURE@DATASET"),
        ("simclr_resnet18@digits~x", "RECIPE_ARCHITECTURE@DATASET"),
        ("simcrl_resnet18@digits", "unknown recipe 'simcrl'; did you mean simclr"),
        ("simclr_resnet81@digits", "resnet18"),
        ("simclr_resnet18@digts", "unknown dataset 'digts'; did you mean digits"),
        ("mae-short_resnet18@digits", "mae-short takes a plain vision transformer, such as timm:"),
        ("densecl_timm-vit_tiny_patch16_224@digits", "densecl@digits takes a (ResNet|CNN)"),
        ("swav-4096_resnet18@digits", r"digits has \d+ images to train on, less than one batch of 4096; .*-short"),
    ],
)
def test_bad_names_are_refused_before_the_queue(name: str, message: str, here: Catalog) -> None:
    with pytest.raises(Refusal, match=message):
        planned(here, name)


def test_what_a_task_needs_is_pre_trained_first(here: Catalog) -> None:
    name = "simclr_resnet18@digits"
    keys = planned(here, f"{name},random_resnet18", "linear,knn")
    assert keys[0] == f"pretrain-v1/digits/{name}/0" and len(keys) == 5
    asked = Grid(tasks=("linear", "knn", "features"), models=(name, "random_resnet18"), datasets=("digits",))
    needs = product.needs(plan.plan(asked, here).cells)
    assert needs[f"features-v1/digits/{name}/0"] == keys[0]
    assert needs[f"linear-v1/digits/{name}/0"] == f"features-v1/digits/{name}/0"
    assert keys[0] not in needs and "features-v1/digits/random_resnet18/0" not in needs


def test_what_is_in_the_store_is_not_trained_again_unless_that_is_asked(here: Catalog) -> None:
    name = "simclr_resnet18@digits~1"
    (here.store.weights / f"{name}.safetensors").write_bytes(b"there")
    assert planned(here, name) == [f"linear-v1/digits/{name}/0"]
    assert planned(here, name, "pretrain") == [f"pretrain-v1/digits/{name}/1"]
    assert planned(here, name, "pretrain,linear") == [f"pretrain-v1/digits/{name}/1", f"linear-v1/digits/{name}/0"]
    assert name in here.products()


def test_weights_of_another_recipe_and_those_that_are_gone_are_refused(here: Catalog) -> None:
    name = "simclr_resnet18@digits"
    file = here.store.weights / f"{name}.safetensors"
    file.write_bytes(b"there")
    cell = product.maker(here.model(name), here)
    path = here.store.results / cell.key / "result.json"
    write_json(path, {"facts": result.facts(cell)})
    assert planned(here, name) == [f"linear-v1/digits/{name}/0"]
    write_json(path, {"facts": result.facts(cell) | {"model": "another"}})
    with pytest.raises(Refusal, match=f"changed since {cell.key} made it; .*--tasks pretrain --models {name} --stale"):
        planned(here, name)
    assert planned(here, name, "pretrain") == [cell.key]
    file.unlink()
    with pytest.raises(Refusal, match=f"though {cell.key} made it; remove that result"):
        planned(here, name)


def test_pretrain_takes_recipes_alone(here: Catalog) -> None:
    with pytest.raises(Refusal, match=r"pretrain takes models that a recipe makes, such as .*@imagenet1k; recipes: "):
        planned(here, "random_resnet18", "pretrain")


def test_the_weights_that_a_cell_makes_do_not_make_it_stale(here: Catalog) -> None:
    name = "simclr_resnet18@digits"
    cell = product.maker(here.model(name), here)
    before = result.facts(cell)
    (here.store.weights / f"{name}.safetensors").write_bytes(b"there")
    pinned: Model = here.model(name)
    assert pinned.weights and pinned.weights.sha256
    assert result.facts(product.maker(pinned, here)) == before
    linear = replace(cell, task=here.task("linear"))
    assert result.facts(replace(linear, model=pinned))["model"] != result.facts(linear)["model"]


def test_models_without_a_recipe_keep_their_digest() -> None:
    plain = Model("a_b", "resnet18", 512)
    assert "recipe" not in entry.as_json(plain) and "trained_on" not in entry.as_json(plain, facts_only=True)


def test_a_folder_of_photos_can_be_trained_on(here: Catalog, tmp_path: Path) -> None:
    photos = tmp_path / "photos" / "2026"
    photos.mkdir(parents=True)
    some = sorted((here.store.data / "digits" / "train" / "0").iterdir())[:1]
    for number in range(64):
        shutil.copy(some[0], photos / f"{number}.png")
    spelled = f"simclr-short_resnet18@{photos.parent}~2"
    found = adhoc.model(spelled, here)
    assert found.trained_on.startswith("photos-") and found.name.endswith("~2")
    (cell,) = plan.plan(Grid(tasks=("pretrain",), models=(spelled,)), here).cells
    here.record([cell])
    again = Catalog(here.store).cell(cell.key)
    assert again.dataset == cell.dataset and again.model.name == cell.model.name
