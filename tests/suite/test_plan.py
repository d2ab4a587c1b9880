"""What is paired with what, before anything is submitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite import grid, plan
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.grid import Grid
from suite.store import Store

PIXELS = "its architecture (pixels) gives no feature maps; those of torchvision's CNNs and most of timm's do"


@pytest.fixture
def with_maps(known: Catalog) -> Catalog:
    """The catalog with one more task, which works on feature maps."""
    known.tasks["dense"] = replace(known.tasks["knn"], name="dense", maps="any")
    return known


def planned(known: Catalog, *, tasks: str, models: str, every_model: bool = False) -> plan.Plan:
    asked = Grid(tasks=plan.words(tasks), models=plan.words(models), datasets=("digits",))
    return plan.plan(asked, known, every_model=every_model)


def test_a_task_on_maps_takes_the_models_that_give_them(with_maps: Catalog) -> None:
    found = planned(with_maps, tasks="dense,knn", models="pixels_8x8,random_resnet18")
    assert {(cell.task.name, cell.model.name) for cell in found.cells} == {
        ("knn", "pixels_8x8"),
        ("knn", "random_resnet18"),
        ("dense", "random_resnet18"),
    }
    assert found.left_out == [f"dense on pixels_8x8: {PIXELS}"]


def test_a_named_model_that_no_task_takes_is_refused(with_maps: Catalog) -> None:
    with pytest.raises(Refusal) as told:
        planned(with_maps, tasks="dense", models="random_resnet18,pixels_8x8")
    assert str(told.value) == f"dense on pixels_8x8: {PIXELS}"
    assert planned(with_maps, tasks="dense", models="timm:vit_small_patch14_dinov2").cells
    with_maps.tasks["dense"] = replace(with_maps.tasks["dense"], maps="pyramid")
    with pytest.raises(Refusal, match="gives maps of stride 14, and a pyramid takes powers of 2"):
        planned(with_maps, tasks="dense", models="timm:vit_small_patch14_dinov2")
    with_maps.tasks["dense"] = replace(with_maps.tasks["dense"], maps="layers")
    assert planned(with_maps, tasks="dense", models="random_resnet18").cells
    for name, strides in (("vit_b_16", "16"), ("convnext_tiny", "4, 8, 16, 32")):
        with pytest.raises(Refusal, match=f"maps of stride {strides}, and the five layers of a ResNet have 2, 4, 8"):
            planned(with_maps, tasks="dense", models=f"random_{name}")
    with pytest.raises(Refusal, match=r"its architecture \(timm:mixer_s16_224\) gives no feature maps"):
        planned(with_maps, tasks="dense", models="timm:mixer_s16_224")


def test_of_all_models_those_without_maps_are_left_out(with_maps: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    here = [with_maps.model("pixels_8x8"), with_maps.model("random_resnet18")]
    monkeypatch.setattr(plan, "_all_here", lambda known, left_out: list(here))
    found = planned(with_maps, tasks="dense", models="", every_model=True)
    assert [cell.model.name for cell in found.cells] == ["random_resnet18"]
    assert found.left_out == [f"dense on pixels_8x8: {PIXELS}"]
    del here[1]
    with pytest.raises(Refusal, match="gives no feature maps"):
        planned(with_maps, tasks="dense", models="", every_model=True)


def test_no_task_of_before_is_about_maps(tmp_path: Path) -> None:
    tasks = Catalog(Store(tmp_path)).tasks
    assert not any(tasks[name].maps for name in ("linear", "knn", "fewshot", "finetune", "features"))


def test_a_folder_that_cannot_be_read_keeps_no_other_from_going_on(known: Catalog, tmp_path: Path) -> None:
    (tmp_path / "bad/train/a").mkdir(parents=True)
    (tmp_path / "bad/test/a").mkdir(parents=True)
    asked = Grid(tasks=("knn",), models=("pixels_8x8",), datasets=("digits", f"imagefolder:{tmp_path}/bad"))
    found = plan.plan(asked, known)
    assert [cell.dataset.name for cell in found.cells] == ["digits"]
    assert len(found.bad) == 1
    assert "no image in train/a/" in found.bad[0]
    with pytest.raises(Refusal, match="no image in train/a/"):
        plan.plan(replace(asked, datasets=asked.datasets[1:]), known)


def test_masks_are_measured_where_there_are_masks(known: Catalog) -> None:
    coco = replace(known.dataset("coco2017"), name="coco", path="digits")
    boxes = replace(coco, name="boxes", masks=False)
    tasks = [known.task("detection"), known.task("detection-coco")]
    found = grid.cells(tasks, [coco, boxes], [known.model("random-32px_resnet18")], ())
    assert {(cell.task.name, cell.dataset.name) for cell in found} == {
        ("detection", "coco"),
        ("detection", "boxes"),
        ("detection-coco", "coco"),
    }
    with pytest.raises(Refusal, match="detection-coco takes detection datasets with masks, but boxes has boxes only"):
        plan._refuse_odd_ones(tasks[1:], [boxes])


def test_without_named_datasets_each_task_is_for_its_own(known: Catalog) -> None:
    known.tasks["other"] = replace(known.tasks["knn"], name="other", datasets=("cifar10",))
    asked = Grid(tasks=("knn", "other"), models=("pixels_8x8",))
    with pytest.raises(Refusal, match="other: none of its own datasets is there; cifar10: no folder"):
        plan.plan(asked, known)
