"""Two: what a function gives in each of two ranks, in two processes that are copies of this one."""

from __future__ import annotations

import multiprocessing
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from jobs.lib.ranks import Ranks

LONGEST = timedelta(seconds=60)


def two(function: Callable[[Ranks], Any]) -> list[Any]:
    """function(ranks) of rank 0 and of rank 1; the function may be a closure, its results are what torch.save takes."""
    copies = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        ran = [copies.Process(target=_run, args=(function, rank, Path(folder))) for rank in (0, 1)]
        for process in ran:
            process.start()
        for process in ran:
            process.join(2 * LONGEST.total_seconds())
            process.kill()
        told = [file.read_text() for file in sorted(Path(folder).glob("*.txt"))]
        if told or any(process.exitcode for process in ran):
            raise RuntimeError("\n".join(told) or f"exit codes {[process.exitcode for process in ran]}")
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


def _run(function: Callable[[Ranks], Any], rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    try:
        store = dist.FileStore(str(folder / "store"), 2)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=LONGEST)
        torch.save(function(Ranks(rank, 2, rank)), folder / f"{rank}.pt")
        dist.barrier()
    except BaseException:
        (folder / f"{rank}.txt").write_text(f"rank {rank}: {traceback.format_exc()}")
        raise SystemExit(1) from None
