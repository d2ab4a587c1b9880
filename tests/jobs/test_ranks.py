"""Ranks: two processes that work as one, find each other, and do not outlive each other."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from torch import nn

from jobs.lib import meeting
from jobs.lib.meeting import NotMet
from jobs.lib.ranks import Ranks
from suite import attempt, result
from suite.catalog import Catalog
from suite.store import Store

FINETUNE, LINEAR = (f"{task}/digits/pixels_8x8/0" for task in ("finetune-short-v1", "linear-v1"))

# The program of rank 1 ends as it is told to; that of rank 0 waits for it.
DYING = """
import os, signal, sys
from jobs import __main__, finetune
from jobs.lib.failure import BadData
def run(cell, workspace):
    ranks = workspace.ranks
    ranks.any(False)
    if ranks.rank == 1 and os.environ["HOW"] == "raises":
        raise BadData("7.png cannot be decoded")
    if ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.any(False)
finetune.run = run
sys.exit(__main__.main())
"""

# One step of a small network; a rank has 3 or 4 of the 7 images.
STEP = """
import sys, torch
from pathlib import Path
from jobs.lib.ranks import Ranks
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
made = torch.load(folder / "made.pt", weights_only=False)
ranks = Ranks(rank, 2, rank, folder / "meet")
ranks.start("x") if rank == 0 else ranks.next()
network, x, y = made["network"].train(), ranks.part(made["x"]), ranks.part(made["y"])
if rank == 1:
    torch.nn.init.zeros_(network[0].weight)
ranks.same_weights(network)
with ranks.normalising():
    out = network(x)
loss = ranks.backward(torch.nn.functional.cross_entropy(out, y), len(x) / 7, network)
found = {"out": ranks.gather(out.detach()), "loss": loss.detach(), "state": network.state_dict()}
found["gradients"] = [p.grad for p in network.parameters()]
assert ranks.same(rank) == 0 and ranks.any(rank == 1) and not ranks.any(False)
torch.save(found, folder / f"found{rank}.pt")
ranks.leave()
"""


def start(*words: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *words], stdout=pipe, stderr=subprocess.STDOUT, text=True, cwd=ROOT)


def ended(*ran: subprocess.Popen[str]) -> list[tuple[int, str]]:
    """(exit code, what it printed) of each process."""
    told = [process.communicate(timeout=120)[0] for process in ran]
    return [(process.returncode, text) for process, text in zip(ran, told, strict=True)]


def two(*words: str, meet: Path) -> list[subprocess.Popen[str]]:
    """Two ranks of one command."""
    return [start(*words, *f"--rank {r} --ranks 2 --local-rank {r} --cores 1 --meet {meet}".split()) for r in (0, 1)]


def losses(told: str) -> list[float]:
    return [float(found) for found in re.findall(r"step 50/50, loss ([\d.]+)", told)]


def test_fine_tuning_in_two_ranks_is_that_of_one(known: Catalog, tmp_path: Path) -> None:
    words = ("-m", "jobs", LINEAR, FINETUNE, "--store", str(known.store.root))
    (code, told), (other, nothing) = ended(*two(*words, meet=tmp_path / "meet"))
    assert (code, other) == (0, 0), told + nothing
    error = attempt.error(known.store.results / LINEAR)
    assert error is not None
    assert error["kind"] == "bad task"
    assert error["message"] == "linear-v1 asks for 2 ranks, but its program (linear) runs in one"
    found = result.read(known.store.results, FINETUNE)
    assert found is not None
    assert found["ranks"] == 2
    assert "step" not in nothing
    alone = Store(tmp_path / "alone")
    alone.data.mkdir(parents=True)
    (alone.data / "digits").symlink_to(known.store.data / "digits")
    [(code, told_alone)] = ended(start("-m", "jobs", FINETUNE, "--store", str(alone.root)))
    one = result.read(alone.results, FINETUNE)
    assert one is not None, told_alone
    assert losses(told) == pytest.approx(losses(told_alone), abs=2e-3)
    assert len(losses(told)) == 3
    for mine, its in zip(found["metrics"], one["metrics"], strict=True):
        assert mine["value"] == pytest.approx(its["value"], abs=0.01)


def test_two_ranks_go_together_when_one_is_asked_to(known: Catalog, tmp_path: Path) -> None:
    first, second = two("-m", "jobs", FINETUNE, "--store", str(known.store.root), meet=tmp_path / "meet")
    assert first.stdout is not None
    while "lr 0.1 wd 0.0001: step 50/50" not in (line := first.stdout.readline()):
        assert line
    second.send_signal(signal.SIGUSR2)
    (code, told), (other, _) = ended(first, second)
    assert (code, other) == (75, 75), told
    assert "interrupted; goes on from here when started again (checkpoint saved" in told
    left = {path.name for path in (known.store.results / FINETUNE).iterdir()}
    assert left == {"checkpoint.pt", ".lock"}


def test_a_step_of_two_ranks_equals_that_of_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.BatchNorm2d(5, affine=False, momentum=None)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(5 * 36, 6), nn.BatchNorm1d(6)).train()
    x, y = 3 * torch.randn(7, 3, 8, 8) + 5, torch.arange(7) % 6
    torch.save({"network": network, "x": x, "y": y}, tmp_path / "made.pt")
    ran = ended(*(start("-c", STEP, rank, str(tmp_path)) for rank in "01"))
    assert [code for code, _ in ran] == [0, 0], ran
    out = network(x)
    loss = nn.functional.cross_entropy(out, y)
    loss.backward()
    for rank in (0, 1):
        found = torch.load(tmp_path / f"found{rank}.pt", weights_only=False)
        torch.testing.assert_close(found["out"], out.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found["loss"], loss.detach())
        torch.testing.assert_close(found["state"], network.state_dict())
        torch.testing.assert_close(found["gradients"], [p.grad for p in network.parameters()], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [("raises", "bad data", "bad data: 7.png cannot be decoded"), ("dies", "killed", "without a word")],
)
def test_when_one_rank_ends_so_does_the_other(
    known: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, kind: str, message: str
) -> None:
    began = time.monotonic()
    monkeypatch.setenv("HOW", how)
    words = ("-c", DYING, FINETUNE, "--store", str(known.store.root))
    (code, told), (other, _) = ended(*two(*words, meet=tmp_path / "meet"))
    assert time.monotonic() - began < 30
    assert code == 76, told
    assert other in (76, -9)
    error = attempt.error(known.store.results / FINETUNE)
    assert error is not None
    assert error["kind"] == kind
    assert error["message"] == f"rank 1 ended: {message}"
    assert not (known.store.results / FINETUNE / "heartbeat.json").exists()


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_parts_are_neighbours_and_miss_nothing(ranks: int) -> None:
    parts = [Ranks(rank, ranks).part(range(10)) for rank in range(ranks)]
    assert [at for part in parts for at in part] == list(range(10))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_what_an_earlier_attempt_left_misleads_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "ANSWER_SECONDS", 0.3)
    file = tmp_path / "meet"
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        stale = [closed.getsockname()[1], silent.getsockname()[1]]
        closed.close()
        file.write_text("".join(f"127.0.0.1 {port} 0123\n" for port in stale))
        with ThreadPoolExecutor(2) as pool:
            others = [pool.submit(meeting.join, file, rank, 20) for rank in (1, 2)]
            time.sleep(0.5)
            lines = meeting.host(file, 3, 20, store=7)
            joined = [other.result() for other in others]
    assert sorted(lines) == [1, 2]
    assert all(facts["store"] == 7 for _, _, facts in joined)
    heard: list[dict[str, object]] = []
    listener = threading.Thread(target=lambda: heard.extend(joined[0][0].hear() for _ in range(2)))
    listener.start()
    lines[1].say(run="KEY")
    lines[1].close()
    listener.join(5)
    assert heard == [{"run": "KEY"}, {}]
    for line in (lines[2], *(line for line, _, _ in joined)):
        line.close()


def test_a_stranger_at_the_door_is_sent_away(tmp_path: Path) -> None:
    file = tmp_path / "meet"
    with ThreadPoolExecutor(1) as pool:
        hosting = pool.submit(meeting.host, file, 2, 20)
        while not file.exists():
            time.sleep(0.01)
        port = int(file.read_text().split()[1])
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(b"\xff\xfe GET / HTTP/1.1\n")
            assert stranger.recv(100) == b""
        line, _, _ = meeting.join(file, 1, 20)
        assert list(hosting.result()) == [1]
        line.close()
        hosting.result()[1].close()


def test_who_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotMet, match="rank 1, 2 of 3 did not come within 0 s"):
        meeting.host(tmp_path / "one", 3, 0.1)
    with pytest.raises(NotMet, match=r"rank 1 did not find rank 0 within 0 s by .*two: it is not there"):
        meeting.join(tmp_path / "two", 1, 0.1)
    with pytest.raises(NotMet, match=r"nobody answers at .*"):
        meeting.join(tmp_path / "one", 1, 0.5)
