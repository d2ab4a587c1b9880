"""Squash: a data set's folder in one SquashFS, which is mounted in its place."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from suite.adhoc import Place
from suite.disk import room, writing
from suite.entry import Refusal
from suite.pack import index
from suite.part import Progress

POLL_SECONDS = 0.5


def squash(place: Place, progress: Progress) -> str:
    """Writes a data set's folder into one SquashFS beside it, NAME.squashfs, and says how it is mounted. Refusal where
    there is no mksquashfs, or it fails."""
    root, to = place.root, place.root.with_name(f"{place.root.name}.squashfs")
    mount = f"to read it: remove {root}, make it anew, empty, and squashfuse {to} {root} (or mount -o loop,ro)"
    if to.exists():
        return f"{root.name}: is in {to}; {mount}"
    program = shutil.which("mksquashfs")
    if not program:
        raise Refusal("no mksquashfs on PATH: install squashfs-tools; without --squashfs tar shards are written")
    index(place)
    aside = to.with_name(f".{to.name}.{os.getpid()}")
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    room(to, size)
    # Without compression of what is compressed already; as root's, and readable as it is for who may read the file.
    words = [program, f"{root.resolve()}", f"{aside}", "-noappend", "-no-progress", "-noD", "-noF", "-all-root"]
    try:
        with writing(aside), open(f"{aside}.log", "w+") as log:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            try:
                while process.poll() is None:
                    progress(aside.stat().st_size if aside.exists() else 0, size)
                    time.sleep(POLL_SECONDS)
            finally:
                process.kill()
            log.seek(0)
            told = log.read().strip().splitlines() or ["no word"]
        if process.returncode:
            raise Refusal(f"{root.name}: mksquashfs failed: {told[-1]}")
        os.replace(aside, to)
    finally:
        for path in (aside, Path(f"{aside}.log")):
            path.unlink(missing_ok=True)
    return f"{root.name}: {to}, {to.stat().st_size / 1e9:.3g} GB; {mount}"
