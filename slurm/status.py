"""Status: result files, heartbeats and one look at the queue -> the state of every cell."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from slurm import faults, package, scheduler
from slurm.array import Limits
from slurm.cluster import Cluster
from slurm.scheduler import Outage, Queue
from slurm.submission import Place, Submission, alive, places, submissions, tail
from suite import attempt, image, result
from suite.catalog import Catalog
from suite.cell import Key, parse
from suite.entry import Refusal, near
from suite.store import Store

Found = dict[str, Any]
Keep = Callable[[str, Found], None]
NEVER = "DependencyNeverSatisfied"  # why Slurm, and nobody else, cancelled a job
LIMITS_SECONDS = 600.0


@dataclass(frozen=True)
class State:
    """done, failed, blocked, stale, running, queued, unknown or absent; and where it is not done, why. `fault` names
    what befell the cell, in the words of the table of faults, `again` what will be done about it unasked, and `past`
    what befell it before and was done."""

    name: str
    reason: str = ""
    fault: str = ""
    again: str = ""
    past: str = ""

    @property
    def told(self) -> str:
        """All that there is to say beside its name."""
        again = f"will be: {self.again}" if self.again else ""
        return "; ".join(filter(None, (self.reason, self.past, again)))

    @property
    def ended(self) -> bool:
        """Nothing more will come of it by itself."""
        return self.name not in ("queued", "running", "unknown") and not self.again


class Look:
    """The queue as it was when somebody first asked: many questions, one call. `outage` says why there is no answer.

    For who stays, `again` and again: every few seconds at first, later every 30, and every 180 while Slurm is away.
    """

    def __init__(self, *, again: bool = False) -> None:
        self.again, self.first, self.when, self.apart = again, time.time(), 0.0, 0.0
        self.outage, self.seen, self.tended = "", Queue(), 0.0
        self._limits: dict[str, tuple[float, Limits]] = {}

    def fresh(self) -> bool:
        """Whether Slurm answers, and nobody has acted on this answer yet: who stays acts once a look, not at every
        poll."""
        self.queue()
        acted, self.tended = self.tended == self.when, self.when
        return not acted and not self.outage

    def limits(self, cluster: Cluster) -> Limits:
        """What the site takes; asked again after ten minutes."""
        asked, known = self._limits.get(cluster.name, (0.0, Limits()))
        if time.time() - asked > LIMITS_SECONDS:
            known = scheduler.limits(cluster.window)
            self._limits[cluster.name] = (time.time(), known)
        return known

    def queue(self) -> Queue:
        now = time.time()
        if not self.when or (self.again and now - self.when >= self.apart):
            try:
                self.seen, self.outage = scheduler.queue(), ""
                self.apart = min(max((now - self.first) / 10, 3.0), 30.0)
            except (Outage, Refusal) as outage:  # on a machine without Slurm, too, nothing is known of its jobs
                self.outage, self.apart = str(outage), min(max(2 * self.apart, 10.0), 180.0)
            self.when = now
        return self.seen


@dataclass(frozen=True)
class Life:
    """What is known of an array task: whether it may still run (None: unknown), why, and the fault that ended it."""

    alive: bool | None
    reason: str = ""
    fault: str = ""


def states(
    known: Catalog, keys: Iterable[str] = (), keep: Keep | None = None, look: Look | None = None
) -> dict[str, State]:
    """The state of the given cells; without any, of all that the store has heard of.

    Every result is read once: `keep` is handed those that are done. The scheduler is asked once, or not at all where
    the files say everything.
    """
    last = places(submissions(known.store))
    asked = list(keys) or sorted({*last, *result.keys(known.store.results)})
    seek = _Seek(known, last, look or Look())
    return {key: seek(key, keep) for key in asked}


class _Seek:
    """The state of one cell after another."""

    def __init__(self, known: Catalog, last: dict[str, Place], look: Look) -> None:
        self.root, self.last, self.look = known.store.results, last, look
        self.differs = _Differs(known)
        self.absent = cache(lambda name, runtime: image.absent(known.store, name, runtime))
        self.lives: dict[tuple[str, int], Life] = {}
        self.cancelled: dict[Path, set[str]] = {}

    def __call__(self, key: str, keep: Keep | None = None) -> State:
        state = self.seen(key, keep)
        if key in self.last and state.name in ("failed", "blocked", "absent") and "result.json" in self.listed(key):
            return self.seen(key, keep)  # NFS had not shown it; to list a folder makes it look
        return state

    def seen(self, key: str, keep: Keep | None) -> State:
        try:
            found = result.read(self.root, key)
        except Refusal as unreadable:
            return State("failed", str(unreadable), "unreadable")
        why = self.differs(parse(key), found) if found else ""
        if found and not why:
            if keep:
                keep(key, found)
            return State("done")
        if attempt.beats(self.root / key):
            return State("running", past=self.past(key))
        place, error = self.last.get(key), attempt.error(self.root / key)
        if place and found and found["finished"] >= place.sent.created:
            place = None  # it ran what was sent last, and became stale since
        if error and place and error["at"] < place.sent.created:
            error = None  # history
        if error and error["kind"] in attempt.UNSENT:
            if why := self.wants(error):
                return State("blocked", why)
            error = place = None  # it is there now, and whatever was sent before is over
        if error:
            return self.failed("failed", key, place, error["kind"], error["message"])
        rest = State("stale", why) if found else State("absent")
        if place and key in self._cancelled(place.sent):
            return State(rest.name, rest.reason or "cancelled", "cancelled")
        return self.sent(key, place, self.life(place), rest) if place else rest

    def wants(self, error: Found) -> str:
        """Why a cell that was not sent still cannot be; '' where what it was for want of is there now."""
        if error["kind"] == attempt.NO_IMAGE:
            return str(self.absent(error["image"], error["runtime"]))
        return str(error["message"]) if package.missing(error["python"], error["packages"]) else ""

    def sent(self, key: str, place: Place, life: Life, rest: State) -> State:
        """The state of a cell that was sent, and of which nothing is heard yet, or any more."""
        need = place.sent.needs.get(key, "")
        waits_for = self(need) if need else State("done")
        if life.alive is None:
            return State("unknown", life.reason)
        if life.alive:
            waits = life.reason if waits_for.name == "done" else f"waits for {need}"
            return State("queued", waits, past=self.past(key))
        if life.fault == "cancelled" and NEVER not in life.reason:
            return State(rest.name, rest.reason or "cancelled: its job was ended, by scancel or the site", "cancelled")
        if waits_for.again:
            return State("queued", f"waits for {need}, which will be: {waits_for.again}")
        if waits_for.name in ("running", "queued", "unknown"):
            return self.failed("blocked", key, place, "freed", f"{need} is {waits_for.name} again")
        if waits_for.name != "done":
            return State("blocked", f"{need} is {waits_for.name}: {waits_for.reason}")
        return self.gone(key, place, life, rest)

    def gone(self, key: str, place: Place, life: Life, rest: State) -> State:
        """The state of a cell whose job ended, for the reason that Slurm gives; or without a word from anybody."""
        never = place.sent.scheduler and not attempt.left(Store(self.root.parent), key, since=place.sent.created)
        last = (attempt.history(self.root / key) or [{}])[-1]
        if never and self.freed(key, place, life):
            return self.failed("blocked", key, place, "freed", f"{place.sent.needs[key]} is done now")
        if life.fault == "lost" and last.get("fault") == "ended" and last.get("job") == place.job:
            return self.failed("failed", key, place, "preempted", f"told to end, and not cancelled; {life.reason}")
        if life.fault == "lost" and never and not place.log.exists():
            return State(rest.name, rest.reason or f"{life.reason}; it left the queue before it began")
        return self.failed("failed", key, place, life.fault, life.reason)

    def freed(self, key: str, place: Place, life: Life) -> bool:
        """Whether a cell that never began left the queue because what it waits for had failed, which is mended."""
        if key not in place.sent.needs:
            return False
        maker = self.last.get(place.sent.needs[key])
        mended = maker is not None and maker.sent.created > place.sent.created
        return mended or NEVER in life.reason or f"{key}: blocked:" in "".join(map(tail, place.logs(key)))

    def listed(self, key: str) -> list[str]:
        try:
            return os.listdir(self.root / key)
        except FileNotFoundError:
            return []

    def failed(self, name: str, key: str, place: Place | None, fault: str, told: str) -> State:
        """A state that its fault's policy may end, with what was done before and what will be."""
        if not place or not place.sent.scheduler:
            return State(name, f"{fault}: {told}", fault)
        policy = faults.policy(fault)
        often = faults.times(attempt.history(self.root / key), fault)
        wanted = policy.act != faults.STOP and key not in self._cancelled(place.sent)
        again = policy.act if wanted and often < policy.most else ""
        return State(name, f"{fault}: {told}", fault, again, self.past(key))

    def past(self, key: str) -> str:
        """What befell a cell before, and what was done about it."""
        counts = Counter((entry["fault"], entry["did"]) for entry in attempt.history(self.root / key))
        return ", ".join(f"{fault} {n}x ({did})" for (fault, did), n in counts.items() if fault != faults.ASKED)

    def life(self, place: Place) -> Life:
        at = (place.array.name, place.index)
        if at not in self.lives:
            self.lives[at] = self._life(place)
        return self.lives[at]

    def _life(self, place: Place) -> Life:
        if not place.sent.scheduler:
            gone = f"its job is gone without a result or an error; see {place.sent.folder}"
            return Life(True) if alive(place.task, place.sent) else Life(False, gone, "lost")
        if place.array.state != "sent":
            return Life(True, "waits for room in the queue" if place.array.state == "planned" else "is being sent")
        seen = self.look.queue().get((place.array.name, place.index))
        if self.look.outage:
            return Life(None, f"Slurm does not answer: {self.look.outage}")
        if seen and seen.stuck:
            return Life(False, f"{seen.reason}; see {place.log}", "node failure")
        if seen and seen.active:
            return Life(True, f"{seen.state.lower()}: {seen.node or seen.reason}")
        if not seen and self.look.when < place.array.at:
            return Life(True, "sent since the queue was looked at")
        fault = faults.STATES.get(seen.state, "") if seen else ""
        last = tail(place.log).rpartition(f"job {place.job} on ")[2]  # what was written since it began last
        # A step says so after any SIGTERM; whether the job was cancelled, the queue knows while it has the job.
        phrases = {p: f for p, f in faults.PHRASES.items() if not (seen and f == "cancelled")}
        fault = fault or next((fault for phrase, fault in phrases.items() if phrase in last), "lost")
        ended = f"{seen.state} ({seen.reason}) on {seen.node or 'no node'}" if seen else "gone"
        return Life(False, f"its job {place.job} is {ended}; see {place.log}", fault)

    def _cancelled(self, sent: Submission) -> set[str]:
        if sent.folder not in self.cancelled:
            self.cancelled[sent.folder] = sent.cancelled
        return self.cancelled[sent.folder]


def chosen(now: dict[str, State], patterns: Sequence[str]) -> dict[str, State]:
    """The cells that any of PATTERNS names: a key, a task's name, or wildcards; all without patterns."""
    wanted = [pattern for word in patterns for pattern in (word, f"{word}-v*", f"{word}/*")] or ["*"]
    found = {key: state for key, state in now.items() if any(fnmatch(key, pattern) for pattern in wanted)}
    if patterns and not found:
        raise near(patterns[0], now, "cell")
    return found


class _Differs:
    """Says which entries of a result differ from today's; each entry is looked up once."""

    def __init__(self, known: Catalog) -> None:
        self.task = cache(lambda name: known.task(name))
        # Where cells are run outside containers, the images of others make nothing stale.
        self.images = cache(lambda name: image.digests(known.store, name) if known.runtime else set())
        self.fact = cache(lambda task, noun, name: result.fact(known.task(task), noun, getattr(known, noun)(name)))

    def __call__(self, key: Key, found: Found) -> str:
        facts = found["facts"]
        try:
            if self.task(key.task).version != key.version:
                return f"this checkout has {self.task(key.task).label}"
            names = {"task": key.task, "dataset": key.dataset, "model": key.model}
            changed = [noun for noun, name in names.items() if facts[noun] != self.fact(key.task, noun, name)]
            images = self.images(self.task(key.task).image)
        except Refusal as unknown:
            return str(unknown)
        if changed:
            return f"the {' and the '.join(changed)} changed since it was run"
        if images and found["image"] not in images:
            return "it was run with another image" if found["image"] else "it was run outside its image"
        return ""
