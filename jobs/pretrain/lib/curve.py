"""Curve: how a training went, point by point, as a CSV and as a picture."""

from __future__ import annotations

import csv
import io
from typing import Any

FIRST = ("loss", "lr")  # of the panels
BESIDE = ("step", "epoch")


class Curve:
    """Points, each a mapping with "step", "epoch", "loss", "lr" and what a method watches; kept in `points`."""

    def __init__(self, points: list[dict[str, Any]]) -> None:
        self.points = points

    def add(self, point: dict[str, Any]) -> None:
        self.points.append(point)

    @property
    def told(self) -> str:
        """The last point's further values, for a line of progress."""
        last = self.points[-1] if self.points else {}
        return "".join(f", {n} {v:.3g}" for n, v in last.items() if n not in (*BESIDE, *FIRST, "images/s", "waiting"))

    def csv(self) -> str:
        """One row a point; a column for everything that any point has."""
        names = list(dict.fromkeys(name for point in self.points for name in point))
        out = io.StringIO()
        table = csv.DictWriter(out, names, lineterminator="\n")
        table.writeheader()
        table.writerows(self.points)
        return out.getvalue()

    def png(self, title: str) -> bytes:
        """A panel for the loss, the rate and everything that was watched, over epochs."""
        from matplotlib.figure import Figure  # takes a second, which only the end of a training has to spend

        names = list(dict.fromkeys(name for point in self.points for name in point if name not in BESIDE))
        figure = Figure(figsize=(8, 1.6 * len(names)), layout="constrained")
        figure.suptitle(title)
        for panel, name in zip(figure.subplots(len(names), sharex=True, squeeze=False)[:, 0], names, strict=True):
            points = [(point["epoch"], point[name]) for point in self.points if name in point]
            panel.plot(*zip(*points, strict=True), linewidth=1, marker="." if len(points) < 50 else "")
            panel.set_ylabel(name)
        panel.set_xlabel("epoch")
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=100)
        return out.getvalue()
