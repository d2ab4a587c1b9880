"""The program `python -m jobs`: which of its cells a failure costs."""

from __future__ import annotations

import pytest
import torch

from jobs import __main__ as program
from jobs.lib import failure, interrupt
from jobs.lib.failure import BadData
from jobs.lib.workspace import Workspace
from suite import attempt
from suite.catalog import Catalog

KEYS = [f"linear-v1/digits/pixels_8x8/{seed}" for seed in range(3)]
KERNEL = RuntimeError("CUDA error: device-side assert triggered")


@pytest.mark.parametrize(
    ("error", "device", "spoilt"),
    [
        (KERNEL, "cuda", True),
        (torch.OutOfMemoryError("CUDA out of memory"), "cuda", True),
        (BadData("an image cannot be read"), "cuda", False),
        (KERNEL, "cpu", False),
    ],
)
def test_a_failure_that_spoils_the_gpu_ends_the_process(
    error: Exception, device: str, spoilt: bool, known: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failed cell has its error either way; the cells behind it are left to a new process, or tried in this one."""
    workspace = Workspace(known.store, device="cpu")
    workspace.device = torch.device(device)

    def complete(key: str, *rest: object) -> None:
        raise error

    monkeypatch.setattr(program, "_complete", complete)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    assert program.lead(KEYS, workspace, "commit") == (interrupt.EX_TEMPFAIL if spoilt else 0)
    found = [attempt.error(known.store.results / key) for key in KEYS]
    assert [one and one["kind"] for one in found] == [failure.kind(error)] + [
        None if spoilt else failure.kind(error)
    ] * 2
