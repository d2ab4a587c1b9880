"""Whether a data set has the images that a task takes: told before anything is sent, or by the job that reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from miniatures import photo

from jobs.lib import seeds
from jobs.lib.failure import BadData
from jobs.linear import published_holdout
from suite import adhoc, enough, plan
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.grid import Grid
from suite.index import LayoutError


@pytest.mark.parametrize(
    ("counts", "shots", "expected"),
    [
        ([100] * 10, 5, (5, 15, list(range(10)))),
        ([100, 20, 20, 20, 20, 19], 5, (5, 15, [0, 1, 2, 3, 4])),
        ([100, 100, 100, 100, 12, 11], 5, (5, 7, [0, 1, 2, 3, 4])),
        ([100, 100, 100, 100, 9], 5, None),
        ([30, 30, 30], 5, (3, 15, [0, 1, 2])),
        ([30, 30, 30], 20, (3, 10, [0, 1, 2])),
        ([30], 5, None),
        ([], 1, None),
    ],
)
def test_the_way_and_the_queries_of_episodes(
    counts: list[int], shots: int, expected: tuple[int, int, list[int]] | None
) -> None:
    assert enough.episodes(counts, shots=shots) == expected


@pytest.mark.parametrize(
    ("counts", "shots", "expected"),
    [
        ([100] * 10, 50, (5, 15, list(range(10)))),
        ([65] * 5 + [64], 50, (5, 15, [0, 1, 2, 3, 4])),
        ([65] * 4 + [64], 50, None),
        ([100] * 4, 5, None),
    ],
)
def test_nothing_shrinks_where_the_paper_is_followed(
    counts: list[int], shots: int, expected: tuple[int, int, list[int]] | None
) -> None:
    assert enough.episodes(counts, shots=shots, min_query=15, min_way=5) == expected


def folder(root: Path, train: int, test: int = 2, val: int = 0) -> str:
    """Two classes of so many images each."""
    for split, images in (("train", train), ("val", val), ("test", test)):
        for number in range(2 * images):
            path = root / f"{split}/{'ab'[number % 2]}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(number, (8, 8)))
    return str(root)


HELD_OUT = ("linear", "linear-paper", "trex-linear", "cog-linear", "cog-fewshot", "semi-short", "finetune")


@pytest.mark.parametrize("task", HELD_OUT)
def test_one_image_a_class_leaves_none_to_validate_on(task: str, known: Catalog, tmp_path: Path) -> None:
    def planned(text: str) -> plan.Plan:
        return plan.plan(Grid(tasks=(task,), models=("random_resnet18",), datasets=(text,)), known)

    with pytest.raises(Refusal, match=f"{task} holds out .*has 2 training images.*: give it a val split, or more"):
        planned(folder(tmp_path / "one", 1))
    assert planned(folder(tmp_path / "official", 1, val=1)).cells
    assert planned(folder(tmp_path / "more", 3)).cells


def test_a_task_that_lacks_images_keeps_no_other_from_going_on(known: Catalog, tmp_path: Path) -> None:
    text = folder(tmp_path / "one", 1)
    found = plan.plan(Grid(tasks=("linear", "knn"), models=("pixels_8x8",), datasets=(text,)), known)
    assert [cell.task.name for cell in found.cells] == ["knn"]
    assert len(found.left_out) == 1 and "linear holds out" in found.left_out[0]


def test_episodes_need_classes_with_images(known: Catalog, tmp_path: Path) -> None:
    data = adhoc.dataset(folder(tmp_path / "few", 6), known)
    assert data.images == (8, 8)
    assert enough.lack(known.tasks["fewshot"], data) == ""  # two classes, a shot and 7 queries
    told = enough.lack(known.tasks["fewshot-paper"], data)
    assert (
        told == f"fewshot-paper needs 5 classes with 20 images each, and the largest classes of {data.name} have 8, 8"
    )
    assert enough.lack(known.tasks["fewshot-paper"], replace(data, images=())) == ""  # the job will see
    assert enough.lack(known.tasks["fewshot-paper"], replace(data, images=(20,) * 5)) == ""


def test_nothing_held_out_is_told_by_the_job_too() -> None:
    with pytest.raises(BadData, match="of 3 training images none can be held out to validate on: no class has two"):
        seeds.holdout(np.arange(3), 0.2, 0)
    with pytest.raises(BadData, match=r"of 4 training images 0\.2 are to be held out: that is none"):
        published_holdout(4, 0.2)


LISTS = {  # list of the test images, of those trained on
    "food101": ("meta/test.txt", "meta/train.txt"),
    "dtd": ("labels/test1.txt", "labels/train1.txt"),
}


@pytest.mark.parametrize("layout", LISTS)
def test_an_image_in_two_splits_is_refused(layout: str, known: Catalog, tmp_path: Path) -> None:
    """It would be trained on, and tested on."""
    tested, trained = (tmp_path / name for name in LISTS[layout])
    for path in (tested, trained, tmp_path / "labels/val1.txt", tmp_path / "meta/classes.txt"):
        path.parent.mkdir(exist_ok=True)
    (tmp_path / "meta/classes.txt").write_text("a\nb\n")
    ending = "" if layout == "food101" else ".jpg"
    names = [f"{'ab'[number % 2]}/{number}" for number in range(8)]
    for name in names:
        path = tmp_path / f"images/{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(1, (8, 8), "JPEG"))
    splits = {trained: names[:4], tested: names[4:6], tmp_path / "labels/val1.txt": names[6:]}
    for path, own in splits.items():
        path.write_text("".join(f"{name}{ending}\n" for name in own))
    assert adhoc.dataset(f"{layout}:{tmp_path}", known).counts["train"] == 4
    for more in (names[0], names[4]):  # of the other split, and once more in its own
        tested.write_text("".join(f"{name}{ending}\n" for name in [*names[4:6], more]))
        with pytest.raises(LayoutError, match=f"1 images are in two splits or twice in one .*{more}"):
            adhoc.dataset(f"{layout}:{tmp_path}", known)
