"""Failure: why a cell can fail, in the words that `status` shows."""

from __future__ import annotations

import errno

import torch

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


KINDS: dict[type[BaseException], str] = {
    BadData: "bad data",
    BadWeights: "bad weights",
    Diverged: "diverged",
    NoSpace: "no space",
    LayoutError: "bad data",
    CheckpointError: "bad weights",
    Refusal: "unknown entry",
    MemoryError: "out of memory",
    torch.OutOfMemoryError: "out of memory",
}


def kind(error: BaseException) -> str:
    """The class of a failure: one of KINDS, 'no space' for a full disk, and 'code' for all else."""
    for cause, told in KINDS.items():
        if isinstance(error, cause):
            return told
    if isinstance(error, OSError):
        return "no space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "store"
    return "out of memory" if "can't allocate memory" in str(error) else "code"
