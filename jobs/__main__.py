"""python -m jobs KEY [KEY ...] --store STORE: finds the cells, runs them one after another, writes their results.

It ends with 0 when each cell has its result or its error, with 75 when SIGUSR2 asked it to go or a failure left its GPU
unusable (the same command goes on from there), and with 76 when a cell failed in several ranks (its error is written;
the other cells need new ranks).
"""

from __future__ import annotations

from jobs.lib import interrupt

if __name__ == "__main__":  # before torch is imported: that takes seconds, in which the signal may come
    interrupt.listen()

import argparse
import importlib
import math
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from jobs.lib import checkpoint, failure, inside, machine
from jobs.lib.failure import RankEnded
from jobs.lib.interrupt import Interrupted
from jobs.lib.loader import Clock
from jobs.lib.ranks import Ranks
from jobs.lib.workspace import Workspace
from suite import attempt, entry, result
from suite.catalog import Catalog
from suite.cell import Cell
from suite.result import Outcome
from suite.store import Store, lock, write_json


def main() -> int:
    asked = _arguments()
    ranks = Ranks(asked.rank, asked.ranks, asked.local_rank, asked.meet)
    if asked.tether:
        inside.tether()
    workspace = Workspace(Store(asked.store.absolute()), cores=asked.cores, ranks=ranks, image=asked.image)
    torch.set_num_threads(workspace.cores)
    print(f"cores: {workspace.cores} may be used", flush=True)  # slurm.submission.about tells processes apart by it
    if workspace.cores < asked.cores:
        print(f"warning: asked for {asked.cores} cores, but may run on {workspace.cores} only", flush=True)
    return lead(asked.keys, workspace, asked.commit) if ranks.first else follow(workspace)


def lead(keys: Sequence[str], workspace: Workspace, commit: str) -> int:
    """Runs the cells one after another; the exit code."""
    for key in keys:
        try:
            interrupt.check()
            with lock(workspace.store.results / key / ".lock", wait=False) as mine:
                if mine:
                    if not run(key, workspace, commit):
                        return interrupt.EX_TEMPFAIL
                else:
                    print(f"{key}: another process is at it", flush=True)
        except Interrupted as left:
            print(f"{key}: interrupted; goes on from here when started again ({left})", flush=True)
            workspace.ranks.leave()
            return interrupt.EX_TEMPFAIL
    workspace.ranks.leave()
    return 0


def follow(workspace: Workspace) -> int:
    """Runs, in a rank that is not the first, the programs of the cells that rank 0 starts; the outcome is rank 0's."""
    ranks, gone = workspace.ranks, False
    try:
        for key in iter(ranks.next, ""):
            cell = Catalog(workspace.store).cell(key)
            importlib.import_module(f"jobs.{cell.task.program}").run(cell, workspace)
    except Interrupted:
        gone = True
    except Exception as error:  # rank 0 records it as the cell's failure
        why = ranks.cause(error)
        print(f"rank {ranks.rank}: {why}", *() if why is not error else (traceback.format_exc(),), flush=True)
        ranks.abandon(why)
    ranks.leave()
    return interrupt.EX_TEMPFAIL if gone or interrupt.asked() else 0


def run(key: str, workspace: Workspace, commit: str) -> bool:
    """Runs one cell, unless it is done: its folder then holds a result, or an error with its kind and trace. Whether
    others can run in this process."""
    folder, ranks, why = workspace.store.results / key, workspace.ranks, None

    def lost(rank: RankEnded) -> None:
        _fail(key, rank, workspace, commit)
        (folder / "heartbeat.json").unlink(missing_ok=True)

    # Also where their job did not notice: a killed controller forgets, and starts one beside the other.
    attempt.pick_up(workspace.store, key)
    with attempt.heartbeat(folder), ranks.watched(lost):
        try:
            _complete(key, workspace, commit)
        except Exception as error:  # the one place that records a cell's failure: the others of the bundle go on
            why = ranks.cause(error)
            _fail(key, why, workspace, commit)
    if why and ranks.broken:
        ranks.abandon(why)
    return why is None or ranks.count > 1 or not failure.spoils(why, workspace.device)


def _complete(key: str, workspace: Workspace, commit: str) -> None:
    folder, began, clock = workspace.store.results / key, time.time(), Clock(workspace.loader)
    machine.forget_peak(workspace.device)
    cell, image = Catalog(workspace.store).cell(key), workspace.image
    recipe = workspace.recipe
    found = result.read(workspace.store.results, key)
    if found and found["facts"] == result.facts(cell) and (not image or found["image"] == image):
        print(f"{key}: done before", flush=True)
        return
    print(f"{key}: begun", flush=True)  # and cells by this
    outcome = _outcome(cell, workspace)
    how = {"seconds": round(time.time() - began, 3), "finished": time.time(), "commit": commit}
    how |= {"image": image, "recipe": recipe}
    used = {"waiting_share": clock.share, **workspace.used, "retries": len(attempt.history(folder))}
    write_json(folder / "result.json", result.record(cell, outcome, **how, **used, **workspace.environment))
    for left in ("error.json", checkpoint.NAME):
        (folder / left).unlink(missing_ok=True)
    headline = next((f"{metric.name} {metric.value:.4f}" for metric in outcome.metrics if metric.headline), "done")
    print(f"{key}: {headline} in {how['seconds']} s", flush=True)


def _outcome(cell: Cell, workspace: Workspace) -> Outcome:
    program, ranks = importlib.import_module(f"jobs.{cell.task.program}"), workspace.ranks
    if ranks.count > 1 and not getattr(program, "RANKS", False):
        raise failure.BadTask(
            f"{cell.task.label} asks for {ranks.count} ranks, but its program ({cell.task.program}) runs in one"
        )
    ranks.start(cell.key)
    # Several ranks go together or not at all: their program says when.
    with interrupt.anywhere() if ranks.count == 1 else nullcontext():
        outcome: Outcome = program.run(cell, workspace)
    odd = [m.name for m in outcome.metrics if not all(map(math.isfinite, (m.value, m.low, m.high)))]
    if odd:
        raise failure.Diverged(f"{', '.join(odd)} is not a number: {entry.as_json(outcome.details)}")
    return outcome


def _fail(key: str, why: Exception, workspace: Workspace, commit: str) -> None:
    told = {"kind": failure.kind(why), "message": failure.first_line(why)}
    told["trace"] = "".join(traceback.format_exception(why))
    folder = workspace.store.results / key
    attempt.fail(folder, key=key, **told, at=time.time(), commit=commit, **workspace.environment)
    print(f"{key}: {told['kind']}: {told['trace']}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m jobs", description=__doc__)
    parser.add_argument("keys", nargs="+", metavar="KEY")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--commit", default="unknown", help="the checkout that submitted this")
    parser.add_argument("--image", default="", help="digest of the image that this runs in; '' outside")
    parser.add_argument("--tether", action="store_true", help="end when standard input does")
    parser.add_argument("--cores", type=int, default=0, help="how many the scheduler granted")
    parser.add_argument("--rank", type=int, default=0, help="which of the --ranks this process is")
    parser.add_argument("--ranks", type=int, default=1, help="how many processes run each cell together")
    parser.add_argument("--local-rank", type=int, default=0, help="which of those on this machine: its GPU")
    parser.add_argument("--meet", type=Path, help="a file that all ranks see, of a new name for every attempt")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
