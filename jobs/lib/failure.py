"""Failure: why a cell can fail, in the words that `status` shows."""

from __future__ import annotations

import errno

import torch

from jobs.lib.meeting import NotMet
from suite.checkpoint import CheckpointError
from suite.entry import Refusal
from suite.index import LayoutError


class BadData(Exception):
    """The dataset is not what its entry says, or an image cannot be read."""


class BadWeights(Exception):
    """The weights cannot be read, or do not fit the architecture."""


class Diverged(Exception):
    """A loss or a feature is not finite."""


class NoSpace(Exception):
    """What has to be written does not fit on the disk."""


class BadImage(Exception):
    """The image is not what it should be, or something of the host has slipped into it."""


class BadTask(Exception):
    """The task's entry asks for what its program cannot do."""


class RankEnded(Exception):
    """Another rank ended before its time; `kind` is why, 'killed' where it could not say."""

    def __init__(self, rank: int, kind: str, message: str) -> None:
        super().__init__(
            f"rank {rank} ended: {message}" if kind == "killed" else f"rank {rank} ended: {kind}: {message}"
        )
        self.kind = kind


AWAY = (errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN)
"""What a store answers that is away for a while: another attempt may find it."""

KINDS: dict[type[BaseException], str] = {
    BadData: "bad data",
    BadWeights: "bad weights",
    Diverged: "diverged",
    FloatingPointError: "diverged",  # detectron2's word for it
    NoSpace: "no space",
    LayoutError: "bad data",
    CheckpointError: "bad weights",
    BadTask: "bad task",
    BadImage: "bad image",
    NotMet: "lost",
    Refusal: "unknown entry",
    MemoryError: "out of memory",
    torch.OutOfMemoryError: "GPU out of memory",
}
ERRNOS = {
    errno.ENOSPC: "no space",
    errno.EDQUOT: "no space",
    errno.ENOMEM: "out of memory",
    **dict.fromkeys(AWAY, "store"),
}


def kind(error: BaseException) -> str:
    """The class of a failure: one of KINDS or of ERRNOS, 'files' for what else a disk says, and 'code' for the rest."""
    if isinstance(error, RankEnded):
        return error.kind
    for cause, told in KINDS.items():
        if isinstance(error, cause):
            return told
    if isinstance(error, OSError):
        return ERRNOS.get(error.errno or 0, "files")
    return "out of memory" if "can't allocate memory" in str(error) else "code"


def spoils(error: BaseException, device: torch.device) -> bool:
    """Whether a failure may fail what the same process does next: after a kernel that broke, CUDA refuses all others,
    and memory that ran out is held in pieces."""
    return device.type == "cuda" and kind(error) in ("code", KINDS[torch.OutOfMemoryError])


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
