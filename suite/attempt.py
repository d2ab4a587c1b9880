"""Attempt: the traces that running a cell leaves beside its result: a heartbeat, and why it failed."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from suite.entry import Refusal
from suite.store import Store, read_json, write_json, write_text

BEAT_SECONDS = 5.0
LOST_AFTER_SECONDS = 60.0
RESERVED_BYTES = 8192
NO_IMAGE, NO_PACKAGE = "image", "package"
UNSENT = (NO_IMAGE, NO_PACKAGE)  # the kinds of error of cells that were not sent for want of one


def left(store: Store, key: str, since: float, *, gone: bool = False) -> bool:
    """Whether somebody began this cell after `since` (seconds since the epoch) and is gone without ending it. The
    caller may know that they are `gone`; a heartbeat of another machine tells it only after a minute."""
    start = began(store.results / key)
    return start is not None and start >= since and (gone or not beats(store.results / key))


def began(folder: Path) -> float | None:
    """When who is, or was last, at the cell of this folder began; None where nobody is."""
    path = folder / "heartbeat.json"
    try:
        written = path.stat().st_mtime
        return float(read_json(path)["began"])
    except FileNotFoundError:
        return None
    except Refusal:  # torn by a crash, or being written: the file's own time has to do
        return written


def pick_up(store: Store, key: str, since: float = 0.0, *, gone: bool = False, **more: Any) -> None:
    """Notes, if nobody has, that whoever was last at this cell went without a word, and takes their heartbeat away.
    For who begins it anew."""
    folder = store.results / key
    start = began(folder)
    if start is not None and left(store, key, since, gone=gone):
        if not any(entry["at"] >= start for entry in history(folder)):
            note(folder, "restarted", "begun again", **more)
        (folder / "heartbeat.json").unlink(missing_ok=True)


def ended(store: Store, key: str, since: float) -> bool:
    """Whether this cell got its result or its error after `since` (seconds since the epoch). An error tells its own
    time; a result is also that of a moment before, since a file server has a clock of its own."""
    try:
        if (store.results / key / "result.json").stat().st_mtime >= since - 1.0:
            return True
    except FileNotFoundError:
        pass
    found = error(store.results / key)
    return found is not None and found["kind"] not in UNSENT and bool(found["at"] >= since)


def beats(folder: Path) -> bool:
    """Whether the cell of this folder is being run: its process lives, or was heard of within the last minute."""
    path = folder / "heartbeat.json"
    try:
        age = time.time() - path.stat().st_mtime
        beat = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return False
    if beat["host"] == socket.gethostname():
        return bool(beat["born"] == _born(beat["pid"]))
    return age < LOST_AFTER_SECONDS


def at_work(folder: Path) -> int:
    """The process of this machine that runs the cell of this folder, or 0."""
    try:
        beat = json.loads((folder / "heartbeat.json").read_text())
    except (OSError, ValueError):
        return 0
    return int(beat["pid"]) if beat["host"] == socket.gethostname() else 0


@contextmanager
def heartbeat(folder: Path) -> Iterator[None]:
    """Says every few seconds that this cell is being run. The file is large enough to hold an error later, so that
    even a full disk cannot keep a failure from being recorded."""
    path = folder / "heartbeat.json"
    who = {"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}
    beat = json.dumps({**who, "began": time.time()})
    write_text(path, beat.ljust(RESERVED_BYTES))
    stop = threading.Event()

    def keep() -> None:
        while not stop.wait(BEAT_SECONDS):
            try:
                os.utime(path)
            except OSError:
                continue  # a store that is away for a while must not end the cell

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        path.unlink(missing_ok=True)


def fail(folder: Path, **error: Any) -> None:
    """Records why a cell failed (`kind`, `message`, ...); on a full disk, in the space the heartbeat kept."""
    try:
        write_json(folder / "error.json", error)
    except OSError:
        error.pop("trace", None)
        error["message"] = str(error["message"])[: RESERVED_BYTES // 4]
        reserved = folder / "heartbeat.json"
        with open(reserved, "r+") as file:
            file.write(json.dumps(error).ljust(RESERVED_BYTES))
        os.replace(reserved, folder / "error.json")


def died(store: Store, key: str, code: int, **more: Any) -> None:
    """Records that the process at this cell ended without a word; `more` may say better than the exit code why."""
    known = -code in {one.value for one in signal.Signals}
    told = f"was killed by {signal.Signals(-code).name}" if known else f"ended with exit code {code}"
    hint = "; out of memory?" if code == -signal.SIGKILL else ""
    folder = store.results / key
    fail(folder, **{"key": key, "kind": "killed", "message": f"the process {told}{hint}", "at": time.time(), **more})
    (folder / "heartbeat.json").unlink(missing_ok=True)


def history(folder: Path) -> list[dict[str, Any]]:
    """What befell the cell of this folder and what was done about it, oldest first."""
    return read_json(folder / "history.json") or []


def note(folder: Path, fault: str, did: str, **more: Any) -> None:
    """Adds to a cell's history; only who has the cell does so: its job, or, when that is gone, the launcher."""
    write_json(folder / "history.json", [*history(folder), {"fault": fault, "did": did, "at": time.time(), **more}])


def error(folder: Path) -> dict[str, Any] | None:
    """Why the cell of this folder failed, or None."""
    try:
        found: dict[str, Any] | None = read_json(folder / "error.json")
    except Refusal as unreadable:
        return {"kind": "store", "message": str(unreadable), "at": time.time()}
    return found


def _born(pid: int) -> str:
    """When a process began, in clock ticks since the machine did: no other process of this number has the same.
    Empty for one that is gone, or a zombie."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else fields[18]
