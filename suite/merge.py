"""Merge: what was unpacked aside, moved to where it belongs; no file is written over, and no link followed."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from pathlib import Path, PurePosixPath

from suite.disk import writing
from suite.index import some
from suite.part import Failed

RECORD = ".brought.json"  # of a folder, what was unpacked into it
REMARK = re.compile(r"(readme|licen[cs]e).*", re.IGNORECASE)  # files that archives of one data set may both have


def base(aside: Path, path: PurePosixPath) -> PurePosixPath:
    """The folder of data/ below which an archive's own paths lie: the data set's, or, where all that the archive holds
    begins with the end of that one's path, so much higher up."""
    for first in range(len(path.parts)):
        folder = aside
        for part in path.parts[first:]:
            if [entry.name for entry in folder.iterdir()] != [part] or not (folder / part).is_dir():
                break
            folder = folder / part
        else:
            return PurePosixPath(*path.parts[:first])
    return path


def merge(aside: Path, to: Path) -> None:
    """Moves all that is in a folder to another, in which it may be already. Failed, and nothing moved, where it would
    go through a link, or onto something else."""
    moves, odd = list[tuple[Path, Path]](), list[str]()
    with writing(to):
        to.mkdir(parents=True, exist_ok=True)
    for path in aside.iterdir():
        _compare(path, to / path.name, moves, odd)
    if odd:
        raise Failed(f"{len(odd)} of its files are there already, as others ({some(odd)}); move these away")
    for path, goal in moves:
        with writing(goal):
            path.rename(goal)
    shutil.rmtree(aside)


def _compare(path: Path, goal: Path, moves: list[tuple[Path, Path]], odd: list[str]) -> None:
    if path.name == RECORD:
        return
    if not os.path.lexists(goal):
        moves.append((path, goal))
    elif goal.is_symlink() or path.is_dir() != goal.is_dir():
        odd.append(str(goal))
    elif path.is_dir():
        for inner in path.iterdir():
            _compare(inner, goal / inner.name, moves, odd)
    elif not REMARK.fullmatch(path.name) and not filecmp.cmp(path, goal, shallow=False):
        odd.append(str(goal))
