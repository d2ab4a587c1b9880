"""Fetch: a file appears whole and checked or not at all, whatever the server does."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
import torchvision
from conftest import Launch

from jobs.lib.failure import BadWeights
from suite import fetch
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.model import Model, Origin, Weights


def nothing(done: int, size: int) -> None: ...


@pytest.fixture
def served() -> Iterator[tuple[str, dict[str, bytes]]]:
    """(address, path -> content) of a server on this machine; 'cut' in a path ends the answer half-way."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            half = len(content or b"") // 2 if "cut" in self.path else None
            self.wfile.write((content or b"")[:half])

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", files
    server.shutdown()


@pytest.fixture(scope="module")
def weights() -> bytes:
    buffer = io.BytesIO()
    torch.save(torchvision.models.squeezenet1_1().state_dict(), buffer)
    return buffer.getvalue()


def how(known: Catalog, **more: Any) -> fetch.How:
    """Conversion as a job does it, in this process."""

    def convert(model: Model, files: Sequence[Path], source: str, sha256: str) -> str:
        from jobs.lib import convert

        assert model.weights
        try:
            return convert.convert(model, files, known.store.weights / model.weights.file, source, sha256)
        except BadWeights as error:
            raise Refusal(str(error)) from None

    return fetch.How(convert, **more)


def test_what_a_server_can_do_wrong(
    known: Catalog, served: tuple[str, dict[str, bytes]], weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.part.sleep", lambda _: None)
    host, files = served
    sha256 = hashlib.sha256(weights).hexdigest()
    files |= {"/w": weights, "/cut": weights, "/login": b"<!DOCTYPE html><html>Sign in</html>", "/other": weights[::-1]}
    entry = Model("w_squeezenet1_1", "squeezenet1_1", 512, classes=1000, licence="CC-BY-NC-4.0")

    def bring(*paths: str, digest: str = sha256[:8]) -> str:
        origin = Origin(tuple(host + path for path in paths), sha256=digest)
        model = replace(entry, weights=Weights("w_squeezenet1_1.safetensors", origin=origin))
        return fetch.weights(model, known, nothing, how(known))

    for path, told in {"/none": "404", "/cut": "connection", "/login": "web page", "/other": "SHA-256"}.items():
        with pytest.raises(Refusal, match=f"(?i){told}"):
            bring(path)
        assert [p.name for p in known.store.weights.rglob("*") if p.is_file() and not p.name.startswith(".")] == []
    with pytest.raises(Refusal, match="is not a checkpoint"):
        bring("/other", digest="")
    told = bring("/none", "/cut", "/w")  # the next address is tried
    expected = f"a classifier of 1000; from {host}/w (licence CC-BY-NC-4.0: not for commercial use)"
    assert told.endswith(expected), told
    assert [p.name for p in known.store.weights.glob("[!.]*")] == ["w_squeezenet1_1.safetensors"]
    assert not list((known.store.weights / fetch.BROUGHT).glob("*/*"))
    with safetensors.safe_open(known.store.weights / "w_squeezenet1_1.safetensors", "pt") as made:
        assert made.metadata()["sha256"] == sha256 and made.metadata()["source"] == f"{host}/none"
        assert made.metadata()["dimension"] == "512"
    files.clear()
    assert "is there" in bring("/w")


def test_what_does_not_fit_is_kept_where_its_digest_is_known(
    known: Catalog, served: tuple[str, dict[str, bytes]], weights: bytes
) -> None:
    host, files = served
    files["/w.pth"] = weights
    for digest, kept in ((hashlib.sha256(weights).hexdigest(), ["w.pth"]), ("", [])):
        origin = Origin((f"{host}/w.pth",), sha256=digest)
        model = Model("w_resnet18", "resnet18", 512, weights=Weights("w_resnet18.safetensors", origin=origin))
        with pytest.raises(Refusal, match="the checkpoint is not resnet18: 100 tensors of the network missing"):
            fetch.weights(model, known, nothing, how(known))
        assert [p.name for p in (known.store.weights / fetch.BROUGHT).glob("*/[!.]*")] == kept


def test_a_model_from_a_folder_and_from_a_hand(launch: Launch, known: Catalog, tmp_path: Path) -> None:
    """Without internet: launch.py brings, converts in a process of its own, and measures."""
    torch.manual_seed(0)
    network = torchvision.models.resnet50()
    network.fc = torch.nn.Identity()
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    torch.save(network.state_dict(), mirror / "trex.pth")
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    ran = launch("fetch", "trex", "--mirror", mirror)
    assert ran.returncode == 2
    assert "4 named: 1 in the store, 3 left to do" in ran.stdout and "not for commercial use" in ran.stdout
    assert ran.stdout.count("launch.py fetch trex-") == 3 and "trexstar.pth" in ran.stdout
    ran = launch("fetch", "trex-star_resnet50", "--from", tmp_path / "mine.pth")
    assert ran.returncode == 0, ran.stderr
    assert launch("fetch", "trex*", "--from", tmp_path / "mine.pth").returncode == 2

    from jobs.lib import backbone

    for name in ("trex_resnet50", "trex-star_resnet50"):
        found = backbone.load(known.model(name), known.store.weights)
        assert torch.equal(found.network.layer4[2].conv3.weight, network.layer4[2].conv3.weight)
    listed = launch("list", "models").stdout
    assert [("yes" in line) for line in listed.splitlines() if " trex_resnet50 " in line] == [True]


def test_families_and_patterns(known: Catalog) -> None:
    assert len(fetch.names(["cog"], known)) == 31 and len(fetch.names(["ssl-transfer"], known)) == 14
    both = fetch.names(["cog", "ssl-transfer"], known)
    assert len(both) == len(set(both)) < 45
    assert set(fetch.names(["moco-v?_resnet50"], known)) == {"moco-v1_resnet50", "moco-v2_resnet50"}
    assert fetch.names(["digits", "nothing"], known) == ["digits", "nothing"]


def test_models_and_data_sets_are_told_apart(known: Catalog) -> None:
    """`cog` is a family of models, and cog-l1 to cog-l5 are data sets."""
    assert not known.datasets.keys() & known.models.keys()
    assert not known.datasets.keys() & {family for one in known.models.values() for family in one.families}
    assert not known.datasets.keys() & set(fetch.names(["cog", "ssl-transfer", "trex"], known))
    assert fetch.names(["cog-l?"], known) == [f"cog-l{level}" for level in range(1, 6)]
    mixed = fetch.names(["trex", "inat*", "dtd"], known)
    assert mixed[-3:] == ["inat2018", "inat2019", "dtd"] and set(mixed[:-3]) <= known.models.keys()


def test_one_failure_stops_no_other(known: Catalog) -> None:
    told, begun = list[str](), list[str]()

    @contextmanager
    def line(name: str) -> Iterator[Any]:
        begun.append(name)
        yield nothing

    wanted = ["camvid", "digits", "moco-v0", "digit-scenes"]
    failed = list(fetch.each(wanted, known, line, how(known, tell=told.append)))
    assert begun == wanted
    assert [one.split()[0] for one in failed] == ["camvid:", "unknown"]
    assert told[-1] == "4 named: 2 in the store, 2 left to do"
    assert (known.store.data / "digit-scenes").is_dir()


def test_timm_weights(launch: Launch, known: Catalog, served: tuple[str, dict[str, bytes]]) -> None:
    import timm

    torch.manual_seed(1)
    network = timm.create_model("resnet18", num_classes=10)
    host, files = served
    files["/timm/resnet18.a1_in1k/resolve/main/model.safetensors"] = safetensors.torch.save(network.state_dict())
    assert launch("fetch", "timm:resnet18?pretrained", HF_ENDPOINT=host).returncode == 0
    words = ("--tasks", "knn", "--models", "timm:resnet18?pretrained", "--datasets", "digits")
    ran = launch("grid", *words, "--dry-run")
    assert "knn-v1/digits/pretrained_timm-resnet18/0" in ran.stdout, ran.stderr

    from jobs.lib import backbone

    found = backbone.load(known.model("pretrained_timm-resnet18"), known.store.weights)
    assert torch.equal(found.network.conv1.weight, network.conv1.weight)
    refused = launch("fetch", "timm:resnet34?pretrained", "timm:resnt18", HF_ENDPOINT=host)
    assert refused.returncode == 2
    assert "404" in refused.stderr
    assert "unknown architecture 'timm:resnt18'" in refused.stderr


def test_digits_are_the_scans(known: Catalog) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    scans = load_digits()
    for number in (0, 5, 1796):
        (path,) = known.store.data.glob(f"digits/*/{scans.target[number]}/{number:04d}.png")
        with Image.open(path) as image:
            assert list(image.get_flattened_data() if hasattr(image, "get_flattened_data") else image.getdata()) == [
                round(v * 255 / 16) for v in scans.data[number]
            ]
    assert len(list(known.store.data.glob("digits/*/*/*.png"))) == 1797
    assert not list(Path(known.store.data).glob(".digits*"))
