#!/usr/bin/env python3
"""One command measures pre-trained vision backbones on a grid of tasks and gathers the numbers.

Runs on a login node: needs click, rich and submitit; torch lives in the jobs.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
if any(find_spec(name) is None for name in ("click", "rich", "submitit")):
    own = HERE / ".venv/bin/python"
    if not own.exists() or Path(sys.prefix) == HERE / ".venv":
        sys.exit("launch.py needs click, rich and submitit: make setup, or pip install -r requirements.txt")
    os.execv(own, [str(own), *sys.argv])

import click

from slurm.cluster import Cluster, arrays, command
from suite import catalog, plan, result
from suite.catalog import Catalog
from suite.cell import Cell
from suite.entry import Refusal, near
from suite.store import Store

if TYPE_CHECKING:
    from rich.console import Console

    from slurm.status import State
    from suite.bundle import Bundle


class Program(click.Group):
    """Shows what was refused in one line, without a trace, with exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Refusal as refused:
            raise click.UsageError(str(refused)) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of this file, which is the order of use


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--store", type=click.Path(path_type=Path), help="Folder for everything on disk (default: the cluster's).")
@click.option("--cluster", "site", default="local", show_default=True, help="Where to run: a file in slurm/clusters/.")
@click.pass_context
def main(ctx: click.Context, store: Path | None, site: str) -> None:
    """Measure backbones on tasks: models x tasks x datasets x seeds, what is missing only."""
    clusters = catalog.entries("slurm.clusters", Cluster)
    if site not in clusters:
        raise near(site, clusters, "cluster")
    root = (store or Path(clusters[site].store)).expanduser().absolute()
    ctx.obj = (clusters[site], Catalog(Store(root)))


@main.command("grid")
@click.argument("study", required=False)
@click.option("--tasks", metavar="A,B", help="Tasks, by name; wildcards allowed.")
@click.option("--models", metavar="A,B", is_flag=False, flag_value="*",
              help="Models: names, PATH:ARCHITECTURE, timm:NAME. Without a value: all whose weights are in the store.")
@click.option("--datasets", metavar="A,B", help="Datasets: names, LAYOUT:PATH, or folders.")
@click.option("--seeds", metavar="0,1", help="Seeds: numbers, or a range 0-4.")
@click.option("--stale", is_flag=True, help="Run stale results again.")
@click.option("--dry-run", is_flag=True, help="Show everything, submit nothing.")
@click.option("--wait", is_flag=True, help="Stay until all is done, and show the table.")
@click.pass_obj
def grid_command(setup: tuple[Cluster, Catalog], study: str | None, tasks: str | None, models: str | None,
                 datasets: str | None, seeds: str | None, stale: bool, dry_run: bool, wait: bool) -> None:
    """Submit what is missing of a grid: a STUDY, or --tasks x --models x --datasets x --seeds."""
    from slurm import status
    from suite import fetch
    from suite.bundle import bundles
    from suite.estimate import Estimate

    cluster, known = setup
    if study and study not in known.grids:
        raise near(study, known.grids, "study")
    asked = plan.merged(known.grids[study] if study else None, tasks=_words(tasks), datasets=_words(datasets),
                        models=() if models == "*" else _words(models), seeds=_numbers(seeds))
    if "digits" in asked.datasets:
        fetch.digits(known.store.data / "digits")
    planned = plan.plan(asked, known, every_model=models == "*" or not asked.models)
    now = status.states(known, [cell.key for cell in planned.cells])
    again = {"absent", "failed"} | ({"stale"} if stale else set())
    todo = [cell for cell in planned.cells if now[cell.key].name in again]
    estimate = Estimate(result.folders(known.store.results), {cell.task.label for cell in todo})
    work = arrays(cluster, bundles(todo, estimate.minutes))
    _tell_plan(planned, now, work, estimate.sources)
    if dry_run:
        _tell_dry_run(cluster, known, planned.cells, now, work)
    elif todo:
        from slurm.submit import submit

        known.record(todo)
        sent = submit(cluster, work, known.store)
        click.echo(f"submitted {len(todo)} cells as {sent.folder.name}; see: launch.py status")
    if wait and not dry_run:
        _wait(known, planned.cells)


@main.command("status")
@click.argument("patterns", nargs=-1)
@click.pass_obj
def status_command(setup: tuple[Cluster, Catalog], patterns: tuple[str, ...]) -> None:
    """State of every cell; PATTERNS such as 'linear-v1/*' choose some. Exit code 1 if any failed."""
    from slurm import status
    from suite import show

    now = _chosen(status.states(setup[1]), patterns)
    _console().print(show.states({key: state.name for key, state in now.items()}))
    _tell_reasons(now, ("failed", "stale"))
    sys.exit(any(state.name == "failed" for state in now.values()))


@main.command("gather")
@click.option("--to", type=click.Path(path_type=Path), help="Folder for the tables (default: STORE/tables).")
@click.pass_obj
def gather_command(setup: tuple[Cluster, Catalog], to: Path | None) -> None:
    """Write results.csv, one CSV a task, summary.csv, missing.csv and report.html. Exit code 1 if any failed."""
    from slurm import status

    try:
        from suite import table
    except ModuleNotFoundError as absent:
        raise Refusal(f"gather needs {absent.name}, which this Python does not have: make setup") from None
    known = setup[1]
    now = status.states(known)
    folder = to or known.store.tables
    for path in table.gather(known.store, {key: (state.name, state.reason) for key, state in now.items()}, folder):
        click.echo(path)
    sys.exit(any(state.name == "failed" for state in now.values()))


@main.command("list")
@click.argument("what", type=click.Choice(["models", "datasets", "tasks", "grids", "layouts", "clusters"]))
@click.pass_obj
def list_command(setup: tuple[Cluster, Catalog], what: str) -> None:
    """What this checkout and the store know: models, datasets, tasks, grids, layouts, clusters."""
    from suite import show

    _console().print(show.listing(what, setup[1], catalog.entries("slurm.clusters", Cluster)))


@main.command("fetch")
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def fetch_command(setup: tuple[Cluster, Catalog], names: tuple[str, ...]) -> None:
    """Bring digits, a model's weights, or timm:NAME?pretrained into the store. One failure doesn't stop the others."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    from suite.fetch import fetch

    failed = []
    with Progress("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn()) as bar:
        for name in names:
            line = bar.add_task(name, total=None)
            try:
                told = fetch(name, setup[1], lambda done, size: bar.update(line, completed=done, total=size or None))
                bar.console.print(told, soft_wrap=True)
            except Refusal as refused:
                failed.append(str(refused))
            bar.remove_task(line)
    if failed:
        raise click.UsageError("\n".join(failed))


@main.command("logs")
@click.argument("key")
@click.pass_obj
def logs_command(setup: tuple[Cluster, Catalog], key: str) -> None:
    """The log of the last job that had the cell KEY, and why it failed if it did."""
    from slurm.submission import submissions
    from suite import attempt

    store = setup[1].store
    logs = [
        sent.folder / log
        for sent in submissions(store) for task in sent.tasks
        for keys, log in zip(task.bundles, task.logs, strict=True) if key in keys
    ]
    if not logs:
        raise near(key, (k for k, _ in result.folders(store.results)), "cell")
    click.echo(f"{logs[-1]}:\n{logs[-1].read_text(errors='replace') if logs[-1].exists() else '(not started)'}")
    if error := attempt.error(store.results / key):
        click.echo(f"{error['kind']}: {error['message']}\n{error.get('trace', '')}")


@main.command("cancel")
@click.argument("patterns", nargs=-1)
@click.pass_obj
def cancel_command(setup: tuple[Cluster, Catalog], patterns: tuple[str, ...]) -> None:
    """Stop cells that are queued or running; PATTERNS such as 'finetune*' choose some. What is done stays."""
    from slurm import status
    from slurm.submission import submissions

    now = _chosen(status.states(setup[1]), patterns)
    stopping = {key for key, state in now.items() if state.name in ("queued", "running")}
    for sent in submissions(setup[1].store):
        if own := stopping.intersection(key for task in sent.tasks for key in task.keys):
            sent.cancel(own)
    click.echo(f"cancelled {len(stopping)} cells")


@main.command("doctor")
@click.pass_obj
def doctor_command(setup: tuple[Cluster, Catalog]) -> None:
    """What may keep a grid from running here, with the remedy. Exit code 1 if anything does."""
    from slurm.doctor import examine

    findings = list(examine(setup[0], setup[1].store))
    for one in findings:
        click.echo(f"{'ok ' if one.well else 'BAD'} {one.seen}{'' if one.well else f'; {one.remedy}'}")
    sys.exit(not all(one.well for one in findings))


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _numbers(text: str | None) -> list[int]:
    numbers: list[int] = []
    for word in _words(text):
        first, _, last = word.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise Refusal(f"--seeds {text}: {word!r} is neither a number nor a range such as 0-4")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _chosen(now: dict[str, State], patterns: Sequence[str]) -> dict[str, State]:
    found = {k: s for k, s in now.items() if not patterns or any(k == p or fnmatch(k, p) or fnmatch(k, f"{p}-v*") for p in patterns)}
    if patterns and not found:
        raise near(patterns[0], now, "cell")
    return found


def _wait(known: Catalog, cells: Sequence[Cell]) -> None:
    """A bar until nothing runs or is queued, then the table; exit code 1 if any cell failed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from slurm import status
    from suite import show

    ended: dict[str, State] = {}
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=_console()) as bar:
        line = bar.add_task("", total=len(cells))
        try:
            while waiting := [cell.key for cell in cells if cell.key not in ended]:
                now = status.states(known, waiting)
                ended |= {k: s for k, s in now.items() if s.name not in ("queued", "running")}
                running = [key for key, state in now.items() if state.name == "running"]
                bar.update(line, completed=len(ended), description=running[0] if running else "")
                for key, state in now.items():
                    if state.name == "failed":
                        bar.console.print(f"[red]failed[/] {key}: {state.reason}", highlight=False)
                time.sleep(0.5 if len(ended) < len(cells) else 0)
        except KeyboardInterrupt:
            bar.console.print("the jobs go on; see: launch.py status")
            sys.exit(130)
    values = result.headlines(known.store.results, cells)
    _console().print(show.headlines(values, list(dict.fromkeys(cell.model.name for cell in cells))))
    _tell_reasons(ended, ("failed", "stale", "absent"))
    sys.exit(any(state.name in ("failed", "absent") for state in ended.values()))


def _tell_plan(planned: plan.Plan, now: dict[str, State], work: list[list[list[Bundle]]], past: dict[str, int]) -> None:
    count = Counter(state.name for state in now.values())
    click.echo(f"{len(planned.cells)} cells: " + ", ".join(f"{n} {name}" for name, n in count.items()))
    for why in planned.left_out:
        click.echo(f"left out: {why}")
    bundles = [b for array in work for task in array for b in task]
    if bundles:
        hours = sum(b.minutes * max(b.resources.gpus, 1) for b in bundles) / 60
        sources = ", ".join(f"{label}: {f'{n} past results' if n else 'a guess'}" for label, n in past.items())
        click.echo(f"to run: {sum(len(b.cells) for b in bundles)} cells in {len(bundles)} bundles, "
                   f"{sum(map(len, work))} array tasks, {len(work)} arrays; about {hours:.2f} GPU hours ({sources})")


def _tell_dry_run(cluster: Cluster, known: Catalog, cells: Iterable[Cell], now: dict[str, State],
                  work: list[list[list[Bundle]]]) -> None:
    import shlex

    for cell in cells:
        click.echo(f"  {now[cell.key].name:8} {cell.key}")
    for number, array in enumerate(work):
        shape = array[0][0].resources
        click.echo(f"array {number}: image {array[0][0].image}, {shape.gpus} GPU, {shape.cpus} CPUs, {shape.memory_gb} GB")
        for index, task in enumerate(array):
            click.echo(f"  task {index}: {len(task)} bundles, about {sum(b.minutes for b in task):.1f} minutes")
            for bundle in task:
                click.echo(f"    bundle: {' '.join(bundle.keys)}")
    if work:
        click.echo("one job runs: " + shlex.join(command(cluster, work[0][0][0].keys, known.store.root, "COMMIT")))
    click.echo("dry run: nothing was submitted")


def _tell_reasons(now: dict[str, State], names: Sequence[str], most: int = 20) -> None:
    from suite.show import COLOURS

    told = [(key, state) for key, state in now.items() if state.name in names]
    for key, state in told[:most]:
        _console().print(f"[{COLOURS[state.name]}]{state.name}[/] {key}: {state.reason}", highlight=False, soft_wrap=True)
    if len(told) > most:
        click.echo(f"... and {len(told) - most} more: launch.py gather lists them in missing.csv")


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 140)


if __name__ == "__main__":
    main()
