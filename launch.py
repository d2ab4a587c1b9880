#!/usr/bin/env python3
"""One command measures pre-trained vision backbones on a grid of tasks and gathers the numbers.

Runs on a login node: needs click, rich and submitit; torch lives in the jobs.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

HERE = Path(__file__).resolve().parent
if any(find_spec(name) is None for name in ("click", "rich", "submitit")):
    own = HERE / ".venv/bin/python"
    if not own.exists() or Path(sys.prefix) == HERE / ".venv":
        sys.exit("launch.py needs click, rich and submitit: make setup, or pip install -r requirements.txt")
    os.execv(own, [str(own), *sys.argv])

import click

from slurm.cluster import Cluster, find
from suite import catalog, grid, image, missing, plan, result
from suite.catalog import Catalog
from suite.cell import Cell
from suite.entry import Refusal, near
from suite.grid import Grid
from suite.store import Store, lock

if TYPE_CHECKING:
    from rich.console import Console

    from slurm.status import Look, State

F = TypeVar("F", bound=Callable[..., Any])


class Refused(click.ClickException):
    """One line, without a trace or the usage."""

    exit_code = 2


class Program(click.Group):
    """Shows what was refused, or what the file system refuses, in one line with exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Refusal as refused:
            raise Refused(str(refused)) from None
        except BrokenPipeError:  # the reader has had enough: click ends quietly
            raise
        except OSError as error:
            raise Refused(f"{error.filename or 'the store'}: {error.strerror or error}") from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of this file, which is the order of use


def somewhere(command: F) -> F:
    """Adds --store and --cluster, which every command takes (before its name, or after), and hands over a Setup."""

    def note(ctx: click.Context, option: click.Parameter, value: Any) -> None:
        if value is not None:
            ctx.find_root().ensure_object(dict)[option.name] = value

    store = click.option(
        "--store", type=click.Path(path_type=Path), callback=note, expose_value=False,
        help="Folder for everything on disk (default: the cluster's).",
    )  # fmt: skip
    cluster = click.option(
        "--cluster", callback=note, expose_value=False,
        help="Where to run: a file in slurm/clusters/, or your own FILE.py (default: local).",
    )  # fmt: skip
    return store(cluster(command))


def setup() -> tuple[Cluster, Catalog]:
    """The cluster and the store that were asked for."""
    asked = click.get_current_context().find_root().ensure_object(dict)
    cluster = find(asked.get("cluster", "local"))
    root = Path(asked.get("store") or cluster.store).expanduser().absolute()
    if root.exists() and not root.is_dir():
        raise Refusal(f"--store {root}: it is a file, not a folder")
    return cluster, Catalog(Store(root), cluster.runtime)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@somewhere
def main() -> None:
    """Measure backbones on tasks: models x tasks x datasets x seeds, what is missing only."""


@main.command("grid")
@click.argument("study", required=False)
@click.option("--tasks", metavar="A,B", help="Tasks, by name; wildcards allowed.")
@click.option(
    "--models",
    metavar="A,B",
    is_flag=False,
    flag_value="*",
    help="Models: names, PATH:ARCHITECTURE, timm:NAME. Without a value: all whose weights are in the store.",
)
@click.option("--datasets", metavar="A,B", help="Datasets: names, LAYOUT:PATH, or folders.")
@click.option("--seeds", metavar="0,1", help="Seeds: numbers, or a range 0-4.")
@click.option("--stale", is_flag=True, help="Run stale results again.")
@click.option("--build", is_flag=True, help="Build the images that the cells need first.")
@click.option("--pack", type=click.FloatRange(0), metavar="MINUTES", help="Fill array tasks up to this estimate.")
@click.option("--dry-run", is_flag=True, help="Show everything, submit nothing.")
@click.option("--wait", is_flag=True, help="Stay until all is done, and show the table.")
@somewhere
def grid_command(
    study: str | None,
    tasks: str | None,
    models: str | None,
    datasets: str | None,
    seeds: str | None,
    stale: bool,
    build: bool,
    pack: float | None,
    dry_run: bool,
    wait: bool,
) -> None:
    """Submit what is missing of a grid: a STUDY, or --tasks x --models x --datasets x --seeds. Exit code 1 if a folder
    of data cannot be read (the others go on), if cells are blocked, or, with --wait, if any failed; but not for cells
    of a STUDY that are blocked for want of a package that only some of its tasks need."""
    cluster, known = setup()
    if study and study not in known.grids:
        raise near(study, known.grids, "study")
    given = Grid(
        tasks=plan.words(tasks),
        models=() if models == "*" else plan.words(models),
        datasets=plan.words(datasets),
        seeds=plan.numbers(seeds),
    )
    asked = plan.merged(known.grids[study] if study else None, given)
    cluster = cluster if pack is None else replace(cluster, pack=pack)
    every = models == "*" or not asked.models
    # Of a study, cells may be blocked for want of a package that only some of its tasks need.
    lenient = bool(study and not tasks)
    sys.exit(
        _run(cluster, known, asked, every=every, lenient=lenient, stale=stale, build=build, dry=dry_run, wait=wait)[1]
    )


@main.command("verify")
@click.argument("names", metavar="MODEL|DATASET...", nargs=-1, required=True)
@click.option("--datasets", metavar="A,B", help="For models: labelled images, such as imagenet:PATH.")
@click.option("--decode", is_flag=True, help="Of data sets: decode each image, beyond reading its header.")
@somewhere
def verify_command(names: tuple[str, ...], datasets: str | None, decode: bool) -> None:
    """Check models (or those of a family that are in the store) on labelled images, by the classifier that their
    checkpoints have or else by k-NN, beside what was published. Without --datasets, check data sets: names, patterns,
    LAYOUT:PATH: what is missing, beside it, or cannot be read, and whether it is what was published. Exit code 1 if one
    disagrees, or could not be measured, or something is amiss.
    """
    from suite import fetch, show

    cluster, known = setup()
    if datasets is None:
        fine = [_look(cluster, known, name, decode) for name in plan.data_sets(names, known)]  # all of them
        sys.exit(not all(fine))
    if decode:
        raise Refusal("--decode is for data sets: name these in the place of models, without --datasets")
    wanted = fetch.names(names, known)
    here = [name for name in wanted if name in names or not missing.weights(known.model(name), known)]
    asked = Grid(tasks=("verify",), models=tuple(here), datasets=plan.words(datasets))
    cells, wrong = _run(cluster, known, asked, stale=True, wait=True, shown=False)
    read = [(cell, result.read(known.store.results, cell.key)) for cell in cells]
    found = [one for cell, one in read if one and one["facts"] == result.facts(cell)]
    for one in found:
        click.echo(show.verified(one))
    sys.exit(wrong or any(one["details"]["agrees"] is False for one in found))


@main.command("status")
@click.argument("patterns", nargs=-1)
@click.option("--watch", is_flag=True, help="Stay, and show what changes; Ctrl-C ends it.")
@somewhere
def status_command(patterns: tuple[str, ...], watch: bool) -> None:
    """State of every cell; PATTERNS such as 'linear-v1/*' choose some. Sends what waits for room in the queue, and what
    is to be tried again. Exit code 1 if any failed."""
    from slurm import status
    from suite import live, show

    known = setup()[1]
    look = status.Look(again=watch)

    def see() -> dict[str, State]:
        now = status.states(known, look=look)
        _tend(known, now, look)
        return status.chosen(now, patterns)

    now = live.watch(_console(), see, show.reasons) if watch else see()
    _console().print(show.states({key: state.name for key, state in now.items()}))
    _tell(now)
    sys.exit(any(state.name == "failed" for state in now.values()))


@main.command("gather")
@click.option("--to", type=click.Path(path_type=Path), help="Folder for the tables (default: STORE/tables).")
@somewhere
def gather_command(to: Path | None) -> None:
    """Write results.csv, one CSV a task, summary.csv, missing.csv, efficiency.csv and report.html, with published
    numbers beside ours. Exit code 1 if any failed."""
    from slurm import status
    from slurm.submission import asked

    try:
        from suite import table
    except ModuleNotFoundError as absent:
        raise Refusal(f"gather needs {absent.name}, which this Python does not have: make setup") from None
    known, done, used = setup()[1], list[dict[str, Any]](), list[dict[str, Any]]()

    def keep(key: str, found: dict[str, Any]) -> None:
        done.extend(table.rows(key, found))
        used.extend(table.spent(key, found))

    now = status.states(known, keep=keep)
    missing = {key: (state.name, state.told) for key, state in now.items() if state.name != "done"}
    means = grid.means(known.grids.values(), known.tasks)
    for path in table.gather(done, missing, to or known.store.tables, used=used, asked=asked(known.store), means=means):
        click.echo(path)
    sys.exit(any(state.name == "failed" for state in now.values()))


@main.command("list")
@click.argument("what", type=click.Choice(["models", "datasets", "tasks", "grids", "layouts", "clusters", "images"]))
@somewhere
def list_command(what: str) -> None:
    """What this checkout and the store know."""
    from suite import show

    _console().print(*show.listing(what, setup()[1], catalog.entries("slurm.clusters", Cluster)))


@main.command("fetch")
@click.argument("names", nargs=-1, required=True)
@click.option("--mirror", type=click.Path(path_type=Path), help="Take published files from this folder: no internet.")
@click.option(
    "--from",
    "given",
    type=click.Path(path_type=Path),
    help="What you have: a model's published file; a data set's archive, a folder with its archives, or its folder.",
)
@click.option(
    "--keep", is_flag=True, help="Keep the archives that data sets were unpacked from, in STORE/data/.archives."
)
@somewhere
def fetch_command(names: tuple[str, ...], mirror: Path | None, given: Path | None, keep: bool) -> None:
    """Bring models' published weights and convert them once, and data sets: NAMES of models, of families (cog,
    ssl-transfer, trex, imagenet21k-p, openmixup), of data sets, patterns, timm:NAME?pretrained. A data set's own folder
    is linked, not copied. One failure doesn't stop the others."""
    from slurm.convert import convert
    from suite import fetch, live

    cluster, known = setup()
    wanted = fetch.names(names, known)
    if given and (mirror or (len(wanted) > 1 and not known.datasets.keys() >= set(wanted))):
        raise Refusal(f"--from {given} is one model's file, or data sets: it goes with these names, without --mirror")
    if mirror and not mirror.is_dir():
        raise Refusal(f"--mirror {mirror}: no such folder")
    with live.bars("bytes") as (line, tell):
        how = fetch.How(partial(convert, cluster, known.store), mirror, given, tell, keep)
        failed = list(fetch.each(wanted, known, line, how))
    if failed:
        raise Refused("\n".join(failed))


@main.command("pack")
@click.argument("names", metavar="DATASET...", nargs=-1, required=True)
@click.option("--shard-mb", type=click.IntRange(1), default=1000, show_default=True, help="Size of a shard.")
@click.option("--squashfs", is_flag=True, help="One SquashFS instead, to be mounted; needs mksquashfs.")
@somewhere
def pack_command(names: tuple[str, ...], shard_mb: int, squashfs: bool) -> None:
    """Write the files of data sets into a few large ones beside their folders: tar shards, which WebDataset reads too,
    and from which everything here reads once the folder is not there any more."""
    from suite import adhoc, live, pack, squash

    known = setup()[1]
    with live.bars("bytes") as (line, tell):
        for name in plan.data_sets(names, known):
            place = adhoc.place(name, known)
            with line(name) as progress:
                tell(squash.squash(place, progress) if squashfs else pack.pack(place, shard_mb, progress))


@main.command("levels")
@click.argument("root", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--is-a",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PARENT CHILD lines: ImageNet has them.",
)
@click.option(
    "--seen", required=True, type=click.Path(exists=True, path_type=Path), help="A list of concepts, or their folders."
)
@click.option("--without", default="", metavar="A,B", help="Concepts to leave out, with all kinds of them.")
@click.option("--levels", "count", default=5, type=click.IntRange(1, 9), show_default=True)
@click.option("--concepts", "size", default=1000, type=click.IntRange(2), show_default=True, help="In each level.")
@click.option("--least", default=782, type=click.IntRange(2), show_default=True, help="Images of a concept, at least.")
@click.option("--most", default=1350, type=click.IntRange(2), show_default=True, help="And how many are used.")
@click.option("--tested", default=50, type=click.IntRange(1), show_default=True, help="Of which for the test.")
@click.option("--seed", default=0, show_default=True, help="Of the draw of test images.")
def levels_command(
    root: Path,
    is_a: Path,
    seen: Path,
    without: str,
    count: int,
    size: int,
    least: int,
    most: int,
    tested: int,
    seed: int,
) -> None:
    """Sort the concepts that have a folder of images in ROOT by how far they are in meaning from those that a model has
    SEEN, as ImageNet-CoG does, into levels: data sets levels/l1:ROOT, levels/l2:ROOT ..."""
    from suite import levels

    if tested >= min(least, most):
        raise Refusal(f"--tested {tested}: a concept may have {min(least, most)} images only, and some are to train on")
    leave = plan.words(without)
    found = levels.build(root, is_a, seen, levels=count, size=size, without=leave, least=least)
    for number, level in enumerate(found, 1):
        alike = f"{level[0].similarity:.3f} to {level[-1].similarity:.3f}"
        click.echo(f"levels/l{number}:{root}  {len(level)} concepts, similarity {alike}, from {level[0].name}")
    click.echo(levels.write(root, found, tested=tested, most=most, seed=seed))


@main.command("build")
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--runtime", default="", help="apptainer, singularity, docker or podman (default: the cluster's).")
@click.option("--base", default="", help="Start from this instead: REGISTRY/IMAGE, a SIF, a root file system's tar.")
@click.option("--build-arg", "given", metavar="KEY=VALUE", multiple=True, help="For the recipe; see its Dockerfile.")
@click.option("--via", type=click.Choice(["local", "slurm"]), default="local", help="Build here, or on a node.")
@somewhere
def build_command(names: tuple[str, ...], runtime: str, base: str, given: tuple[str, ...], via: str) -> None:
    """Build images from containers/ into the store; one that is there, of this recipe, is not built again."""
    from slurm.build import BUILDERS, usable

    cluster, known = setup()
    runtime = usable(cluster, runtime, BUILDERS)
    arguments = dict(_pair(word) for word in given)
    if unknown := arguments.keys() - {key for name in names for key in image.arguments(image.find(name))}:
        raise near(min(unknown), {key for name in names for key in image.arguments(name)}, "build argument")
    base = base or cluster.base
    for name in names:
        own = {key: value for key, value in arguments.items() if key in image.arguments(name)}
        if via == "slurm":
            from slurm.batch import build as elsewhere

            elsewhere(cluster, known.store, image.find(name), runtime, click.echo, base=base, arguments=own)
        else:
            _make("build", known.store, name, runtime, base=base, arguments=own)


@main.command("pull")
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--from", "source", default="", help="docker://REGISTRY/IMAGE, oras://... or a file.")
@click.option("--runtime", default="", help="The runtime that it is for (default: the cluster's).")
@somewhere
def pull_command(names: tuple[str, ...], source: str, runtime: str) -> None:
    """Bring published images into the store, from --from or from where the cluster's entry says."""
    from slurm import build

    cluster, known = setup()
    runtime = build.usable(cluster, runtime)
    if source and len(names) > 1:
        raise Refusal(f"--from {source} is one image, and {len(names)} are named")
    if not (source or cluster.images):
        raise Refusal("no place is known to pull from: --from, or `images` in the cluster's entry; or: launch.py build")
    for name in names:
        from_ = source or build.published(cluster, image.find(name))
        _make("pull", known.store, name, runtime, source=from_, again=bool(source))


@main.command("logs")
@click.argument("key")
@somewhere
def logs_command(key: str) -> None:
    """The log of the last job that had the cell KEY, what befell it, and why it failed if it did."""
    from slurm import submission
    from suite import attempt

    store = setup()[1].store
    last = submission.places(submission.submissions(store))
    if key not in last:
        raise near(key, {*last, *result.keys(store.results)}, "cell")
    for log in last[key].logs(key):
        text = log.read_text(errors="replace") if log.exists() else "(not started)"
        click.echo(f"{log}:\n{''.join(submission.about(key, text.splitlines(keepends=True)))}")
    for entry in attempt.history(store.results / key):
        click.echo(f"{time.ctime(entry['at'])}: {entry['fault']}: {entry['did']} {entry.get('node', '')}")
    if error := attempt.error(store.results / key):
        click.echo(f"{error['kind']}: {error['message']}\n{error.get('trace', '')}")


@main.command("cancel")
@click.argument("patterns", nargs=-1)
@somewhere
def cancel_command(patterns: tuple[str, ...]) -> None:
    """Stop cells that are queued or running; PATTERNS such as 'finetune*' choose some. What is done stays."""
    from slurm import status
    from slurm.submit import cancel

    known = setup()[1]
    with lock(known.store.logs / ".submitting"):  # what is being sent just now is to be stopped, too
        now = status.chosen(status.states(known), patterns)
        stopping = {key for key, state in now.items() if not state.ended or state.name == "blocked"}
        cancel(known.store, stopping)
    click.echo(f"cancelled {len(stopping)} cells")


@main.command("doctor")
@somewhere
def doctor_command() -> None:
    """What may keep a grid from running here, with the remedy. Exit code 1 if anything does."""
    from slurm.doctor import examine

    bad = 0
    for one in examine(setup()[0], setup()[1].store):
        click.echo(f"{'ok ' if one.well else 'BAD'} {one.seen}{'' if one.well else f'; {one.remedy}'}")
        bad += not one.well
    sys.exit(bad > 0)


def _get(cluster: Cluster, store: Store, name: str) -> None:
    """An image as the cluster's entry says: pulled from where it is published, or else built."""
    from slurm import build

    if cluster.images:
        _make("pull", store, name, cluster.runtime, source=build.published(cluster, name), again=False)
    else:
        _make("build", store, name, build.usable(cluster, "", build.BUILDERS), base=cluster.base)


def _make(how: str, store: Store, name: str, runtime: str, **more: Any) -> None:
    """Builds or pulls one image, with a line that tells how far it is."""
    from slurm import build, builder

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing half done is left
    began, terminal = time.time(), sys.stdout.isatty()
    with _console().status(f"{name}: waiting") as shown:

        def tell(line: str) -> None:
            if terminal:
                shown.update(f"{name}: {time.time() - began:.0f} s  {line[:100]}")
            elif builder.step(line):
                click.echo(f"{name}: {time.time() - began:.0f} s  {line[:150]}")

        made, new = getattr(build, how)(store, image.find(name), runtime, tell, **more)
    click.echo(f"{name}: {store.images / made.file}, {made.bytes / 1e9:.2f} GB, {made.digest[:19]}, "
               f"{f'{made.seconds:.0f} s' if new else 'is there already'}")  # fmt: skip


def _pair(word: str) -> tuple[str, str]:
    key, given, value = word.partition("=")
    if not given:
        raise Refusal(f"--build-arg {word}: it reads KEY=VALUE")
    return key, value


def _run(
    cluster: Cluster,
    known: Catalog,
    asked: Grid,
    *,
    every: bool = False,
    lenient: bool = False,
    stale: bool = False,
    build: bool = False,
    dry: bool = False,
    wait: bool = False,
    shown: bool = True,
) -> tuple[list[Cell], bool]:
    """Submits what is missing of a grid: its cells, and whether anything is wrong with them."""
    from slurm import send, status
    from suite import attempt

    get = partial(_get, cluster, known.store) if build and cluster.runtime and not dry else None
    sent = send.send(cluster, known, asked, click.echo, every=every, stale=stale, dry=dry, get=get)
    optional = {key for key, told in sent.blocked.items() if told["kind"] == attempt.NO_PACKAGE}
    if not lenient or len(optional) == len(sent.cells):
        optional = set()  # these are what was asked for
    wrong = bool(sent.bad or sent.blocked.keys() - optional)
    if wait and not dry:
        wrong = _wait(known, sent.cells, optional, shown=shown) or wrong
    elif not dry:
        _tend(known, sent.states, status.Look())
    return sent.cells, wrong


def _look(cluster: Cluster, known: Catalog, name: str, decode: bool) -> bool:
    """Tells what is to be said of a data set; whether nothing is amiss."""
    from slurm.check import check as opened
    from suite import adhoc, check, live, show

    place = adhoc.place(name, known)
    named = place.published if ":" not in name else None  # by its name alone: not a PATH, which was looked for already
    if named and not place.root.is_dir() and (absent := missing.data(named, known)):
        raise Refusal(absent)
    found = check.look(place)
    with live.bars("images") as (line, tell), line(name) as progress:
        tell("\n".join(show.looked(name, place.root, found)))
        images = opened(cluster, known.store, place.layout, place.root, progress, decode=decode)
        tell(show.opened(images, decode))
    return not found.faults and not images["faults"]


def _wait(known: Catalog, cells: Sequence[Cell], optional: Collection[str], *, shown: bool) -> bool:
    """A bar until nothing runs, is queued or will be tried again, then the table if it is to be `shown`; whether any
    cell failed, or is blocked and not `optional`."""
    from slurm import status
    from suite import live, show

    look = status.Look(again=True)

    def see(keys: Sequence[str]) -> dict[str, State]:
        now = status.states(known, keys, look=look)
        _tend(known, now, look)
        return now

    ended = live.wait(_console(), see, [cell.key for cell in cells])
    if shown:
        done = [cell for cell in cells if ended[cell.key].name == "done"]
        values = result.headlines(known.store.results, done)
        rest = {(c.task.label, c.dataset.name, c.model.name): ended[c.key].name for c in cells if c not in done}
        _console().print(*show.headlines(values, list(dict.fromkeys(cell.model.name for cell in cells)), rest))
    _tell(ended)
    fine = {key for key, state in ended.items() if state.name == "blocked"}.intersection(optional)
    bad = {key for key, state in ended.items() if state.name in ("failed", "blocked", "absent")}
    return bool(bad - fine)


def _tend(known: Catalog, now: dict[str, State], look: Look) -> None:
    """Lets Slurm have what waits for room in its queue, and what is to be tried again."""
    from slurm.retry import tend

    for line in tend(known, now, look):
        click.echo(line, err=True)


def _tell(now: Mapping[str, State]) -> None:
    from suite import show

    for line in show.reasons(now):
        _console().print(line, highlight=False, soft_wrap=True, emoji=False)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 140)


if __name__ == "__main__":
    main()
