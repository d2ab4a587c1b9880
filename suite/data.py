"""Data: brings a published data set into the store: its archives fetched or found, checked and unpacked, or its folder
linked to where it is.

    STORE/data/PATH/                    the data set, which appears once all of it is there
        .brought.json                   what was unpacked into it
    STORE/data/.archives/PATH/NAME      archives on their way, and those that are to be kept
        unpacked/                       what will be moved into STORE/data, as it will lie there
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from suite import adhoc, archive, check, download, given, merge, missing, packed
from suite.catalog import Catalog
from suite.dataset import Archive, Dataset
from suite.disk import mine, writing
from suite.entry import Refusal
from suite.index import LayoutError, some
from suite.merge import RECORD
from suite.part import Failed, Part, Progress
from suite.store import read_json, write_json

if TYPE_CHECKING:
    from suite.fetch import How

ARCHIVES, UNPACKED = ".archives", "unpacked"


def bring(dataset: Dataset, known: Catalog, progress: Progress, how: How) -> str:
    """Brings a data set, and returns a line saying where it is; Refusal says what each of its addresses gave, or which
    files are to be brought by hand, and from where."""
    root = known.store.data / dataset.path
    if how.given and not how.given.exists():
        raise Refusal(f"--from {how.given}: no such file or folder")
    if told := _there(dataset, known):
        return told
    home = known.store.data / ARCHIVES / root.relative_to(known.store.data).as_posix().replace("/", "-")
    own = home.with_name(f".{PurePosixPath(dataset.path).parts[0]}.lock")
    with mine(own, f"another fetch is at {dataset.name}: waiting for it", how.tell):
        if told := _there(dataset, known):
            return told
        if root.is_symlink():
            raise Refusal(
                f"{dataset.name}: {root} is a link to {os.readlink(root)}, where nothing is written; bring into it "
                f"what is missing of {dataset.source}, or remove the link and fetch it anew"
            )
        bringing = _Bringing(dataset, known.store.data, home, progress, how)
        if how.given:
            held = any(bringing.found(one) for one in dataset.archives)
            called = [" or ".join(_called(one)) for one in dataset.archives]
            if told := given.linked(dataset, root, how.given.absolute(), called, held=held):
                return told
        try:
            return bringing.bring()
        finally:
            with suppress(OSError):  # what is in them is gone on with
                (home / UNPACKED).rmdir()
            with suppress(OSError):
                home.rmdir()


def file_name(url: str) -> str:
    """What a published file is called: the end of its address, or what is said behind a '#'."""
    parts = urlsplit(url)
    return PurePosixPath(unquote(parts.fragment or parts.path)).name


def by_hand(dataset: Dataset, one: Archive) -> bool:
    """Whether only a person gets an archive: its address is the data set's page, with the file's name behind '#'."""
    return not _urls(dataset, one)


def _urls(dataset: Dataset, one: Archive) -> list[str]:
    return [url for whole in one.urls if (url := whole.partition("#")[0]) != dataset.page]


def _zipped(one: Archive) -> dict[str, str]:
    """Zip that an archive is published in -> its name there, of addresses that end in '#ZIP/NAME'."""
    inner = [urlsplit(url).fragment.partition("/") for url in one.urls]
    return {outer: name for outer, _, name in inner if name}


def _called(one: Archive) -> list[str]:
    """The names by which an archive may be brought, each once."""
    return list(dict.fromkeys([*map(file_name, one.urls), *_zipped(one)]))


def _names(dataset: Dataset) -> list[str]:
    return [name for one in dataset.archives for name in _called(one)]


def _there(dataset: Dataset, known: Catalog) -> str:
    """A line that says where a data set is, '' where it is not there, or what was brought of it is not all."""
    root = known.store.data / dataset.path
    if missing.data(dataset, known):
        return ""
    if packed.holds(root, dataset.layout):
        return f"{dataset.name}: is there, packed in {packed.folder(root)}"
    if _begun(dataset, known.store.data):
        return ""
    return f"{dataset.name}: is there, {root}{f', a link to {os.readlink(root)}' if root.is_symlink() else ''}"


def _begun(dataset: Dataset, data: Path) -> bool:
    """Whether only a part of a data set may be there: archives of it were unpacked, and it was not found to be whole
    afterwards; or there are links in its folder, such as another data set's, and it is not whole."""
    root = data / dataset.path
    if not root.is_symlink() and any(path.is_symlink() for path in root.iterdir()):
        try:
            return bool(check.differences(dataset, adhoc.read(dataset.layout, root)))
        except LayoutError:
            return True
    names = {entry["file"] for folder in _near(data, dataset.path) for entry in _record(folder)["unpacked"]}
    return dataset.name not in _record(data / dataset.path)["whole"] and not names.isdisjoint(_names(dataset))


def _near(data: Path, path: str) -> list[Path]:
    """A data set's folder, those that it is in and those in it, which may be other data sets' that share archives."""
    root = data / path
    return [root, *root.parents[: path.count("/")], *root.glob("[!.]*/")] if root.is_dir() else []


def _record(folder: Path) -> dict[str, Any]:
    """What was `unpacked` into a folder: each `file`, its digest, and the `base` that its own paths are below, in the
    store's data/; and the data sets that were found to be `whole`."""
    return {"unpacked": [], "whole": []} | (read_json(folder / RECORD) or {})


@dataclass(frozen=True)
class _Bringing:
    """One data set on its way into the store's data/, over a `home` that is its alone."""

    dataset: Dataset
    data: Path
    home: Path
    progress: Progress
    how: How

    def bring(self) -> str:
        one, laid = self.dataset, self.home / UNPACKED
        with writing(laid):
            laid.mkdir(parents=True, exist_ok=True)
        failed: dict[str, str] = {}
        for published in self._archives():
            name = file_name(published.urls[0])
            if self._is_done(published):
                continue
            try:
                self._lay(published, name)
            except Failed as fault:
                found = self.found(published)
                failed[name] = f"{found}: {fault}" if found and found.name != name else str(fault)
        if (failed or not self._archives()) and not self.root.is_dir():
            raise Refusal(f"{one.name}: {self._left(failed)}")
        try:
            self._move()
        except Failed as fault:
            raise Refusal(f"{one.name}: {fault}; then the same command goes on") from None
        try:
            adhoc.settle(one.layout, self.root)
            odd = [f"{self.root} {told}" for told in check.differences(one, adhoc.read(one.layout, self.root))]
        except LayoutError as fault:
            odd = [str(fault)]
        if odd and failed:
            raise Refusal(f"{one.name}: {odd[0]}; {self._left(failed)}")
        if odd:
            raise Refusal(
                f"{one.name}: {odd[0]}; all is unpacked that can be fetched, and it takes {one.source}; move it away "
                f"to bring it anew, or measure on it as it is: --datasets {one.layout}:{self.root}"
            )
        record = _record(self.root)
        write_json(self.root / RECORD, record | {"whole": sorted({*record["whole"], one.name})})
        counts = ", ".join(f"{split} {count}" for split, count in one.counts.items())
        return f"{one.name}: {self.root}, {counts}, as published (licence {one.licence})"

    @property
    def root(self) -> Path:
        return self.data / self.dataset.path

    def _archives(self) -> list[Archive]:
        """The published archives; of a data set that none are known of, the one that was given."""
        one, path = self.dataset, self.how.given
        if not path or not path.is_file() or path.name in _names(one):
            return list(one.archives)
        if len(one.archives) > 1:
            raise Refusal(
                f"{one.name}: --from {path} is none of {', '.join(_names(one))}; name one, or a folder of them"
            )
        return [replace(held, urls=(f"#{path.name}",)) for held in one.archives] or [Archive((f"#{path.name}",))]

    def _is_done(self, published: Archive) -> bool:
        """Whether an archive was unpacked already, for this data set or for one whose folder is about this one's."""
        path, near = PurePosixPath(self.dataset.path), _near(self.data, self.dataset.path)
        bases = {str(path / published.to), *([] if published.to else map(str, path.parents))}
        entries = [entry for folder in [*near, self.home / UNPACKED / path] for entry in _record(folder)["unpacked"]]
        name = file_name(published.urls[0])
        return any(entry["file"] == name and entry["base"] in bases for entry in entries)

    def _lay(self, published: Archive, name: str) -> None:
        """Brings an archive and unpacks it into what is to be moved; Failed says why not."""
        path, here = PurePosixPath(self.dataset.path), self.found(published)
        aside, laid = self.home / ".aside", self.home / UNPACKED
        if here and (inner := _zipped(published).get(here.name)):
            (here,) = archive.unpack(here, inner, self.home / here.name)
        if here and here.is_dir():
            digest = ""  # none is published of tars one by one
        elif here:
            try:
                digest = download.checked(here, published.sha256, published.md5)
            except Failed:
                if here.parent == self.home:
                    here.unlink()
                raise
        elif by_hand(self.dataset, published):
            raise Failed("")
        elif self.how.mirror:
            raise Failed(f"is not in {self.how.mirror}")
        else:
            urls = _urls(self.dataset, published)
            digest = download.pulled(urls, self.home / name, published.sha256, published.md5, self.progress)
        shutil.rmtree(aside, ignore_errors=True)
        base, file = path / published.to, here or self.home / name
        if archive.NAMED.search(name):
            (archive.each if file.is_dir() else archive.whole)(file, aside, self.progress)
            base = base if published.to else merge.base(aside, path)
        else:
            with writing(aside):
                aside.mkdir()
                shutil.copyfile(file, aside / file.name)
        merge.merge(aside, laid / base)
        record = _record(laid / path)
        entry = {"file": name, "sha256": digest, "base": str(base)}
        with writing(laid / path / RECORD):
            write_json(laid / path / RECORD, record | {"unpacked": [*record["unpacked"], entry]})
        if file.parent == self.home and not self.how.keep:
            os.sync()  # what was unpacked: then a power failure costs nothing
            file.unlink()
            Part(file).remove()

    def found(self, published: Archive) -> Path | None:
        """An archive on this machine's disk, by a name that one of its addresses gives it; or, of a tar of tars, the
        folder of these: that of its name, or the one that is looked in, where it is the data set's only tar."""
        given, mirror, names = self.how.given, self.how.mirror, _called(published)
        folders = [mirror, mirror / self.dataset.name] if mirror else [given] if given and given.is_dir() else []
        places = [given] if given and given.name in names else [folder / name for folder in folders for name in names]
        if file := next((path for path in places if path.is_file()), None):
            return file
        if not archive.TAR.search(names[0]):
            return None
        inner = [folder / archive.TAR.sub("", names[0]) for folder in folders]
        alone = sum(bool(archive.TAR.search(name)) for name in _names(self.dataset)) == 1
        return next((path for path in [*inner, *(folders if alone else [])] if archive.tars(path)), None)

    def _move(self) -> None:
        """Moves what was unpacked to where it belongs."""
        laid, path = self.home / UNPACKED, self.dataset.path
        before, new = _record(self.root), _record(laid / path)["unpacked"]
        merge.merge(laid, self.data)
        if new:
            names = {entry["file"] for entry in new}
            kept = [entry for entry in before["unpacked"] if entry["file"] not in names]
            write_json(self.root / RECORD, before | {"unpacked": [*kept, *new]})

    def _left(self, failed: dict[str, str]) -> str:
        """What is to be done by hand: why what could not be brought couldn't, and where a person finds it."""
        one = self.dataset
        told = [
            f"{', '.join(name for name in failed if failed[name] == why)} could not be brought: {why}"
            for why in dict.fromkeys(failed.values())
            if why
        ]
        opened = f"open {one.page} in a browser, " if one.page else ""
        if not one.archives:
            ways = [f"{opened}bring {one.source}"]
        else:
            paged = any(by_hand(one, published) for published in one.archives) or not one.page
            urls = {file_name(held.urls[0]): _urls(one, held) for held in one.archives if paged}
            alone = [f"{name} ({urls[name][0]})" for name in failed if urls.get(name)]
            others = [name for name in failed if not urls.get(name)]
            there = ", ".join(others) if paged else one.source  # which a page may have in other files
            ways = [f"{opened}bring {there}"] if others else []
            ways += [f"bring {some(alone)}"] if alone else []
        again = f"then: launch.py fetch {one.name} --from FOLDER (which may have it unpacked, too)"
        return "; ".join([*told, f"{' and '.join(ways)} into a folder, {again}"])
