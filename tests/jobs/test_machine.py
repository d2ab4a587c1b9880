"""What a machine says of itself, and the words for what goes wrong on it."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import torch

from jobs.lib import failure, machine
from jobs.lib.failure import RankEnded

CPU = torch.device("cpu")


def test_cores_are_those_granted_that_there_are() -> None:
    here = len(os.sched_getaffinity(0))
    assert [machine.cores(granted) for granted in (0, 1, here, here + 7)] == [here, 1, here, here]


def test_the_peak_is_that_since_it_was_forgotten() -> None:
    machine.forget_peak(CPU)
    before = machine.peak_gb()
    block = np.ones(50_000_000)
    held = machine.peak_gb()
    del block
    assert 0.3 < held - before < 0.5  # 0.37 GiB
    assert machine.peak_gb() == pytest.approx(held, abs=0.01)  # the kernel counts in lots
    machine.forget_peak(CPU)
    assert machine.peak_gb() < held - 0.3
    assert machine.gpu_peak_gb(CPU) == 0.0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "GPU out of memory"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte"), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (OSError(errno.ENOSPC, "No space left"), "no space"),
        (OSError(errno.EDQUOT, "Quota"), "no space"),
        (OSError(errno.ESTALE, "Stale file handle"), "store"),
        (OSError(errno.EROFS, "Read-only"), "store"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "files"),
        (RankEnded(1, "GPU out of memory", "2 GB"), "GPU out of memory"),
        (RuntimeError("anything"), "code"),
    ],
)
def test_failures_have_their_words(error: Exception, kind: str) -> None:
    assert failure.kind(error) == kind
