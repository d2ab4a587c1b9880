"""Machine: what of it this process may use, and the most memory that it has used."""

from __future__ import annotations

import ctypes
import os
import re
import resource
from contextlib import suppress
from pathlib import Path

import torch

GB = 2**30  # as Slurm counts
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt


def cores(granted: int = 0) -> int:
    """How many cores may be used: those of this process's affinity, and no more than were granted (0: not said)."""
    here = len(os.sched_getaffinity(0))
    return min(here, granted or here)


def device(local: int = 0) -> str:
    """The GPU of the `local`-th rank here; where a rank sees its own GPU alone, that; 'cpu' where there is none."""
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{local % seen}" if seen else "cpu"


def keep_memory() -> None:
    """What is freed stays this process's, to be used again: activations of a training step on a CPU are too large for
    glibc to keep by itself, and zeroing their pages step after step takes a tenth of its time. No effect elsewhere."""
    with suppress(AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def forget_peak(device: torch.device) -> None:
    """From here on the peaks are counted anew, without what was kept for others."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):  # a kernel that does not allow it: the peak is then that of the whole process
        Path("/proc/self/clear_refs").write_text("5")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_gb() -> float:
    """The most memory that was resident since `forget_peak`, memory-mapped files included."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    kilobytes = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kilobytes * 1024 / GB, 3)


def gpu_peak_gb(device: torch.device) -> float:
    """The most GPU memory that tensors held since `forget_peak`; 0.0 on a CPU."""
    return round(torch.cuda.max_memory_allocated(device) / GB, 3) if device.type == "cuda" else 0.0
