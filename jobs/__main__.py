"""python -m jobs KEY [KEY ...] --store STORE: finds the cells, runs them one after another, writes their results."""

from __future__ import annotations

import argparse
import importlib
import math
import time
import traceback
from pathlib import Path

from jobs.lib import failure
from jobs.lib.workspace import Workspace
from suite import attempt, entry, result
from suite.catalog import Catalog
from suite.result import Outcome
from suite.store import Store, lock, write_json


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m jobs", description=__doc__)
    parser.add_argument("keys", nargs="+", metavar="KEY")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--commit", default="unknown", help="the checkout that submitted this")
    asked = parser.parse_args()
    store = Store(asked.store.absolute())
    workspace = Workspace(store)
    for key in asked.keys:
        with lock(store.results / key / ".lock", wait=False) as mine:
            if mine:
                run(key, workspace, asked.commit)
            else:
                print(f"{key}: another process is at it", flush=True)


def run(key: str, workspace: Workspace, commit: str) -> None:
    """Runs one cell, unless it is done: its folder then holds a result, or an error with its kind and trace."""
    folder = workspace.store.results / key
    began = time.time()
    with attempt.heartbeat(folder):
        try:
            cell = Catalog(workspace.store).cell(key)
            if (found := result.read(workspace.store.results, key)) and found["facts"] == result.facts(cell):
                print(f"{key}: done before", flush=True)
                return
            outcome = importlib.import_module(f"jobs.{cell.task.program}").run(cell, workspace)
            _refuse_nan(outcome)
            how = {"seconds": round(time.time() - began, 3), "finished": time.time(), "commit": commit, "image": ""}
            write_json(folder / "result.json", result.record(cell, outcome, **how, **workspace.environment))
            (folder / "error.json").unlink(missing_ok=True)
            headline = next(metric for metric in outcome.metrics if metric.headline)
            print(f"{key}: {headline.name} {headline.value:.4f} in {how['seconds']} s", flush=True)
        except Exception as error:  # the one place that records a cell's failure: the others of the bundle go on
            told = {"kind": failure.kind(error), "message": _first_line(error), "trace": traceback.format_exc()}
            attempt.fail(folder, key=key, **told, at=time.time(), commit=commit, **workspace.environment)
            print(f"{key}: {told['kind']}: {told['trace']}", flush=True)


def _refuse_nan(outcome: Outcome) -> None:
    odd = [m.name for m in outcome.metrics if not all(map(math.isfinite, (m.value, m.low, m.high)))]
    if odd:
        raise failure.Diverged(f"{', '.join(odd)} is not a number: {entry.as_json(outcome.details)}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    main()
