"""Table: results -> data frames -> CSVs, with ranks, log odds and intervals. The one place with pandas."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from suite import report, result
from suite.cell import parse
from suite.store import Store, write_text

COLUMNS = [
    *("task", "version", "dataset", "model", "seed", "metric", "headline", "value", "low", "high", "n"),
    *("seconds", "commit", "image", "device"),
]
# 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom; beyond them the normal one.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
CELL = ["task", "version", "dataset", "model"]


def gather(store: Store, states: Mapping[str, tuple[str, str]], folder: Path) -> list[Path]:
    """Writes all tables from the cells that are done; what is not stands in missing.csv. Returns the files."""
    done = [key for key, (name, _) in states.items() if name == "done"]
    results = long([row for key in done for row in _rows(store, key)])
    missing = pd.DataFrame([(k, *s) for k, s in states.items() if s[0] != "done"], columns=["key", "state", "reason"])
    headlines = pooled(results)
    totals = summary(headlines)
    tables = {"results.csv": results, "summary.csv": totals, "missing.csv": missing}
    tables |= {f"{label}.csv": wide(one).reset_index() for label, one in headlines.groupby("label")}
    for name, table in tables.items():
        text = io.StringIO()
        table.to_csv(text, index=False)
        write_text(folder / name, text.getvalue())
    write_text(folder / "report.html", report.page(headlines.to_dict("records"), totals.to_dict("records"), states))
    return [folder / name for name in (*tables, "report.html")]


def long(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a metric; where a cell has several seeds, one more (seed 'all') with their mean and its t-interval."""
    single = pd.DataFrame(rows, columns=COLUMNS)
    groups = single.groupby([*CELL, "metric", "headline"], sort=False)
    several = groups["value"].transform("size") > 1 if len(single) else single["value"].astype(bool)
    if not several.any():
        return single
    stats = single[several].groupby([*CELL, "metric", "headline"], sort=False).agg(
        value=("value", "mean"), spread=("value", "std"), n=("value", "size"), seconds=("seconds", "sum"),
        commit=("commit", _one), image=("image", _one), device=("device", _one),
    ).reset_index()
    t = [STUDENT[n - 2] if n - 2 < len(STUDENT) else 1.96 for n in stats["n"]]
    half = t * stats["spread"] / stats["n"] ** 0.5
    stats = stats.assign(seed="all", low=stats["value"] - half, high=stats["value"] + half)
    return pd.concat([single, stats[COLUMNS]], ignore_index=True)


def pooled(results: pd.DataFrame) -> pd.DataFrame:
    """The headline of each task, dataset and model: its one seed's, or the mean over seeds; n of the test set kept."""
    heads = results[results["headline"].astype(bool)].copy()
    heads["label"] = heads["task"] + "-v" + heads["version"].astype(str)
    tested = heads[heads["seed"] != "all"].groupby(CELL)["n"].max().rename("tested")
    last = heads.drop_duplicates(CELL, keep="last").merge(tested, on=CELL)
    return last.sort_values(["label", "dataset", "model"], ignore_index=True)


def wide(headlines: pd.DataFrame) -> pd.DataFrame:
    """Models down, datasets across, each with its metric's name."""
    named = headlines.assign(column=headlines["dataset"] + " [" + headlines["metric"] + "]")
    return named.pivot(index="model", columns="column", values="value")


def summary(headlines: pd.DataFrame) -> pd.DataFrame:
    """Per task and model: mean, mean log odds (t-ReX, Sariyildiz et al., ICLR 2023), mean rank (1 is best, ties
    averaged), over `datasets` of the `of` datasets that the task was run on; compare models only where these agree."""
    odds = [log_odds(value, n) for value, n in zip(headlines["value"], headlines["tested"], strict=True)]
    ranks = headlines.groupby(["label", "dataset"])["value"].rank(ascending=False)
    scored = headlines.assign(odds=odds, place=ranks)
    table = scored.groupby(["label", "model"], as_index=False).agg(
        mean=("value", "mean"), mean_log_odds=("odds", "mean"), mean_rank=("place", "mean"), datasets=("dataset", "nunique")
    )
    of = scored.groupby("label")["dataset"].nunique()
    return table.assign(of=table["label"].map(of)).rename(columns={"label": "task"})


def log_odds(value: float, n: int) -> float:
    """ln(p / (1 - p)); p is kept half an image away from 0 and 1, where the odds of n images end."""
    p = min(max(value, 0.5 / n), 1 - 0.5 / n)
    return math.log(p / (1 - p))


def _rows(store: Store, key: str) -> Iterator[dict[str, Any]]:
    found = result.read(store.results / key)
    if found is None:
        return
    parts = parse(key)
    cell = {"task": parts.task, "version": parts.version, "dataset": parts.dataset, "model": parts.model}
    how = {name: found[name] for name in ("seconds", "commit", "image", "device")}
    for metric in found["metrics"]:
        yield {**cell, "seed": parts.seed, "metric": metric["name"], **metric, **how}


def _one(values: pd.Series[Any]) -> str:
    """The common value of several, or all of them."""
    return " ".join(dict.fromkeys(map(str, values)))
