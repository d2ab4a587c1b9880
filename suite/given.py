"""Given: a folder that a user has, which is one of the published data sets: known again, counted, and linked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from suite import adhoc, check, packed
from suite.dataset import Dataset
from suite.entry import Refusal
from suite.index import LayoutError, folders, some


def linked(dataset: Dataset, root: Path, given: Path, archives: Sequence[str], *, held: bool) -> str:
    """Links a data set's place to the folder that has it, and returns a line saying so: `given`, one in it, or the one
    that it is in. '' where `given` is an archive, or a folder in which some of its `archives` are `held`; Refusal where
    it is neither, which says what it is."""
    if given.is_file():
        return ""
    faults = list[str]()
    for folder in _candidates(given, PurePosixPath(dataset.path)):
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
    if held:
        return ""
    if faults:
        raise Refusal(f"{dataset.name}: {faults[0]}")
    raise Refusal(f"{dataset.name}: {_described(dataset, given, archives)}")


def _candidates(given: Path, path: PurePosixPath) -> Iterator[Path]:
    """Where a data set may be whose place is `path`, the likeliest first: for VOCdevkit/VOC2007 the year's folder
    before the ones around it, which can be read as it, too."""
    inner = [given / one for one in folders(given)]
    ends = [given.joinpath(*path.parts[start:]) for start in range(len(path.parts))]
    likely = [one for one in (given, *ends) if one.name == path.name and one.is_dir()]
    unpacked = [given.with_name(given.name.removesuffix(packed.SUFFIX))] if given.name.endswith(packed.SUFFIX) else []
    yield from dict.fromkeys([*unpacked, *likely, given, *inner, given.parent])


def _link(dataset: Dataset, root: Path, folder: Path) -> str:
    if root.is_dir() and not root.is_symlink() and all(_links(one, folder / one.name) for one in root.iterdir()):
        for part in root.iterdir():  # such as a year of VOC's, which stays there as a part of the whole
            part.unlink()
        root.rmdir()
    if root.exists() or root.is_symlink():
        raise Refusal(f"{dataset.name}: {root} is there, and not the whole data set; move it away, then link {folder}")
    root.parent.mkdir(parents=True, exist_ok=True)
    root.symlink_to(folder)
    counts = ", ".join(f"{split} {count}" for split, count in dataset.counts.items())
    return f"{dataset.name}: {root}, a link to {folder}, {counts}, as published"


def _links(path: Path, goal: Path) -> bool:
    return path.is_symlink() and path.resolve() == goal.resolve()


def _described(dataset: Dataset, given: Path, archives: Sequence[str]) -> str:
    """What a folder is that does not do."""
    whole = [name for name in adhoc.layout_names() if name != "images" and "/" not in name]
    if others := [name for name in whole if adhoc.fits(name, given)]:
        ways = " or ".join(f"--datasets {name}:{given}" for name in others)
        return f"{given} has the layout {' and '.join(others)}, not {dataset.layout}; it can be measured on as {ways}"
    wanted = f"the files {', '.join(archives)}, or " if archives else ""
    held = some(sorted(path.name for path in given.iterdir())) or "nothing"
    return f"{given} holds {held}; expected {wanted}a folder in the layout {dataset.layout}, of {dataset.source}"
