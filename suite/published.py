"""Published: what papers and their repositories report, read from suite/reference/ and put beside results."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REFERENCE = Path(__file__).with_name("reference")
BEST_C = REFERENCE / "ssl_transfer_C.csv"
COLUMNS = ("task", "dataset", "model", "metric", "value", "source")
PLAIN = ("mean_log_odds",)  # what no paper prints in percent
Place = tuple[str, str, str, str]  # task, dataset, model, metric


@dataclass(frozen=True)
class Number:
    """One published number in a result's unit: parts of 1 where papers print percent."""

    value: float
    source: str


@cache
def numbers() -> dict[Place, Number]:
    """Every published number by its place; a mean over data sets stands under its own name and dataset ''."""
    found: dict[Place, Number] = {}
    for row in rows():
        unit = 1 if row["metric"] in PLAIN else 100
        place = (row["task"], row["dataset"], row["model"], row["metric"])
        found.setdefault(place, Number(round(float(row["value"]) / unit, 8), row["source"]))
    return found


def rows() -> Iterator[dict[str, str]]:
    """The rows as they stand in the files, file after file."""
    for path in sorted(REFERENCE.glob("*.csv")):
        if path != BEST_C:
            yield from _table(path)


@cache
def best_c() -> dict[str, dict[str, float]]:
    """model -> data set -> the C of logistic regression that ssl-transfer's batch script names (Ericsson et al., CVPR
    2021): grid points 10^(k/4), which the file has as they were printed, rounded."""
    table = {row.pop("model"): row for row in _table(BEST_C)}
    return {
        model: {data: 10 ** (round(4 * math.log10(float(text))) / 4) for data, text in row.items()}
        for model, row in table.items()
    }


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
