"""Scheduler: what is told apart in Slurm's answers, and that nothing is sent twice."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from slurm import scheduler, submission, submit
from slurm.array import Array, Limits
from slurm.cluster import Cluster
from slurm.scheduler import Outage, Seen
from slurm.submission import Submission
from suite.bundle import Ask, Bundle
from suite.entry import Refusal
from suite.store import Store
from suite.task import Resources

TOLD = """\
20261120-1.0|17|0|RUNNING|None|n0
20261120-1.0|17|1|PENDING|Priority|
20261120-1.0|17|2|CANCELLED|None|
20261120-1.0|19|2|CONFIGURING|None|n1
20261120-1.0|17|2|CANCELLED|None|
other|18|N/A|RUNNING|None|n2
a new state|20|0|TELEPORTING|None|n2
"""


def test_a_task_that_is_there_twice_is_the_active_one() -> None:
    found = scheduler.parse(TOLD)
    assert found["20261120-1.0", 0] == Seen("RUNNING", "None", "n0", "17_0")
    assert found["20261120-1.0", 2] == Seen("CONFIGURING", "None", "n1", "19_2")
    assert ("other", 0) not in found


def test_a_state_that_we_do_not_know_is_not_an_end() -> None:
    assert scheduler.parse(TOLD)["a new state", 0].active
    assert not Seen("NODE_FAIL", "", "", "").active
    assert all(Seen(state, "", "", "").active for state in ("COMPLETING", "REQUEUED", "SUSPENDED", "RESIZING"))


def test_what_an_allocation_has_set_does_not_leak() -> None:
    inherited = {
        "SLURM_CPU_BIND": "quiet",
        "SLURM_JOB_ID": "1",
        "SBATCH_PARTITION": "x",
        "PMIX_RANK": "0",
        "PMI_FD": "3",
    }
    kept = {"PATH": "/bin", "SLURM_CONF": "/etc/x", "HOME": "/root"}
    assert scheduler.environment(inherited | kept) == kept


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of PATH, for programs that stand in for Slurm's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_an_outage_is_no_refusal(fake: Path) -> None:
    program(
        fake, "squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
    )
    with pytest.raises(Outage, match="Unable to contact"):
        scheduler.queue()
    program(fake, "squeue", "echo 'squeue: error: Invalid user: nobody' >&2; exit 1")
    with pytest.raises(Refusal, match="Invalid user"):
        scheduler.queue()


def test_a_site_without_slurm_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refusal, match="no squeue on this machine"):
        scheduler.queue()


def test_limits_are_the_smallest_that_the_site_names(fake: Path) -> None:
    config = (
        "MaxArraySize      = 501",
        "MaxJobCount       = 8000",
        "AccountingStorageType = accounting_storage/slurmdbd",
    )
    program(fake, "scontrol", "\n".join(f"echo '{line}'" for line in config))
    program(fake, "sacctmgr", """[[ "$*" == *assoc* ]] && echo '300|normal,high' || printf 'high|100\\nother|5\\n'""")
    assert scheduler.limits() == Limits(array=501, tasks=100)
    assert scheduler.limits(40) == Limits(array=501, tasks=40)
    program(fake, "sacctmgr", "echo 'sacctmgr: error: Connection refused' >&2; exit 1")
    assert scheduler.limits() == Limits(array=501, tasks=8000)


def test_insist_looks_before_it_sends_again() -> None:
    told: list[str] = []

    def send() -> str:
        told.append("send")
        raise Outage("Socket timed out")

    def accepted() -> str:
        told.append("look")
        if told.count("look") == 1:
            raise Outage("Socket timed out")
        return "17"

    assert scheduler.insist(send, accepted, sleep=lambda seconds: None) == "17"
    assert told == ["send", "look", "look"]
    with pytest.raises(Outage):
        scheduler.insist(send, lambda: "", times=3, sleep=lambda seconds: None)
    assert told.count("send") == 4


def read(made: Submission) -> Submission:
    """As the next launcher finds it."""
    found = submission.read(made.folder)
    assert found
    return found


def drafted(store: Store, tasks: int) -> Submission:
    cluster = Cluster("there", scheduler="slurm")
    task = (Bundle("core", Ask(Resources()), (), 1.0),)
    made = submission.draft(store, cluster, [Array("core", Ask(Resources()), 8, (task,) * tasks)] * 3, "commit")
    made.create()
    return made


def test_what_was_sent_by_a_launcher_that_died_is_found_by_its_name(tmp_path: Path) -> None:
    made = drafted(Store(tmp_path), 2)
    first = made.put(made.arrays[0], state="sending", at=time.time())
    assert submit.found(made, first, {(first.name, 0): Seen("PENDING", "", "", "17_0")}, time.time()).job == "17"
    assert read(made).arrays[0].state == "sent"


def test_what_never_came_to_the_queue_is_sent_under_another_name(tmp_path: Path) -> None:
    made = drafted(Store(tmp_path), 2)
    made.put(made.arrays[1], after=made.arrays[0].name)
    late = made.put(made.arrays[0], state="sending", at=time.time())
    assert submit.found(made, late, {}, time.time()).state == "sending"  # its sbatch may still be at it
    late = made.put(late, at=time.time() - 2 * submit.SBATCH_SECONDS)
    again = submit.found(made, late, {}, time.time())
    assert (again.state, again.name) == ("planned", f"{late.name}+1")
    assert read(made).arrays[1].after == again.name
    assert submit.found(made, made.put(again, state="sending", at=1.0), {}, time.time()).name == f"{late.name}+2"


def test_the_window_is_filled_in_order(tmp_path: Path, fake: Path) -> None:
    made = drafted(Store(tmp_path), 4)
    program(fake, "sbatch", "echo Submitted batch job $$")
    busy = {(f"other{n}", 0): Seen("RUNNING", "", "n0", str(n)) for n in range(5)}
    ended = {(f"ended{n}", 0): Seen("COMPLETED", "", "n0", str(n)) for n in range(50)}
    cluster = Cluster("there", scheduler="slurm")
    assert submit.top_up(cluster, [made], busy | ended, Limits(tasks=14), time.time()) == (8, "")
    assert [array.state for array in made.arrays] == ["sent", "sent", "planned"]
    assert submit.top_up(cluster, [made], {}, Limits(tasks=14), time.time()) == (4, "")
    assert all(array.job.isdecimal() for array in read(made).arrays)


@pytest.mark.parametrize(
    "told", ["QOSMaxSubmitJobPerUserLimit", "Job violates accounting/QOS policy (job submit limit"]
)
def test_a_submit_limit_is_a_reason_to_wait(tmp_path: Path, fake: Path, told: str) -> None:
    made = drafted(Store(tmp_path), 4)
    program(fake, "sbatch", f"echo 'sbatch: error: {told}' >&2; exit 1")
    count, why = submit.top_up(Cluster("there", scheduler="slurm"), [made], {}, Limits(), time.time())
    assert count == 0
    assert told in why
    assert {array.state for array in made.arrays} == {"planned"}
