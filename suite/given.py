"""Given: a folder that a user has, which is one of the published data sets: known again, counted, and linked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from suite import adhoc, check, packed
from suite.dataset import Dataset
from suite.entry import Refusal
from suite.index import LayoutError, folders, some


def linked(dataset: Dataset, root: Path, given: Path, archives: Sequence[str]) -> str:
    """Links a data set's place to the folder that has it, and returns a line saying so: `given`, one in it, or the one
    that it is in. '' where `given` is an archive, or a folder that holds some of its `archives`; Refusal where it is
    neither, which says what it is."""
    if given.is_file():
        return ""
    faults = list[str]()
    for folder in _candidates(given, root.name):
        is_packed = packed.holds(folder, dataset.layout)
        try:
            if not is_packed and not adhoc.layout(dataset.layout).recognise(folder):
                continue
            odd = check.differences(dataset, adhoc.read(dataset.layout, folder))
        except LayoutError as fault:
            odd = [str(fault).removeprefix(f"{folder}: ")]
        if not odd:
            return _link(dataset, *((packed.folder(one) if is_packed else one) for one in (root, folder)))
        faults.append(f"{folder} {odd[0]}; to measure on it as it is: --datasets {dataset.layout}:{folder}")
    if any((given / name).is_file() for name in archives):
        return ""
    if faults:
        raise Refusal(f"{dataset.name}: {faults[0]}")
    raise Refusal(f"{dataset.name}: {_described(dataset, given, archives)}")


def _candidates(given: Path, name: str) -> Iterator[Path]:
    """Where a data set may be that is called `name`, the likeliest first."""
    inner = [given / one for one in folders(given)]
    likely = [one for one in (given, *inner) if one.name == name]
    unpacked = [given.with_name(given.name.removesuffix(packed.SUFFIX))] if given.name.endswith(packed.SUFFIX) else []
    yield from dict.fromkeys([*unpacked, *likely, given, *inner, given.parent])


def _link(dataset: Dataset, root: Path, folder: Path) -> str:
    if root.is_dir() and not root.is_symlink() and not any(root.iterdir()):
        root.rmdir()
    if root.exists() or root.is_symlink():
        raise Refusal(f"{dataset.name}: {root} is there, and not the whole data set; move it away, then link {folder}")
    root.parent.mkdir(parents=True, exist_ok=True)
    root.symlink_to(folder)
    counts = ", ".join(f"{split} {count}" for split, count in dataset.counts.items())
    return f"{dataset.name}: {root}, a link to {folder}, {counts}, as published"


def _described(dataset: Dataset, given: Path, archives: Sequence[str]) -> str:
    """What a folder is that does not do."""
    whole = [name for name in adhoc.layout_names() if name != "images" and "/" not in name]
    if others := [name for name in whole if adhoc.fits(name, given)]:
        ways = " or ".join(f"--datasets {name}:{given}" for name in others)
        return f"{given} has the layout {' and '.join(others)}, not {dataset.layout}; it can be measured on as {ways}"
    wanted = f"the files {', '.join(archives)}, or " if archives else ""
    held = some(sorted(path.name for path in given.iterdir())) or "nothing"
    return f"{given} holds {held}; expected {wanted}a folder in the layout {dataset.layout}, of {dataset.source}"
