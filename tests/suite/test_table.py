"""Tables: ranks, log odds, pooling over seeds; what they hold is compared with hand-worked values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from suite import report, table


def row(
    model: str, dataset: str, value: float, seed: int = 0, metric: str = "top1", headline: bool = True
) -> dict[str, Any]:
    cell = {"task": "linear", "version": 1, "dataset": dataset, "model": model, "seed": seed, "metric": metric}
    how = {"seconds": 2.0, "commit": "c", "image": "", "device": "cpu"}
    return {**cell, "headline": headline, "value": value, "low": value - 0.1, "high": value + 0.1, "n": 200, **how}


ROWS = [
    row("a", "pets", 0.9), row("b", "pets", 0.8), row("c", "pets", 0.8),
    row("a", "dtd", 0.5), row("b", "dtd", 0.75),
    row("a", "pets", 0.1, metric="ece", headline=False),
]  # fmt: skip


@pytest.mark.parametrize(("p", "odds"), [(0.5, 0), (0.6, 0.4055), (0.75, 1.0986), (0.9, 2.1972)])
def test_log_odds_anchors(p: float, odds: float) -> None:
    assert table.log_odds(p, 1000) == pytest.approx(odds, abs=1e-4)


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
    table.gather([], {"linear-v1/pets/a/0": ("failed", "bad data: x")}, tmp_path)
    assert (tmp_path / "missing.csv").read_text() == "key,state,reason\nlinear-v1/pets/a/0,failed,bad data: x\n"
    assert (tmp_path / "results.csv").read_text().startswith("task,version,dataset")


def test_the_page_escapes_what_users_wrote() -> None:
    page = report.page([], [], {"k": ("failed", "<script>alert(1)</script>")})
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
