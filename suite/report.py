"""Report: one page of HTML to look at: a table a task with intervals as bars, the summary, and what is missing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from html import escape
from typing import Any

Row = Mapping[Hashable, Any]

STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: .5em 0 2em } th, td { padding: .3em .8em; text-align: left }
th { border-bottom: 2px solid #222 } td { border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
.best, .other { white-space: nowrap } .best { font-weight: 700 }
.interval { color: #777; font-size: 85%; font-weight: 400 } svg { display: block }
.failed { color: #b00 } .stale { color: #a60 }
"""


def page(headlines: Sequence[Row], summary: Sequence[Row], missing: Mapping[str, tuple[str, str]]) -> str:
    """The whole page, self-contained."""
    tasks = list(dict.fromkeys(row["label"] for row in headlines))
    parts = [_task(label, [row for row in headlines if row["label"] == label]) for label in tasks]
    parts += [_summary(summary), _missing(missing)]
    return f"<!doctype html><meta charset=utf-8><title>Transfer results</title><style>{STYLE}</style>{''.join(parts)}"


def _task(label: str, rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys((row["dataset"], row["metric"]) for row in rows))
    cells = {(row["model"], row["dataset"]): row for row in rows}
    best = {data: max(r["value"] for r in rows if r["dataset"] == data) for data, _ in columns}
    head = "".join(f"<th>{escape(data)}<br><small>{escape(metric)}</small>" for data, metric in columns)
    body = "".join(
        f"<tr><td>{escape(model)}" + "".join(_cell(cells.get((model, data)), best[data]) for data, _ in columns)
        for model in dict.fromkeys(row["model"] for row in rows)
    )
    return f"<h2>{escape(label)}</h2><table><tr><th>model{head}</tr>{body}</table>"


def _cell(row: Row | None, best: float) -> str:
    if row is None:
        return "<td>"
    low, high = max(row["low"], 0.0), min(row["high"], 1.0)
    bar = (
        f'<svg width=100 height=8><rect width=100 height=8 fill="#eee"/>'
        f'<rect width={100 * row["value"]:.1f} height=8 fill="#69c"/>'
        f'<line x1={100 * low:.1f} x2={100 * high:.1f} y1=4 y2=4 stroke="#222" stroke-width=2 /></svg>'
    )
    told = f"{100 * row['value']:.2f} <span class=interval>[{100 * low:.1f}, {100 * high:.1f}]</span>"
    return f"<td class={'best' if row['value'] == best else 'other'}>{told}{bar}{_beside(row)}"


def _beside(row: Row) -> str:
    """The number that was published, and ours less it; the source where the pointer rests."""
    if _none(row.get("published")):
        return ""
    told = f"published {100 * row['published']:.2f} ({100 * row['difference']:+.2f})"
    return f'<small class=interval title="{escape(row["published_source"])}">{told}</small>'


def _none(value: Any) -> bool:
    return value is None or value != value  # a gap of pandas is NaN


def _summary(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{name}" for name in ("task", "model", "mean", "mean log odds", "mean rank", "datasets"))
    body = "".join(
        f"<tr><td>{escape(r['task'])}<td>{escape(r['model'])}<td>{100 * r['mean']:.2f}<td>{_odds(r)}"
        f"<td>{r['mean_rank']:.2f}<td>{r['datasets']} of {r['of']}"
        for r in rows
    )
    return f"<h2>Summary</h2><table><tr>{head}</tr>{body}</table>"


def _odds(row: Row) -> str:
    if _none(row.get("published_log_odds")):
        return f"{row['mean_log_odds']:.3f}"
    told = f"published {row['published_log_odds']:.4f} ({row['difference_log_odds']:+.4f})"
    return f"{row['mean_log_odds']:.4f} <small class=interval>{told}</small>"


def _missing(missing: Mapping[str, tuple[str, str]]) -> str:
    body = "".join(f"<tr><td>{escape(k)}<td class={s}>{s}<td>{escape(why)}" for k, (s, why) in missing.items())
    told = f"<table><tr><th>cell<th>state<th>reason</tr>{body}</table>" if missing else "<p>Nothing is missing."
    return f"<h2>Missing</h2>{told}"
