"""Inside: what a program in a container makes sure of: its packages are the image's, and who started it still lives."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import torch

from jobs.lib.failure import BadImage

MANIFEST = Path("/opt/image/manifest.json")  # in every image
CHECKOUT = Path(__file__).resolve().parent.parent.parent
EX_ORPHANED = 70


def recipe() -> str:
    """The recipe of the image that we are in. BadImage unless this Python and its torch are the image's own, and not
    some of the host's that slipped in."""
    try:
        manifest = json.loads(MANIFEST.read_text())
    except OSError:
        raise BadImage(f"no {MANIFEST}: this is none of the images of containers/") from None
    prefix, found = Path(manifest["prefix"]), Path(torch.__file__)
    if Path(sys.prefix) != prefix or not found.is_relative_to(prefix):
        raise BadImage(f"torch comes from {found} and Python from {sys.prefix}, not from the image's {prefix}")
    own = (prefix, Path(sys.base_prefix), CHECKOUT)
    if strange := [path for path in sys.path if path and not any(map(Path(path).is_relative_to, own))]:
        raise BadImage(f"packages of {', '.join(strange)} may take the place of the image's; is PYTHONPATH set?")
    return str(manifest["recipe"])


def tether(stream: int = 0) -> None:
    """From now on this process ends when whoever holds the other end of its standard input does."""

    def wait() -> None:
        while os.read(stream, 4096):
            pass
        os._exit(EX_ORPHANED)  # what is on disk is whole at any time

    threading.Thread(target=wait, daemon=True).start()
