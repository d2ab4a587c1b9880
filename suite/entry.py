"""What all entries share: their names, and the facts that decide a number."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import field, fields, is_dataclass
from typing import Any


class Refusal(ValueError):
    """What a user asked for cannot be done; the message says what was given, what is known and what to do."""


def remark(default: Any = "") -> Any:
    """A field that is told but changes no number (licence, citation, resources): it never makes a result stale."""
    return field(default=default, metadata={"remark": True})


def rare(default: Any = None) -> Any:
    """A field that few entries have: a fact where it is set, and where it is not, as if there were no such field."""
    return field(default=default, metadata={"rare": default})


def as_json(value: Any, *, facts_only: bool = False) -> Any:
    """An entry as plain JSON values; with `facts_only`, without its remarks."""
    if is_dataclass(value) and not isinstance(value, type):
        kept = [f for f in fields(value) if not (facts_only and f.metadata.get("remark"))]
        kept = [f for f in kept if "rare" not in f.metadata or getattr(value, f.name) != f.metadata["rare"]]
        return {f.name: as_json(getattr(value, f.name), facts_only=facts_only) for f in kept}
    if isinstance(value, Mapping):
        return {str(k): as_json(v, facts_only=facts_only) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(v, facts_only=facts_only) for v in value]
    return value


def digest(value: Any, length: int = 16) -> str:
    """The first `length` hex digits of SHA-256 over the facts of a value; equal facts, equal digest."""
    text = json.dumps(as_json(value, facts_only=True), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def plain(text: str) -> str:
    """`text` with what may not stand in a name replaced by '-', and no longer than 80 characters."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-.")[:80] or "unnamed"


def near(name: str, known: Iterable[str], what: str) -> Refusal:
    """The refusal of an unknown name, with its nearest known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=4, cutoff=0.5) or [n for n in names if name in n][:4]
    told = f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(names[:12]) or 'none'}"
    return Refusal(f"unknown {what} {name!r}; {told}")
