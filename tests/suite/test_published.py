"""Published numbers and the studies that they are of: every name resolves, and what is absent is told."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from suite import adhoc, grid, plan, published
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.grid import Grid, Mean
from suite.store import Store

# Weights that were measured and have no entry: see suite/reference/README.md.
NO_ENTRY = {
    *(f"openselfsup-{name}_resnet50" for name in ("relative-loc", "rotation", "npid", "odc", "moco-v1", "moco-v2")),
    *(f"openselfsup-{name}_resnet50" for name in ("simclr", "byol", "byol-300")),
    "mmselfsup-byol-accumulated_resnet50",
}
METRICS = re.compile(
    r"top[15]|top1_k\d+|top1_feat[1-5]|map|map_feat[1-5]|map_best_on_test|map_\d+shot|\d-way \d+-shot|miou"
    r"|(mask_)?ap(50|75)?|pixel_accuracy|mean_log_odds"
)
STUDIES = ("cog", "trex", "ssl_transfer", "openmixup", "cog-paper", "ssl_transfer-paper", "openmixup-recipes")
C_OF_BYOL = {"aircraft": 17783, "caltech101": 1, "cars": 316, "cifar10": 1.778, "cifar100": 1, "dtd": 1.778}
C_OF_BYOL |= {"flowers": 56234, "food101": 0.562, "pets": 1.778, "sun397": 316, "voc2007": 0.316}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return Catalog(Store(tmp_path_factory.mktemp("store")))


@pytest.mark.parametrize("path", sorted(published.REFERENCE.glob("*.csv")), ids=lambda path: path.stem)
def test_each_file_is_a_table_of_its_kind(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        rows = list(table)
    if path == published.BEST_C:
        assert table.fieldnames is not None
        assert (table.fieldnames[0], len(table.fieldnames), len(rows)) == ("model", 12, 17)
    else:
        assert tuple(table.fieldnames or ()) == published.COLUMNS
    assert rows
    assert all(text and None not in row for row in rows for name, text in row.items() if name != "dataset")


def test_every_row_names_what_there_is(catalog: Catalog) -> None:
    means = {mean.name for study in catalog.grids.values() for mean in study.means}
    seen = set()
    for row in published.rows():
        if row["dataset"]:
            assert row["task"] in catalog.tasks, row
            assert catalog.datasets[row["dataset"]].kind in catalog.tasks[row["task"]].kinds, row
        else:
            assert row["task"] in means, row
        assert row["model"] in NO_ENTRY or adhoc.model(row["model"], catalog).name == row["model"]
        assert METRICS.fullmatch(row["metric"]), row
        assert 0 < float(row["value"]) < 100
        seen.add(row["model"])
    assert seen >= NO_ENTRY  # nothing is listed here for nothing
    assert not NO_ENTRY & set(catalog.models)


def test_a_cell_has_one_number() -> None:
    rows = list(published.rows())
    assert len(published.numbers()) == len(rows) > 700


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("linear", "cifar10", "deepcluster-v2_resnet50", "top1"), 0.9407),
        (("linear-published", "cifar10", "supervised_resnet50", "top1"), 0.9147),
        (("finetune", "cifar10", "deepcluster-v2_resnet50", "top1"), 0.9706),
        (("fewshot-paper", "eurosat", "deepcluster-v2_resnet50", "5-way 5-shot"), 0.8839),
        (("fewshot-paper", "chestx", "supervised_resnet50", "5-way 50-shot"), 0.3234),
        (("detection-frozen", "voc0712", "byol_resnet50", "ap50"), 0.8201),
        (("segmentation-upernet-epochs", "ade20k", "swav_resnet50", "miou"), 0.2961),
        (("cog-linear", "imagenet1k", "trex-star_resnet50", "top1"), 0.802),
        (("trex-15", "", "trex_resnet50", "mean_log_odds"), 1.1704),
        (("svm", "voc2007", "supervised_resnet50", "map_best_on_test"), 0.8717),
        (("svm-lowshot-paper", "voc2007", "mmselfsup-swav_resnet50", "map_96shot"), 0.8515),
        (("linear-multihead", "imagenet1k", "supervised_resnet50", "top1_feat5"), 0.7617),
        (("linear-moco", "imagenet1k", "random_resnet50", "top1"), 0.0435),
        (("linear-simsiam", "imagenet1k", "mmselfsup-simclr-4096_resnet50", "top1"), 0.6666),
        (("linear-multihead-places", "places205", "mmselfsup-odc_resnet50", "top1_feat5"), 0.4835),
        (("semi-1percent", "imagenet1k-1percent", "supervised_resnet50", "top5"), 0.8887),
        (("semi-10percent", "imagenet1k-10percent", "random_resnet50", "top1"), 0.2178),
        (("knn-256", "imagenet1k", "mmselfsup-byol-300_resnet50", "top1_k20"), 0.663),
        (("detection", "voc0712", "supervised_resnet50", "ap75"), 0.598),
        (("detection-coco", "coco2017", "random_resnet50", "mask_ap"), 0.314),
        (("detection-coco-fpn", "coco2017", "mmselfsup-simsiam_resnet50", "ap"), 0.386),
        (("segmentation", "voc2012aug", "mmselfsup-densecl_resnet50", "miou"), 0.6947),
    ],
)
def test_numbers_stand_in_the_unit_of_results(place: published.Place, value: float) -> None:
    assert published.numbers()[place].value == pytest.approx(value, abs=1e-12)


def test_the_published_c_is_the_grid_point_that_was_rounded(catalog: Catalog) -> None:
    table = published.best_c()
    for name, row in table.items():
        for c in row.values():
            assert 4 * math.log10(c) == pytest.approx(round(4 * math.log10(c)), abs=1e-9)
            assert 1e-5 < c < 1e6 * 1.001
        assert name in catalog.models
    with published.BEST_C.open(newline="") as file:
        for printed in csv.DictReader(file):
            model = printed.pop("model")
            assert {data: float(text) for data, text in printed.items()} == pytest.approx(table[model], rel=7e-3)
    assert table["byol_resnet50"] == pytest.approx(C_OF_BYOL, rel=1e-3)
    assert table["supervised_resnet50"]["voc2007"] == pytest.approx(10**-2.25)
    studied = {name for name, one in catalog.models.items() if "ssl-transfer" in one.families}
    assert len(studied) == 14
    assert {name.replace("-ssl-transfer", "").replace("-paper", "") for name in table} == studied
    assert set(table["byol_resnet50"]) == set(catalog.tasks["linear-published"].datasets)


@pytest.mark.parametrize("name", STUDIES)
def test_what_a_study_names_is_there(catalog: Catalog, name: str) -> None:
    study = catalog.grids[name]
    families = {family for one in catalog.models.values() for family in one.families}
    for model in study.models:
        assert model in families or adhoc.model(model, catalog).name == model
    tasks = [catalog.tasks[task] for task in study.tasks]
    assert set(study.own) <= set(study.tasks)
    for task in tasks:
        sets = study.own.get(task.name, task.datasets)
        assert sets
        for data in sets:
            assert grid.takes(task, catalog.datasets[data]), (task.name, data)
    assert not study.datasets  # each task is for its own


def test_the_means_of_trex(catalog: Catalog) -> None:
    found = {mean.name: (mean, labels) for mean, labels in grid.means(catalog.grids.values(), catalog.tasks)}
    assert set(found) == {"trex-13", "trex-15"}
    (thirteen, labels), (fifteen, more) = found["trex-13"], found["trex-15"]
    assert (len(thirteen.datasets), len(fifteen.datasets)) == (13, 15)
    assert set(labels) == set(thirteen.datasets)
    assert set(more) - set(labels) == {"inat2018", "inat2019"}
    assert "imagenet1k" not in more
    assert {label.split("-v")[0] for label in more.values()} == {"cog-linear", "trex-linear"}
    assert more["inat2018"].startswith("cog-linear")
    assert more["pets"].startswith("trex-linear")


def with_study(known: Catalog, weights: tuple[str, ...] = ("trex_resnet50",), **more: object) -> Grid:
    """A study of t-ReX's family on the digits and a set that is not there; the files of some of its weights are."""
    own: Mapping[str, tuple[str, ...]] = {"knn": ("digits", "pets"), "svm": ("voc2007",)}
    fields = {"name": "small", "tasks": ("knn",), "models": ("trex", "pixels_8x8"), "own": own} | more
    known.grids["small"] = Grid(**fields)  # type: ignore[arg-type]
    known.store.weights.mkdir(parents=True, exist_ok=True)
    for name in weights:
        (known.store.weights / f"{name}.safetensors").touch()
    return known.grids["small"]


def test_a_study_is_run_with_what_is_there(known: Catalog) -> None:
    study = with_study(known, tasks=("knn", "finetune-short", "normals"))
    found = plan.plan(plan.merged(study, Grid()), known)
    assert {cell.key for cell in found.cells} == {
        f"{task}/digits/{model}/0"
        for task in ("knn-v1", "finetune-short-v1")
        for model in ("trex_resnet50", "pixels_8x8")
    }
    told = "\n".join(found.left_out)
    assert (
        "3 models are not in the store: launch.py fetch trex-star_resnet50 trex-2_resnet50 trex-star-2_resnet50" in told
    )
    assert "pets: no folder" in told
    assert "normals: none of the data sets that they are for is in the store" in told
    assert "nothing for" not in told


def test_a_study_without_anything_is_refused_with_all_that_it_wants(known: Catalog) -> None:
    study = with_study(known, (), models=("trex",))
    with pytest.raises(Refusal, match=r"4 models are not in the store: launch.py fetch trex_resnet50 trex-star_resnet"):
        plan.plan(plan.merged(study, Grid()), known)
    study = with_study(known, own={"knn": ("pets", "dtd")})
    with pytest.raises(Refusal, match=r"no dataset is in the store; .*: launch.py fetch pets dtd$"):
        plan.plan(plan.merged(study, Grid()), known)
    study = with_study(known, own={}, datasets=("pets", "dtd"))
    with pytest.raises(Refusal, match="pets: no folder"):
        plan.plan(plan.merged(study, Grid()), known)


def test_of_named_datasets_a_study_takes_those_that_are_there_and_a_user_all(known: Catalog) -> None:
    study = with_study(known, own={}, datasets=("digits", "dtd"))
    found = plan.plan(plan.merged(study, Grid()), known)
    assert {cell.dataset.name for cell in found.cells} == {"digits"}
    assert any(why.startswith("dtd: no folder") for why in found.left_out)
    with pytest.raises(Refusal, match="dtd: no folder"):
        plan.plan(plan.merged(study, Grid(datasets=("dtd", "digits"))), known)


def test_a_family_or_a_pattern_is_those_that_are_there_and_a_name_must_be(known: Catalog) -> None:
    with_study(known)
    for words in (("trex",), ("trex*",)):
        found = plan.plan(Grid(tasks=("knn",), models=words, datasets=("digits",)), known)
        assert [cell.model.name for cell in found.cells] == ["trex_resnet50"]
        assert any("3 models are not in the store" in why for why in found.left_out)
    for words in (("trex-2_resnet50",), ("trex", "trex-2_resnet50")):
        with pytest.raises(Refusal, match=r"trex-2_resnet50: no .*; bring it with: launch.py fetch trex-2_resnet50"):
            plan.plan(Grid(tasks=("knn",), models=words, datasets=("digits",)), known)
    study = known.grids["small"]
    with pytest.raises(Refusal, match="trex-2_resnet50: no "):
        plan.plan(plan.merged(study, Grid(models=("trex-2_resnet50",))), known)


def test_what_is_typed_takes_the_place_of_a_studys_own(known: Catalog) -> None:
    study = with_study(known, seeds=(3,), means=(Mean("m", ("digits",)),))
    found = plan.merged(study, Grid(datasets=("digits",), seeds=(1, 2)))
    assert (found.datasets, found.seeds, found.tasks, found.own) == (("digits",), (1, 2), study.tasks, study.own)
    assert plan.merged(None, Grid(tasks=("knn",))).name == ""


def test_without_a_published_c_a_pair_is_refused_before_the_queue(known: Catalog) -> None:
    asked = Grid(tasks=("linear-published", "knn"), models=("pixels_8x8",), datasets=("digits",))
    found = plan.plan(asked, known)
    assert [cell.task.name for cell in found.cells] == ["knn"]
    assert found.left_out[-1].startswith("linear-published: no C was published for pixels_8x8, but for insdis_resnet50")
    with pytest.raises(Refusal, match="no C was published for pixels_8x8"):
        plan.plan(Grid(tasks=asked.tasks[:1], models=asked.models, datasets=asked.datasets), known)
    task, digits = known.tasks["linear-published"], known.datasets["digits"]
    told = grid.unpublished(task, digits, known.models["byol_resnet50"])
    assert told.startswith("linear-published: no C was published for digits, but for aircraft, caltech101")
    assert grid.unpublished(task, known.datasets["cifar10"], known.models["byol_resnet50"]) == ""
