"""Status: what files and one look at the queue say of a cell, rule by rule; the queue is made up, all else is real."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import pytest

from slurm import faults, retry, scheduler, script, status, submission, submit
from slurm.array import Limits
from slurm.cluster import Cluster
from slurm.scheduler import Outage, Queue, Seen
from slurm.status import Look, State
from slurm.submission import Sent, Submission, Task
from slurm.work import Work
from suite import attempt, result
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.result import Metric, Outcome
from suite.store import write_json

THERE = Cluster("testbed", scheduler="slurm")
MAKER, KEY = "features-v1/digits/pixels_8x8/0", "knn-v1/digits/pixels_8x8/0"
ASKED = {"nodes": 1, "gpus": 1, "cpus": 1, "memory_gb": 32.0, "minutes": 32}


class Site:
    """A store with submissions, and a queue that says what it is told to."""

    def __init__(self, known: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known, self.queue, self.calls, self.away = known, Queue(), 0, ""
        monkeypatch.setattr(scheduler, "queue", self.ask)

    def ask(self) -> Queue:
        self.calls += 1
        if self.away:
            raise Outage(self.away)
        return self.queue

    def send(self, *keys: str, needs: dict[str, str] | None = None, state: str = "sent", job: str = "17") -> Submission:
        made = submission.draft(self.known.store, THERE, [], "commit")
        made.needs.update(needs or {})
        task = Task([list(keys)], ["0.log"])
        made.arrays.append(Sent(f"{made.folder.name}.0", "core", ASKED, [], "", [task], 0, state, job, time.time()))
        made.create()
        return made

    def says(self, made: Submission, state: str, reason: str = "None", node: str = "n1") -> None:
        self.queue[made.arrays[0].name, 0] = Seen(state, reason, node, f"{made.arrays[0].job}_0")

    def fail(self, key: str, kind: str, ago: float = 0.0, **more: Any) -> None:
        folder = self.known.store.results / key
        folder.mkdir(parents=True, exist_ok=True)
        attempt.fail(folder, key=key, kind=kind, message="told", at=time.time() - ago, **more)

    def begin(self, key: str) -> None:
        """As a cell that was begun on a machine of which nothing was heard for long."""
        path = self.known.store.results / key / "heartbeat.json"
        write_json(path, {"host": "another", "pid": 1, "born": "1", "began": time.time()})
        os.utime(path, (1.0, 1.0))

    def finish(self, key: str) -> None:
        cell = self.known.cell(key)
        outcome = Outcome((Metric("top1_k20", 0.5, 0.4, 0.6, 10, True),))
        record = result.record(cell, outcome, seconds=1.0, finished=time.time())
        write_json(self.known.store.results / key / "result.json", record)

    def state(self, key: str = KEY) -> State:
        return status.states(self.known, [key])[key]


@pytest.fixture
def site(known: Catalog, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(known, monkeypatch)


@pytest.mark.parametrize(
    ("state", "name", "fault", "again"),
    [
        ("PENDING", "queued", "", ""),
        ("RUNNING", "queued", "", ""),
        ("COMPLETING", "queued", "", ""),
        ("SOMETHING_NEW", "queued", "", ""),
        ("CANCELLED", "absent", "cancelled", ""),
        ("NODE_FAIL", "failed", "node failure", faults.ELSEWHERE),
        ("TIMEOUT", "failed", "time limit", faults.TIME),
        ("OUT_OF_MEMORY", "failed", "out of memory", faults.MEMORY),
        ("PREEMPTED", "failed", "preempted", faults.REQUEUE),
    ],
)
def test_what_slurm_says_of_a_cell_of_which_nothing_is_heard(
    site: Site, state: str, name: str, fault: str, again: str
) -> None:
    site.says(site.send(KEY), state)
    found = site.state()
    assert (found.name, found.fault, found.again) == (name, fault, again)


def test_a_result_counts_whatever_slurm_says(site: Site) -> None:
    site.says(site.send(KEY), "FAILED")
    site.finish(KEY)
    assert site.state().name == "done"
    assert site.calls == 0


def test_an_outage_is_unknown_and_sends_nothing_again(site: Site) -> None:
    site.send(KEY)
    site.away = "Socket timed out"
    assert site.state().name == "unknown"
    assert list(retry.tend(site.known, status.states(site.known), Look())) == []


def test_a_job_that_slurm_has_forgotten(site: Site) -> None:
    made = site.send(KEY)
    assert (site.state().name, site.state().again) == ("absent", "")  # it may have been cancelled: not sent unasked
    site.begin(KEY)
    assert (site.state().fault, site.state().again) == ("lost", faults.AGAIN)
    log = submission.places([made])[KEY].log
    log.write_text(
        "x task 0: job 17_0 on n0, restart 0\nslurmstepd: *** JOB 17 CANCELLED AT now DUE TO NODE FAILURE ***\n"
    )
    assert site.state().fault == "node failure"
    log.write_text(
        log.read_text() + "x task 0: job 17_0 on n1, restart 1\nslurmstepd: *** JOB 17 CANCELLED AT now ***\n"
    )
    assert site.state().fault == "cancelled"


def test_scancel_of_a_retry_is_the_end_of_it_too(site: Site) -> None:
    site.send(KEY, job="16")
    site.fail(KEY, "killed", node="n0")
    assert site.state().again == faults.ELSEWHERE
    time.sleep(0.01)
    site.says(site.send(KEY), "CANCELLED")
    found = site.state()
    assert (found.name, found.fault, found.again) == ("absent", "cancelled", "")


def test_what_befell_the_last_job_counts_and_not_an_older_error(site: Site) -> None:
    site.fail(KEY, "code", ago=60)
    site.says(site.send(KEY), "NODE_FAIL", node="n3")
    assert site.state().again == faults.ELSEWHERE


def test_a_job_that_was_told_to_end_and_not_cancelled_was_preempted(site: Site) -> None:
    made = site.send(KEY)
    attempt.note(site.known.store.results / KEY, "ended", "left to Slurm", job="17_0")
    submission.places([made])[KEY].log.write_text("job 17_0 on n0\n*** STEP 17.0 ON n0 CANCELLED AT now ***\n")
    site.says(made, "FAILED", "NonZeroExitCode")
    assert (site.state().fault, site.state().again) == ("preempted", faults.REQUEUE)
    site.says(made, "CANCELLED")
    assert site.state().again == ""


def test_who_waits_for_what_will_be_tried_again_is_queued(site: Site) -> None:
    made = site.send(MAKER, KEY, needs={KEY: MAKER})
    site.says(made, "NODE_FAIL")
    assert "will be: retry elsewhere" in site.state().told
    assert (site.state().name, site.state().ended) == ("queued", False)
    site.fail(MAKER, "code")
    assert (site.state().name, site.state().ended) == ("blocked", True)
    assert "code: told" in site.state().reason


def test_who_was_blocked_is_freed_by_a_maker_that_was_sent_later(site: Site) -> None:
    made = site.send(KEY, needs={KEY: MAKER})
    site.says(made, "CANCELLED", status.NEVER)
    site.fail(MAKER, "code")
    assert site.state().name == "blocked"
    time.sleep(0.01)
    site.says(site.send(MAKER, job="18"), "RUNNING")
    (site.known.store.results / MAKER / "error.json").unlink()
    assert (site.state().fault, site.state().again) == ("freed", faults.AGAIN)
    site.finish(MAKER)
    assert (site.state().fault, site.state().again) == ("freed", faults.AGAIN)


def test_scancel_of_who_had_waited_is_no_freedom(site: Site) -> None:
    made = site.send(MAKER, KEY, needs={KEY: MAKER})
    site.finish(MAKER)
    site.says(made, "CANCELLED")
    assert (site.state().name, site.state().again) == ("absent", "")
    site.begin(KEY)
    site.says(made, "FAILED")
    assert site.state().fault == "lost"


def test_a_bound_is_a_bound(site: Site) -> None:
    site.says(site.send(KEY), "NODE_FAIL")
    for times in range(faults.FAULTS["node failure"].most):
        assert site.state().again == faults.ELSEWHERE, times
        attempt.note(site.known.store.results / KEY, "node failure", faults.ELSEWHERE, node="n1")
    assert (site.state().name, site.state().again) == ("failed", "")
    assert "node failure 3x (retry elsewhere)" in site.state().told


def test_held_by_slurm_is_as_good_as_gone(site: Site) -> None:
    site.says(site.send(KEY), "PENDING", "launch failed requeued held")
    assert (site.state().fault, site.state().again) == ("node failure", faults.ELSEWHERE)


def test_what_was_cancelled_is_not_tried_again_nor_sent(site: Site) -> None:
    made = site.send(KEY, state="planned", job="")
    assert site.state().reason == "waits for room in the queue"
    made.cancel([KEY])
    assert (site.state().name, site.state().reason) == ("absent", "cancelled")
    assert made.unsent == []


def test_a_retry_is_noted_with_what_was_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Work] = []

    def keep(cluster: Cluster, store: object, work: Work) -> Submission:
        sent.append(work)
        return site.send(KEY, job="18")

    monkeypatch.setattr(submit, "submit", keep)
    monkeypatch.setattr(scheduler, "limits", lambda most: Limits())
    site.says(site.send(KEY), "OUT_OF_MEMORY", node="n2")
    told = list(retry.tend(site.known, status.states(site.known), Look()))
    assert "out of memory: retry with more memory" in told[0]
    (work,) = sent
    assert work.notes[KEY][0]["node"] == "n2"
    assert work.notes[KEY][0]["memory_gb"] == 32.0
    assert [array.ask.resources.memory_gb for array in work.arrays] == [64.0]


def test_a_retry_that_slurm_refuses_is_not_tried_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: str, timeout: float = 0) -> str:
        raise Refusal("sbatch: error: invalid account")

    monkeypatch.setattr(scheduler, "call", refuse)
    monkeypatch.setattr(script, "call", refuse)
    monkeypatch.setattr(scheduler, "limits", lambda most: Limits())
    site.says(site.send(KEY), "NODE_FAIL")
    list(retry.tend(site.known, status.states(site.known), Look()))
    assert site.state().reason == "refused: sbatch: error: invalid account"
    assert (site.state().again, site.state().ended) == ("", True)
    assert list(retry.tend(site.known, status.states(site.known), Look())) == []


def test_a_record_of_an_older_checkout_is_passed_over(site: Site) -> None:
    folder = site.known.store.logs / "old"
    write_json(folder / "submission.json", {"created": 1.0, "cluster": "local", "host": "h", "tasks": []})
    assert submission.submissions(site.known.store) == []
    assert status.states(site.known) == {}


def test_looks_are_apart_and_further_apart_in_an_outage(site: Site) -> None:
    look = Look(again=True)
    for _ in range(5):
        look.queue()
    assert site.calls == 1
    site.away, look.when = "Socket timed out", 1.0
    look.queue()
    assert (look.outage, look.apart) == ("Socket timed out", 10.0)


def test_one_refused_array_does_not_keep_others_from_the_queue(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "knn-v1/digits/random_resnet18/0"
    first, second = site.send(KEY, state="planned", job=""), site.send(other, state="planned", job="")
    words: list[str] = []

    def sbatch(*said: str, timeout: float = 0) -> str:
        words.append(said[1])
        if first.folder.name in said[1]:
            raise Refusal("sbatch: error: Memory specification can not be satisfied")
        return "Submitted batch job 99"

    monkeypatch.setattr(script, "call", sbatch)
    assert submit.top_up(THERE, [first, second], {}, Limits(), time.time()) == (1, "")
    assert site.state().reason == "refused: sbatch: error: Memory specification can not be satisfied"
    assert (len(words), second.arrays[0].job, first.arrays) == (2, "99", [])


def test_who_stays_acts_once_a_look(site: Site) -> None:
    look = Look(again=True)
    assert [look.fresh() for _ in range(3)] == [True, False, False]
    look.when = 1.0
    assert look.fresh()


def test_what_was_sent_since_the_look_takes_its_room(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "call", lambda *said, timeout: "Submitted batch job 99")
    sent = [site.send(f"knn-v1/digits/random_resnet{n}/0", state="planned", job="") for n in (18, 34, 50)]
    looked = time.time()
    assert submit.top_up(THERE, sent, {}, Limits(tasks=2), looked) == (2, "")
    assert submit.top_up(THERE, sent, {}, Limits(tasks=2), looked) == (0, "")
    assert submit.top_up(THERE, sent, {}, Limits(tasks=2), time.time()) == (1, "")


def test_a_torn_heartbeat_hides_nothing(site: Site) -> None:
    site.says(site.send(KEY), "NODE_FAIL")
    folder = site.known.store.results / KEY
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "heartbeat.json").write_text("")
    assert site.state().fault == "node failure"
    assert Work.asked(THERE, site.known.store, [], among=[]).arrays == []


def test_a_node_whose_clock_goes_ahead_costs_no_retry(site: Site) -> None:
    site.fail(KEY, "killed", ago=-5.0)
    cell = site.known.cell(KEY)
    work = Work.of(THERE, site.known.store, [cell], needs={}, limits=Limits())
    made = submission.draft(site.known.store, THERE, work.arrays, "commit")
    assert made.created > time.time() + 4
    assert not attempt.ended(site.known.store, KEY, since=made.created)


def test_time_and_memory_double_and_are_remembered_when_asked_for_again(site: Site) -> None:
    cell = site.known.cell(KEY)
    site.fail(KEY, "time limit", minutes=128)
    work = Work.of(
        THERE,
        site.known.store,
        [cell],
        needs={},
        limits=Limits(),
        notes={KEY: [{"fault": "time limit", "minutes": 128}]},
    )
    assert [array.minutes for array in work.arrays] == [256]
    entries = Work.asked(Cluster("local"), site.known.store, [cell], among=[]).notes[KEY]
    assert [entry["fault"] for entry in entries] == ["time limit", faults.ASKED]
    assert faults.minutes(entries) == 128


def test_every_cluster_of_a_store_is_tended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "call", lambda *said, timeout: "Submitted batch job 99")
    monkeypatch.setattr(scheduler, "limits", lambda most: Limits())
    monkeypatch.setattr(retry, "find", lambda name: Cluster(name, scheduler="slurm"))
    for name, key in (("here", KEY), ("there", MAKER)):
        made = site.send(key, state="planned", job="")
        replace(made, cluster=name).write()
    told = list(retry.tend(site.known, status.states(site.known), Look()))
    assert [line.split(":")[0] for line in told] == ["here", "there"]
