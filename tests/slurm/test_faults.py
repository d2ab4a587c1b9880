"""Faults: the table, and how often each is borne."""

from __future__ import annotations

import pytest

from slurm import faults

OOM = {"fault": "out of memory", "memory_gb": 8.0, "node": "n1"}


def test_every_fault_that_slurm_can_name_has_a_policy() -> None:
    assert {*faults.STATES.values(), *faults.PHRASES.values()} <= set(faults.FAULTS)
    for fault, policy in faults.FAULTS.items():
        assert (policy.act == faults.STOP) == (policy.most == 0), fault


@pytest.mark.parametrize("kind", ["code", "bad data", "diverged", "GPU out of memory"])
def test_what_would_fail_again_is_not_tried_again(kind: str) -> None:
    assert faults.policy(kind).act == faults.STOP


def test_faults_are_counted_since_somebody_asked() -> None:
    history = [
        {"fault": "killed"},
        {"fault": faults.ASKED},
        {"fault": "killed"},
        {"fault": "lost"},
        {"fault": "killed"},
    ]
    assert faults.times(history, "killed") == 2
    assert faults.worn(history) == ""
    assert faults.worn([*history, {"fault": "killed"}]) == "killed"


def test_a_time_limit_after_which_a_cell_had_got_further_does_not_count() -> None:
    history = [{"fault": "time limit", "progress": True}] * 50 + [{"fault": "time limit"}] * 3
    assert faults.worn(history) == ""
    assert faults.worn([*history, {"fault": "time limit"}]) == "time limit"


def test_memory_doubles_and_nodes_are_avoided() -> None:
    assert faults.memory([]) == 0
    assert faults.memory([OOM, OOM | {"memory_gb": 16.0}]) == 32
    assert faults.avoid([OOM]) == ()
    history = [{"fault": "killed", "node": f"n{i}"} for i in (3, 1, 1, 2, 1)]
    assert faults.avoid(history) == ("n1", "n2")
