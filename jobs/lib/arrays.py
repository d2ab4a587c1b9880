"""Arrays: files of named arrays, which appear whole."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from suite.store import write_bytes


def save(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes name -> array, or what makes one, as an .npz, compressed."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    write_bytes(path, packed.getvalue())
