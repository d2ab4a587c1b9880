"""Fetch: a file appears whole and checked or not at all, whatever the server does."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from conftest import Launch

from suite import fetch
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.model import Model, Weights


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


def test_what_a_server_can_do_wrong(known: Catalog, served: tuple[str, dict[str, bytes]], weights: bytes) -> None:
    host, files = served
    sha256 = hashlib.sha256(weights).hexdigest()
    files |= {"/w": weights, "/cut": weights, "/login": b"<!DOCTYPE html><html>Sign in</html>", "/other": weights[::-1]}
    entry = Model("w_squeezenet1_1", "squeezenet1_1", 512, weights=Weights("w.pth", sha256[:8]))

    def bring(*paths: str, digest: str = sha256[:8]) -> str:
        brought = replace(entry, weights=replace(entry.weights, urls=tuple(host + p for p in paths), sha256=digest))
        return fetch.weights(brought, known, nothing)

    answers = {"/none": "404", "/cut": "the connection ended", "/login": "web page", "/other": "checkpoint"}
    for path, told in answers.items():
        with pytest.raises(Refusal, match=f"(?i){told}"):
            bring(path)
        assert [p.name for p in known.store.weights.iterdir() if "lock" not in p.name] == []
    with pytest.raises(Refusal, match="its SHA-256 is"):
        bring("/w", digest="00000000")
    assert "w.pth" in bring("/none", "/cut", "/w")  # the next address is tried
    assert (known.store.weights / "w.pth").read_bytes() == weights
    files.clear()
    assert "w.pth" in bring("/w")  # it is there


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
