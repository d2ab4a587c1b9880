"""Interrupt: SIGUSR2 says that this process must go soon. It leaves from where that does no harm, with EX_TEMPFAIL.

Unless told otherwise the signal is only noted, and `check` raises. Within `anywhere` it raises Interrupted wherever the
program is: what is on disk is whole at any time. A program that keeps a checkpoint says `deferred`, looks at `asked`
after each step, saves, and raises Interrupted itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EX_TEMPFAIL = os.EX_TEMPFAIL  # 75: no failure; the same command goes on from here

_asked = False
_anywhere = False


class Interrupted(BaseException):
    """This process was asked to go; the message says what was saved. Not an Exception: it is no failure of a cell."""

    def __init__(self, saved: str = "no checkpoint") -> None:
        super().__init__(saved)


def listen() -> None:
    """From now on SIGUSR2 is heard, also one that came while whoever started this process held it back."""
    signal.signal(signal.SIGUSR2, _hear)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})


def asked() -> bool:
    """Whether this process was asked to go."""
    return _asked


def check() -> None:
    """Interrupted if this process was asked to go."""
    if _asked:
        raise Interrupted


@contextmanager
def anywhere() -> Iterator[None]:
    """Within it Interrupted may come at any point."""
    global _anywhere
    try:
        _anywhere = True
        check()
        yield
    finally:
        _anywhere = False


@contextmanager
def deferred() -> Iterator[None]:
    """Within it, and within `anywhere`, Interrupted comes from the program alone."""
    global _anywhere
    before, _anywhere = _anywhere, False
    try:
        yield
    finally:
        _anywhere = before


def _hear(number: int, frame: FrameType | None) -> None:
    global _asked, _anywhere
    _asked = True
    if _anywhere:
        _anywhere = False  # once: a second signal must not disturb the leaving
        raise Interrupted
