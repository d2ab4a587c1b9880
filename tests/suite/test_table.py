"""Tables: ranks, log odds, pooling over seeds; what they hold is compared with hand-worked values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from suite import report, table
from suite.grid import Mean


def row(
    model: str,
    dataset: str,
    value: float,
    seed: int = 0,
    metric: str = "top1",
    headline: bool = True,
    task: str = "linear",
) -> dict[str, Any]:
    cell = {"task": task, "version": 1, "dataset": dataset, "model": model, "seed": seed, "metric": metric}
    how = {"seconds": 2.0, "commit": "c", "image": "", "device": "cpu"}
    return {**cell, "headline": headline, "value": value, "low": value - 0.1, "high": value + 0.1, "n": 200, **how}


ROWS = [
    row("a", "pets", 0.9), row("b", "pets", 0.8), row("c", "pets", 0.8),
    row("a", "dtd", 0.5), row("b", "dtd", 0.75),
    row("a", "pets", 0.1, metric="ece", headline=False),
]  # fmt: skip
EFFICIENCY = (
    "key,cluster,job,device,asked_minutes,used_minutes,asked_memory_gb,used_memory_gb,gpu_memory_gb,"
    "asked_cpus,cores,gpus,nodes,waiting_share,retries\n"
)


@pytest.mark.parametrize(("p", "odds"), [(0.5, 0), (0.6, 0.4055), (0.75, 1.0986), (0.9, 2.1972)])
def test_log_odds_anchors(p: float, odds: float) -> None:
    assert table.log_odds(p, 1000) == pytest.approx(odds, abs=1e-4)


def test_log_odds_of_a_mean_and_its_equivalent_accuracy() -> None:
    for odds, percent in ((1.1704, 76.3), (0.8829, 70.7)):  # as printed, to a tenth
        low, high = (table.log_odds((percent + off) / 100, 10**6) for off in (-0.05, 0.05))
        assert low < odds < high


def test_log_odds_stay_finite() -> None:
    assert table.log_odds(1.0, 200) == pytest.approx(math.log(199.5 / 0.5))
    assert table.log_odds(0.0, 200) == pytest.approx(-table.log_odds(1.0, 200))


def test_summary() -> None:
    found = table.summary(table.pooled(table.long(ROWS))).set_index("model")
    assert found["mean"].to_dict() == pytest.approx({"a": 0.7, "b": 0.775, "c": 0.8})
    assert found["mean_rank"].to_dict() == {"a": 1.5, "b": 1.75, "c": 2.5}  # ties share a rank
    assert found["datasets"].to_dict() == {"a": 2, "b": 2, "c": 1}
    assert set(found["of"]) == {2}
    assert found.loc["b", "mean_log_odds"] == pytest.approx((math.log(4) + math.log(3)) / 2)


def test_wide_names_the_metric_and_leaves_gaps() -> None:
    found = table.wide(table.pooled(table.long(ROWS)))
    assert list(found.columns) == ["dtd [top1]", "pets [top1]"]
    assert math.isnan(found.loc["c", "dtd [top1]"])


def test_seeds_are_pooled_with_a_t_interval() -> None:
    found = table.long([row("a", "pets", value, seed) for seed, value in enumerate((0.7, 0.8, 0.9))])
    pooled = found[found["seed"] == "all"].iloc[0]
    half = 4.303 * 0.1 / math.sqrt(3)
    assert (pooled["value"], pooled["low"], pooled["high"]) == pytest.approx((0.8, 0.8 - half, 0.8 + half))
    assert (pooled["n"], pooled["seconds"]) == (3, 6.0)
    assert table.pooled(found)["value"].tolist() == pytest.approx([0.8])
    assert table.pooled(found)["tested"].tolist() == [200]


def test_nothing_done_yet(tmp_path: Path) -> None:
    table.gather([], {"linear-v1/pets/a/0": ("failed", "bad data: x")}, tmp_path, used=[], asked={})
    assert (tmp_path / "missing.csv").read_text() == "key,state,reason\nlinear-v1/pets/a/0,failed,bad data: x\n"
    assert (tmp_path / "results.csv").read_text().startswith("task,version,dataset")
    assert (tmp_path / "efficiency.csv").read_text() == EFFICIENCY


def record(**more: Any) -> dict[str, Any]:
    """A result as a job leaves it; what `more` does not name is what results have had from the start."""
    metric = {"name": "top1", "value": 0.5, "low": 0.4, "high": 0.6, "n": 100, "headline": True}
    how = {"seconds": 90.0, "commit": "c", "image": "", "device": "cpu"}
    return {"metrics": [metric], "details": {}, **how, **more}


def gather(folder: Path, found: dict[str, dict[str, Any]], asked: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Every table that is written, by its name."""
    done = [line for key, one in found.items() for line in table.rows(key, one)]
    used = [line for key, one in found.items() for line in table.spent(key, one)]
    return {path.name: path.read_text() for path in table.gather(done, {}, folder, used=used, asked=asked)}


def test_efficiency_has_what_was_asked_beside_what_was_used(tmp_path: Path) -> None:
    array = {"cluster": "slurm", "job": "71_3", "minutes": 30, "memory_gb": 16, "cpus": 8, "gpus": 1, "nodes": 1}
    told = {"device": "NVIDIA H200", "peak_gb": 6.25, "gpu_peak_gb": 11.5, "cores": 8, "retries": 1}
    found = {
        "finetune-v1/dtd/a/0": record(**told, waiting_share=0.25),
        "linear-v1/dtd/a/0": record(**told | {"retries": 0}, details={"extraction": {"waiting_share": 0.5}}),
    }
    written = gather(tmp_path, found, {"finetune-v1/dtd/a/0": array, "linear-v1/dtd/a/0": array, "gone": array})
    assert written["efficiency.csv"] == EFFICIENCY + (
        "finetune-v1/dtd/a/0,slurm,71_3,NVIDIA H200,30,1.5,16,6.25,11.5,8,8,1,1,0.25,1\n"
        "linear-v1/dtd/a/0,slurm,71_3,NVIDIA H200,30,1.5,16,6.25,11.5,8,8,1,1,0.5,0\n"
    )


def test_efficiency_of_old_results_has_gaps_and_no_other_row_changes_type(tmp_path: Path) -> None:
    found = {"linear-v1/dtd/a/0": record(), "linear-v1/dtd/b/0": record(cores=2, retries=0, peak_gb=3)}
    del found["linear-v1/dtd/a/0"]["details"]
    written = gather(tmp_path, found, {"linear-v1/dtd/b/0": {"cluster": "local", "cpus": 2}})
    assert written["efficiency.csv"] == EFFICIENCY + (
        "linear-v1/dtd/a/0,,,cpu,,1.5,,,,,,,,,\nlinear-v1/dtd/b/0,local,,cpu,,1.5,,3,,2,2,,,,0\n"
    )


@pytest.mark.parametrize("others", [{}, {"linear-v1/dtd/a/0": record()}], ids=["alone", "beside one with a metric"])
def test_a_result_without_metrics_is_in_efficiency_only(tmp_path: Path, others: dict[str, dict[str, Any]]) -> None:
    written = gather(tmp_path, {"extract-v1/dtd/a/0": record(metrics=[])} | others, {})
    assert "extract-v1/dtd/a/0,,,cpu,,1.5" in written.pop("efficiency.csv")
    assert not any("extract" in text for text in written.values())
    assert written.keys() - {"results.csv", "summary.csv", "missing.csv", "report.html"} == (
        {"linear-v1.csv"} if others else set()
    )


def test_the_page_escapes_what_users_wrote() -> None:
    page = report.page([], [], {"k": ("failed", "<script>alert(1)</script>")})
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


DEEPCLUSTER = "deepcluster-v2_resnet50"  # 94.07 on CIFAR-10 was published for it


def test_what_was_published_stands_beside_ours(tmp_path: Path) -> None:
    rows = [
        row(DEEPCLUSTER, "cifar10", 0.9351),
        row(DEEPCLUSTER, "cifar10", 0.93, metric="mean_per_class", headline=False),
        row(DEEPCLUSTER, "pets", 0.9),
        row("a", "cifar10", 0.5),
        row(DEEPCLUSTER, "cifar10", 0.9411, task="knn"),
    ]
    found = table.long(rows)
    assert found["published"].tolist()[0] == pytest.approx(0.9407)
    assert found["difference"].tolist()[0] == -0.0056
    assert "CVPR 2021" in found["published_source"].tolist()[0]
    assert found["published"].isna().tolist() == [False, True, True, True, True]
    assert found["difference"].isna().tolist() == [False, True, True, True, True]
    written = {path.name: path for path in table.gather(rows, {}, tmp_path, used=[], asked={})}
    results = written["results.csv"].read_text().splitlines()
    assert results[0].endswith(",device,published,difference,published_source")
    assert ',0.9407,-0.0056,"Ericsson et al., CVPR 2021' in results[1]
    assert results[2].endswith(",c,,cpu,,,")
    heads = written["linear-v1.csv"].read_text().splitlines()[0]
    assert heads == "model,cifar10 [top1],cifar10 [top1] difference,cifar10 [top1] published,pets [top1]"
    assert written["knn-v1.csv"].read_text().splitlines()[0] == "model,cifar10 [top1]"
    assert "published" not in written["summary.csv"].read_text()
    page = written["report.html"].read_text()
    assert page.count("published 94.07 (-0.56)") == 1
    assert page.count("published") == 1


def test_over_seeds_it_is_the_mean_that_is_compared() -> None:
    found = table.long([row(DEEPCLUSTER, "cifar10", value, seed) for seed, value in enumerate((0.93, 0.94))])
    assert found["difference"].tolist() == pytest.approx([-0.0107, -0.0007, -0.0057])
    assert table.pooled(found)["difference"].tolist() == pytest.approx([-0.0057])


MEAN = Mean("trex-15", ("pets", "dtd", "cog-l1"))
LABELS = {"pets": "trex-linear-v1", "dtd": "trex-linear-v1", "cog-l1": "cog-linear-v1"}


def test_a_mean_of_a_study_is_over_its_data_sets_by_its_tasks() -> None:
    rows = [
        row("trex_resnet50", "pets", 0.75, task="trex-linear", headline=False),
        row("trex_resnet50", "pets", 0.7, task="trex-linear", metric="mean_per_class"),
        row("trex_resnet50", "dtd", 0.6, task="trex-linear"),
        *(row("trex_resnet50", "cog-l1", value, seed, task="cog-linear") for seed, value in enumerate((0.4, 0.6))),
        row("trex_resnet50", "cog-l1", 0.99, task="trex-linear"),  # not the task that is for it
        row("trex_resnet50", "imagenet1k", 0.99, task="cog-linear"),  # not of the mean
        row("b", "pets", 0.9, task="trex-linear"),
    ]
    found = table.averaged(table.long(rows), MEAN, LABELS).set_index("model")
    whole, part = found.loc["trex_resnet50"], found.loc["b"]
    assert (whole["task"], whole["datasets"], whole["of"]) == ("trex-15", 3, 3)
    assert whole["mean"] == pytest.approx((0.75 + 0.6 + 0.5) / 3)
    odds = (math.log(0.75 / 0.25) + math.log(0.6 / 0.4) + 0) / 3  # of the mean over seeds, not the mean of odds
    assert whole["mean_log_odds"] == pytest.approx(odds)
    assert whole["published_log_odds"] == 1.1704
    assert whole["difference_log_odds"] == pytest.approx(odds - 1.1704)
    assert whole["mean_rank"] == pytest.approx((2 + 1 + 1) / 3)
    assert (part["datasets"], part["of"]) == (1, 3)
    incomplete = table.averaged(table.long(rows[:3]), MEAN, LABELS)
    assert incomplete[["datasets", "of"]].to_numpy().tolist() == [[2, 3]]
    assert incomplete["published_log_odds"].isna().all()  # a mean over other sets is not compared


def test_means_stand_in_the_summary_where_there_are_any(tmp_path: Path) -> None:
    rows = [row("trex_resnet50", data, 0.75, task=label[:-3]) for data, label in LABELS.items()]
    written = table.gather(rows, {}, tmp_path, used=[], asked={}, means=[(MEAN, LABELS), (Mean("none", ("x",)), {})])
    assert "none" not in (tmp_path / "summary.csv").read_text()
    lines = (tmp_path / "summary.csv").read_text().splitlines()
    assert lines[0] == "task,model,mean,mean_log_odds,mean_rank,datasets,of,published_log_odds,difference_log_odds"
    assert [line.split(",")[0] for line in lines[1:]] == ["cog-linear-v1", "trex-linear-v1", "trex-15"]
    odds = math.log(3)
    assert lines[3] == f"trex-15,trex_resnet50,0.75,{odds},1.0,3,3,1.1704,{round(odds - 1.1704, 8)}"
    assert not any("trex-15" in path.name for path in written)
    page = (tmp_path / "report.html").read_text()
    assert "1.0986 <small class=interval>published 1.1704 (-0.0718)</small>" in page
