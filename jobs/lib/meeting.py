"""Meeting: how the ranks of a job find each other without a fixed port, and hear at once that one of them has ended.

Rank 0 listens on a free port and writes where into a file that every rank sees:

    ADDRESS PORT TOKEN               one line for each address that may be the one others reach

The others connect, and say and hear the token: whoever does not know it is somebody else, at an address that an earlier
attempt has left. The connections stay open and carry lines of JSON; the end of one is the end of a process.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import secrets
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from jobs.lib import interrupt
from suite.store import write_text

SECONDS = 300.0  # containers start minutes apart
ANSWER_SECONDS = 3.0
ASK_FOR_ADDRESS = 0x8915  # SIOCGIFADDR


class NotMet(Exception):
    """Not every rank came, or rank 0 was not found."""


class Line:
    """A connection to another rank."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(ANSWER_SECONDS)
        self._file = connection.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()

    def say(self, **words: Any) -> None:
        """Tells the other rank something; nothing where it is gone."""
        with self._lock, suppress(OSError):
            self._socket.sendall((json.dumps(words) + "\n").encode())

    def hear(self) -> dict[str, Any]:
        """The next thing that the other rank says; {} where it is gone, or speaks another language."""
        try:
            said = json.loads(self._file.readline(1 << 16))
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    def keep(self) -> Line:
        """The same line, to be listened to for long; a machine that is gone is noticed within a minute."""
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
            self._socket.setsockopt(socket.IPPROTO_TCP, option, value)
        return self

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that listens
        self._socket.close()

    @property
    def interface(self) -> str:
        """The network interface that it goes over; '' for loopback."""
        own = self._socket.getsockname()[0]
        return "" if ipaddress.ip_address(own).is_loopback else _interface(own)


def host(file: Path, count: int, seconds: float = SECONDS, **facts: Any) -> dict[int, Line]:
    """Rank 0's part: a line to each of the other ranks, which are told `facts`. NotMet if not all came in time."""
    token, lines, until = secrets.token_hex(8), {}, time.monotonic() + seconds
    with socket.create_server(("", 0), backlog=count) as server:
        server.settimeout(0.5)
        port = server.getsockname()[1]
        write_text(file, "".join(f"{address} {port} {token}\n" for address in addresses()))
        while missing := sorted(set(range(1, count)) - lines.keys()):
            interrupt.check()
            if time.monotonic() > until:
                raise NotMet(f"rank {', '.join(map(str, missing))} of {count} did not come within {seconds:.0f} s")
            with suppress(TimeoutError):
                lines |= _greeted(server.accept()[0], token, facts)
    return lines


def join(file: Path, rank: int, seconds: float = SECONDS) -> tuple[Line, str, dict[str, Any]]:
    """The part of every other rank: (line to rank 0, its address, its facts). NotMet if it is not found in time."""
    until, why = time.monotonic() + seconds, "it is not there"
    while time.monotonic() < until:
        interrupt.check()
        for address, port, token in _places(file):
            try:
                line = Line(socket.create_connection((address, int(port)), ANSWER_SECONDS))
            except OSError as error:
                why = f"nobody answers at {address}:{port} ({error})"
                continue
            line.say(token=token, rank=rank)
            if (facts := line.hear()).get("token") == token:
                return line.keep(), address, facts
            line.close()
            why = f"somebody else answers at {address}:{port}"
        time.sleep(0.2)
    raise NotMet(f"rank {rank} did not find rank 0 within {seconds:.0f} s by {file}: {why}")


def addresses() -> list[str]:
    """How this machine may be reached: its address, its name, and for ranks beside this one, loopback."""
    found = [socket.gethostname(), "127.0.0.1"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # of no one; nothing is sent, but the way out is chosen
        found.insert(0, probe.getsockname()[0])
    return found


def _places(file: Path) -> list[list[str]]:
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return []
    return [words for line in lines if len(words := line.split()) == 3 and words[1].isdecimal()]


def _greeted(connection: socket.socket, token: str, facts: dict[str, Any]) -> dict[int, Line]:
    line = Line(connection)
    said = line.hear()
    if said.get("token") != token:
        line.close()
        return {}
    line.say(token=token, **facts)
    return {said["rank"]: line.keep()}


def _interface(address: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # one without an address
                asked = struct.pack("256s", name.encode())
                if socket.inet_ntoa(fcntl.ioctl(probe, ASK_FOR_ADDRESS, asked)[20:24]) == address:
                    return name
    return ""
