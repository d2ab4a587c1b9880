"""Table: results -> data frames -> CSVs, with ranks, log odds and intervals. The one place with pandas."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from suite import published, report
from suite.cell import parse
from suite.grid import Mean
from suite.store import write_text

COLUMNS = [
    *("task", "version", "dataset", "model", "seed", "metric", "headline", "value", "low", "high", "n"),
    *("seconds", "commit", "image", "device"),
]
BESIDE = ["published", "difference", "published_source"]
# 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom; beyond them the normal one.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
CELL = ["task", "version", "dataset", "model"]
SPENT = [
    *("key", "cluster", "job", "device", "asked_minutes", "used_minutes", "asked_memory_gb", "used_memory_gb"),
    *("gpu_memory_gb", "asked_cpus", "cores", "gpus", "nodes", "waiting_share", "retries"),
]


def gather(
    done: list[dict[str, Any]],
    missing: Mapping[str, tuple[str, str]],
    folder: Path,
    *,
    used: list[dict[str, Any]],
    asked: Mapping[str, Mapping[str, Any]],
    means: Sequence[tuple[Mean, Mapping[str, str]]] = (),
) -> list[Path]:
    """Writes all tables: from `rows` and `spent` of the cells that are done, from (state, reason) of those that are
    not, and from what was asked of a cluster for a key (see `efficiency`). `means` are those of studies, each with the
    label of the task that measures each of its data sets. Returns the files."""
    results = long(done)
    headlines = pooled(results)
    whole = [table for mean in means if len(table := averaged(results, *mean))]
    totals = pd.concat([summary(headlines), *whole], ignore_index=True) if whole else summary(headlines)
    absent = pd.DataFrame([(key, *why) for key, why in missing.items()], columns=["key", "state", "reason"])
    tables = {"results.csv": results, "summary.csv": totals, "missing.csv": absent}
    tables["efficiency.csv"] = efficiency(used, asked)
    tables |= {f"{label}.csv": wide(one).reset_index() for label, one in headlines.groupby("label")}
    for name, table in tables.items():
        text = io.StringIO()
        table.to_csv(text, index=False)
        write_text(folder / name, text.getvalue())
    write_text(folder / "report.html", report.page(headlines.to_dict("records"), totals.to_dict("records"), missing))
    return [folder / name for name in (*tables, "report.html")]


def long(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a metric; where a cell has several seeds, one more (seed 'all') with their mean and its t-interval.

    Beside each stands the number that was published for its task, data set, model and metric, where there is one, and
    the difference of ours to it, in the same unit.
    """
    found = _with_seeds(rows)
    places = zip(found["task"], found["dataset"], found["model"], found["metric"], strict=True)
    numbers = [published.numbers().get(place) for place in places]
    values = pd.Series([number.value if number else None for number in numbers], found.index, dtype=float)
    sources = pd.Series([number.source if number else None for number in numbers], found.index, dtype=object)
    beside = {"published": values, "difference": (found["value"] - values).round(8), "published_source": sources}
    both: pd.DataFrame = found.assign(**beside)
    return both


def _with_seeds(rows: list[dict[str, Any]]) -> pd.DataFrame:
    single: pd.DataFrame = pd.DataFrame(rows, columns=COLUMNS)
    groups = single.groupby([*CELL, "metric", "headline"], sort=False)
    several = groups["value"].transform("size") > 1 if len(single) else single["value"].astype(bool)
    if not several.any():
        return single
    stats = (
        single[several]
        .groupby([*CELL, "metric", "headline"], sort=False)
        .agg(
            value=("value", "mean"),
            spread=("value", "std"),
            n=("value", "size"),
            seconds=("seconds", "sum"),
            commit=("commit", _one),
            image=("image", _one),
            device=("device", _one),
        )
        .reset_index()
    )
    t = [STUDENT[n - 2] if n - 2 < len(STUDENT) else 1.96 for n in stats["n"]]
    half = t * stats["spread"] / stats["n"] ** 0.5
    stats = stats.assign(seed="all", low=stats["value"] - half, high=stats["value"] + half)
    both: pd.DataFrame = pd.concat([single, stats[COLUMNS]], ignore_index=True)
    return both


def pooled(results: pd.DataFrame) -> pd.DataFrame:
    """The headline of each task, dataset and model: its one seed's, or the mean over seeds; n of the test set kept."""
    return _last(results[results["headline"].astype(bool)])


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    heads = rows.copy()
    heads["label"] = heads["task"] + "-v" + heads["version"].astype(str)
    tested = heads[heads["seed"] != "all"].groupby(CELL)["n"].max().rename("tested")
    last = heads.drop_duplicates(CELL, keep="last").merge(tested, on=CELL)
    ordered: pd.DataFrame = last.sort_values(["label", "dataset", "model"], ignore_index=True)
    return ordered


def wide(headlines: pd.DataFrame) -> pd.DataFrame:
    """Models down, datasets across, each with its metric's name, and with two columns more where numbers were published
    for it."""
    named = headlines.assign(column=headlines["dataset"] + " [" + headlines["metric"] + "]")
    table: pd.DataFrame = named.pivot(index="model", columns="column", values="value")
    for beside in BESIDE[:2]:
        more = named.pivot(index="model", columns="column", values=beside).dropna(axis=1, how="all")
        table = table.join(more.add_suffix(f" {beside}"))
    ordered: pd.DataFrame = table.sort_index(axis=1)
    return ordered


def summary(headlines: pd.DataFrame) -> pd.DataFrame:
    """Per task and model: mean, mean log odds (t-ReX, Sariyildiz et al., ICLR 2023), mean rank (1 is best, ties
    averaged), over `datasets` of the `of` datasets that the task was run on; compare models only where these agree."""
    odds = [log_odds(value, n) for value, n in zip(headlines["value"], headlines["tested"], strict=True)]
    ranks = headlines.groupby(["label", "dataset"])["value"].rank(ascending=False)
    scored = headlines.assign(odds=odds, place=ranks)
    table = scored.groupby(["label", "model"], as_index=False).agg(
        mean=("value", "mean"),
        mean_log_odds=("odds", "mean"),
        mean_rank=("place", "mean"),
        datasets=("dataset", "nunique"),
    )
    of = scored.groupby("label")["dataset"].nunique()
    named: pd.DataFrame = table.assign(of=table["label"].map(of)).rename(columns={"label": "task"})
    return named


def averaged(results: pd.DataFrame, mean: Mean, labels: Mapping[str, str]) -> pd.DataFrame:
    """The rows of the summary for a study's mean, under its name: of its metric, over those of its data sets that the
    task of that label measured a model on; `of` is how many it takes. Where it is whole, the mean log odds that were
    published for the model stand beside it."""
    picked = results[results["metric"] == mean.metric]
    label = picked["task"] + "-v" + picked["version"].astype(str)
    table = summary(_last(picked[label == picked["dataset"].map(labels)]).assign(label=mean.name))
    table = table.assign(of=len(mean.datasets))
    numbers = [published.numbers().get((mean.name, "", model, "mean_log_odds")) for model in table["model"]]
    values = pd.Series([number.value if number else None for number in numbers], table.index, dtype=float)
    values = values.where(table["datasets"] == table["of"])
    difference = (table["mean_log_odds"] - values).round(8)
    both: pd.DataFrame = table.assign(published_log_odds=values, difference_log_odds=difference)
    return both


def log_odds(value: float, n: int) -> float:
    """ln(p / (1 - p)); p is kept half an image away from 0 and 1, where the odds of n images end."""
    p = min(max(value, 0.5 / n), 1 - 0.5 / n)
    return math.log(p / (1 - p))


def rows(key: str, found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A result's metrics as rows of results.csv."""
    parts = parse(key)
    cell = {"task": parts.task, "version": parts.version, "dataset": parts.dataset, "model": parts.model}
    how = {name: found[name] for name in ("seconds", "commit", "image", "device")}
    for metric in found["metrics"]:
        yield {**cell, "seed": parts.seed, "metric": metric["name"], **metric, **how}


def spent(key: str, found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a result says it used, as the one row of efficiency.csv; None for what older results do not say.

    The share of waiting is the program's own, or else that of extracting the features, which cells share.
    """
    extraction = found.get("details", {}).get("extraction") or {}
    yield {
        "key": key,
        "device": found.get("device"),
        "used_minutes": round(found["seconds"] / 60, 4),
        "used_memory_gb": found.get("peak_gb"),
        "gpu_memory_gb": found.get("gpu_peak_gb"),
        "cores": found.get("cores"),
        "waiting_share": found.get("waiting_share", extraction.get("waiting_share")),
        "retries": found.get("retries"),
    }


def efficiency(used: list[dict[str, Any]], asked: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """What was asked for beside what was used, one row a cell.

    `asked` says for a key: cluster, job, minutes, memory_gb, cpus, gpus, nodes. They are the whole array task's, which
    may run several cells: only `used_minutes` is the cell's own, so their sum is what `asked_minutes` was there for.
    """
    called = {name: f"asked_{name}" for name in ("minutes", "memory_gb", "cpus")}
    both = [{called.get(name, name): value for name, value in asked.get(row["key"], {}).items()} | row for row in used]
    table: pd.DataFrame = pd.DataFrame(both, columns=SPENT, dtype=object)  # keeps integers beside gaps
    return table


def _one(values: pd.Series[Any]) -> str:
    """The common value of several, or all of them."""
    return " ".join(dict.fromkeys(map(str, values)))
