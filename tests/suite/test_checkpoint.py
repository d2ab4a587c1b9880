"""Weights files as PyTorch and safetensors really write them; cut, foreign and hostile ones; the sample files."""

import argparse
import collections
import importlib
import json
import os
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import checkpoint, unpickle
from suite.checkpoint import Checkpoint, CheckpointError, inspect, sha256

SHARED = Path(os.environ.get("SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data") / "weights"
torch = pytest.importorskip("torch", reason="no PyTorch here to write checkpoints with")
numpy = pytest.importorskip("numpy")
FORMATS = {"torch-zip": True, "torch-legacy": False}


def small() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))


def shapes(state: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def save(path: Path, held: object, format: str = "torch-zip", **more: Any) -> Path:
    torch.save(held, path, _use_new_zipfile_serialization=FORMATS[format], **more)
    return path


def message(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        inspect(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


# ---- what is read


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_state_dict(format: str, protocol: int, tmp_path: Path) -> None:
    state = small().state_dict()
    path = save(tmp_path / "weights.pth", state, format, pickle_protocol=protocol)
    assert inspect(path) == Checkpoint(format, shapes(state), path.stat().st_size)


@pytest.mark.parametrize("format", FORMATS)
def test_training_checkpoint_with_what_people_put_in_it(format: str, tmp_path: Path) -> None:
    model = small()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model[2](torch.zeros(1, 4)).sum().backward()
    optimiser.step()
    held = {
        "state_dict": {f"module.{name}": tensor for name, tensor in model.state_dict().items()},
        "optimizer": optimiser.state_dict(),
        "args": argparse.Namespace(lr=0.1, out=Path("runs").parent / "a", betas=(0.9, 0.99)),
        "best": numpy.float64(76.1),
        "history": collections.defaultdict(list, {"loss": [1.0]}),
        "numbers": numpy.arange(3),
        "sets": {1, 2},
        "frozen": frozenset({"a"}),
        "device": torch.device("cpu"),
        "type": torch.float16,
        "size": torch.Size([2, 3]),
    }
    path = save(tmp_path / "checkpoint.pth.tar", held, format)
    found = inspect(path).tensors
    assert {name: shape for name, shape in found.items() if name.startswith("state_dict.")} == {
        f"state_dict.{name}": shape for name, shape in shapes(held["state_dict"]).items()
    }
    assert {name for name in found if not name.startswith("state_dict.")} == {
        f"optimizer.state.{number}.momentum_buffer" for number in (4, 5)
    }


@pytest.mark.parametrize("format", FORMATS)
def test_kinds_of_tensors(format: str, tmp_path: Path) -> None:
    base = torch.arange(24.0)
    held = {
        "half": base.half().reshape(2, 12),
        "brain": base.bfloat16(),
        "complex": torch.zeros(3, dtype=torch.complex64),
        "flag": torch.tensor(True),
        "view": base[4:10].reshape(2, 3),
        "same": base,
        "parameter": torch.nn.Parameter(torch.zeros(5)),
        "sparse": torch.eye(3).to_sparse(),
        "empty": torch.zeros(0, 7),
        "list": [torch.zeros(1), (torch.zeros(2),)],
    }
    expected = {name: tuple(tensor.shape) for name, tensor in held.items() if isinstance(tensor, torch.Tensor)}
    found = inspect(save(tmp_path / "kinds.pt", held, format)).tensors
    assert found == expected | {"list.0": (1,), "list.1.0": (2,)}


@pytest.mark.parametrize("format", FORMATS)
def test_where_the_numbers_lie(format: str, tmp_path: Path) -> None:
    base = torch.arange(24.0)
    held = {"first": torch.ones(5).double(), "view": base[4:10].reshape(2, 3), "turned": base.reshape(4, 6).t()}
    path = save(tmp_path / "parts.pt", held | {"sparse": torch.eye(3).to_sparse()}, format)
    found = inspect(path)
    assert found.parts["sparse"].storage is None
    for name, tensor in held.items():
        part = found.parts[name]
        assert (part.offset, part.stride) == (tensor.storage_offset(), tensor.stride())
        place = found.places[part.storage.key]
        if isinstance(place, str):
            content = zipfile.ZipFile(path).read(place)
        else:
            content = path.read_bytes()[place : place + part.storage.size]
        kind = {"Float": "f", "Double": "d"}[part.storage.kind]
        numbers = [number for (number,) in struct.iter_unpack(f"<{kind}", content)]
        assert numbers == (base if kind == "f" else held["first"]).tolist()


@pytest.mark.parametrize("format", FORMATS)
def test_what_an_entry_lists_stays_closed(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = types.ModuleType("gone")
    gone.Options = type("Options", (), {"__module__": "gone"})  # type: ignore[attr-defined]
    options, state = gone.Options(), small().state_dict()
    options.lr, options.tensor = 0.1, torch.ones(2)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "gone", gone)
        path = save(
            tmp_path / "w.pth", {"state_dict": state, "args": options, "more": [options, torch.ones(3)]}, format
        )
    assert "refused: its pickle names 'gone.Options'" in message(path)
    expected = {f"state_dict.{name}": shape for name, shape in shapes(state).items()} | {"more.1": (3,)}
    assert inspect(path, ("gone.*",)).tensors == expected


def test_safetensors(tmp_path: Path) -> None:
    writer = pytest.importorskip("safetensors.torch")
    state = small().state_dict()
    writer.save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    found = inspect(tmp_path / "model.safetensors")
    assert (found.format, found.tensors) == ("safetensors", shapes(state))


@pytest.mark.filterwarnings("ignore")
def test_torchscript(tmp_path: Path) -> None:
    model = small().eval()
    torch.jit.trace(model[:2], torch.zeros(1, 3, 8, 8)).save(str(tmp_path / "script.pt"))
    found = inspect(tmp_path / "script.pt")
    assert found.format == "torchscript"
    assert found.tensors.items() >= shapes({k: v for k, v in model[:2].state_dict().items() if "num_" not in k}).items()


def test_every_name_that_torch_permits_is_permitted() -> None:
    permitted = importlib.import_module("torch._weights_only_unpickler")._get_allowed_globals()
    assert [name for name in permitted if not unpickle._permitted(name)] == []


def test_harmless_names_let_torch_read_the_same_file(tmp_path: Path) -> None:
    held = {
        "weight": torch.zeros(2),
        "args": argparse.Namespace(lr=0.1, out=Path("a")),
        "best": numpy.float64(76.1),
        "count": numpy.int64(3),
        "numbers": numpy.arange(3, dtype="float32"),
        "history": collections.defaultdict(list, {"loss": [1.0]}),
        "frozen": frozenset({"a"}),
    }
    path = save(tmp_path / "weights.pth", held)
    assert inspect(path).tensors == {"weight": (2,)}
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    with torch.serialization.safe_globals([entry for name in checkpoint.HARMLESS for entry in resolve(name)]):
        read = torch.load(path, weights_only=True)
    assert read["args"] == held["args"]
    assert (read["best"], read["count"], read["history"]["loss"]) == (76.1, 3, [1.0])


def resolve(name: str) -> list[tuple[Any, str]]:
    """As the jobs do it: (object, name), or nothing where the installed library does not have it."""
    if name == "collections.defaultdict":  # torch fills only dict, OrderedDict and Counter
        return [(lambda *_: collections.OrderedDict(), name)]
    module, _, attribute = name.rpartition(".")
    try:
        return [(getattr(importlib.import_module(module), attribute), name)]
    except (ImportError, AttributeError):
        return []


# ---- what is refused


def test_missing_folder_empty_and_foreign(tmp_path: Path) -> None:
    assert message(tmp_path / "none.pth") == "no such file; check the path, or fetch it"
    assert message(tmp_path).startswith("is a folder; name the weights file")
    contents = {
        b"": "is empty",
        b"\n <!DOCTYPE html><html><title>Quota exceeded</title></html>": "is a web page, not weights",
        b"<html><body>Google Drive - Virus scan warning": "is a web page, not weights",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0": "is a Git LFS pointer",
        b"\x89PNG\r\n\x1a\n" + bytes(99): "is not a checkpoint of PyTorch or safetensors (it begins with b'\\x89PNG",
        b"just some notes about weights": "is not a checkpoint",
        b"{": "is not a checkpoint",
        b"\x80": "is cut short, or no checkpoint",
        b"\x80\x02" + bytes(50): "is cut short, or no checkpoint",
        pickle.dumps({"weight": [1.0]}, 2): "is a pickle that torch.save did not write",
        b"PK\x05\x06" + bytes(18): "is an empty zip archive",
    }
    for content, expected in contents.items():
        (tmp_path / "file.pth").write_bytes(content)
        assert message(tmp_path / "file.pth").startswith(expected)


def test_a_zip_archive_and_a_file_without_tensors(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("images/1.jpg", "a photo")
    assert message(tmp_path / "images.zip").startswith("is a zip archive without data.pkl")
    assert message(save(tmp_path / "log.pth", {"epoch": 3})).startswith("holds no tensor")


@pytest.mark.parametrize("format", [*FORMATS, "safetensors", "torchscript"])
@pytest.mark.filterwarnings("ignore")
def test_a_file_cut_anywhere_is_never_accepted(format: str, tmp_path: Path) -> None:
    path, cut = tmp_path / "whole", tmp_path / "cut"
    if format in FORMATS:
        save(path, {"state_dict": small().state_dict(), "epoch": 3}, format)
    elif format == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(small().state_dict(), path)
    else:
        torch.jit.trace(small()[0], torch.zeros(1, 3, 8, 8)).save(str(path))
    whole = path.read_bytes()
    assert inspect(path).format == format
    for end in [*range(1, len(whole), max(1, len(whole) // 300)), len(whole) - 1]:
        cut.write_bytes(whole[:end])
        assert message(cut)
    for end in (len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:end])
        assert message(cut).startswith("is cut short")


@pytest.mark.parametrize(("change", "expected"), [("drop", "and is missing"), ("shorten", "and is 5 bytes")])
def test_a_zip_whose_tensor_data_is_missing_or_short(change: str, expected: str, tmp_path: Path) -> None:
    path = save(tmp_path / "whole.pth", small().state_dict())
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "cut.pth", "w") as target:
        for name in source.namelist():
            if not name.endswith("/data/2"):
                target.writestr(name, source.read(name))
            elif change == "shorten":
                target.writestr(name, source.read(name)[:5])
    assert message(tmp_path / "cut.pth").startswith("is cut short: the data of tensor whole/data/2 should be 16 bytes")
    assert expected in message(tmp_path / "cut.pth")


def test_safetensors_header_damaged(tmp_path: Path) -> None:
    for header in (b'{"a": {"dtype": "F32"}}', b'{"a": 3}', b"{not json}"):
        (tmp_path / "file").write_bytes(struct.pack("<Q", len(header)) + header)
        assert message(tmp_path / "file").startswith("its safetensors header is damaged")


class Hostile:
    """Pickles to a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("writer", [*FORMATS, "plain", "plain 4"])
def test_code_is_refused_by_name_and_not_run(writer: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "weights.pth"
    calls = {
        f"{os.system.__module__}.system": Hostile(os.system, f"touch {mark}"),
        "builtins.eval": Hostile(eval, f"open({str(mark)!r}, 'w')"),
        "builtins.getattr": Hostile(getattr, mark, "touch"),
        "pathlib.Path.touch": Hostile(Path.touch, mark),
    }
    for name, hostile in calls.items():
        if writer != "plain 4" and name.startswith("pathlib"):
            continue  # nested names need protocol 4
        if writer in FORMATS:
            save(path, {"state_dict": small().state_dict(), "extra": hostile}, writer)
        else:
            path.write_bytes(pickle.dumps(hostile, 4 if writer == "plain 4" else 2))
        assert f"refused: its pickle names '{name}'" in message(path)
        assert not mark.exists()


def test_a_whole_model_is_refused_by_its_class(tmp_path: Path) -> None:
    assert "names 'torch.nn.modules.container.Sequential'" in message(save(tmp_path / "model.pth", small()))


def zipped(path: Path, pickled: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
    return path


def test_containers_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpickle, "_MOST", 10_000)
    loop: list[Any] = []
    loop.append(loop)
    bush: list[Any] = []
    for _ in range(40):
        bush = [bush, bush]
    for held in (loop, bush):
        assert message(zipped(tmp_path / "file.pth", pickle.dumps(held, 2))).startswith(
            "refused: containers nested without end"
        )


def test_a_pickle_cannot_change_the_reader(tmp_path: Path) -> None:
    """BUILD sets attributes even of a class: of a stand-in made for this file alone."""
    pickled = b"\x80\x02ctorch\nSize\n}(X\x01\x00\x00\x00aK\x01u}(X\x07\x00\x00\x00__new__cargparse\nNamespace\nu\x86b."
    message(zipped(tmp_path / "file.pth", pickled))
    state = {"size": torch.Size([1]), "weight": torch.zeros(2)}
    assert inspect(save(tmp_path / "good.pth", state)).tensors == {"weight": (2,)}


def test_a_pickle_cannot_change_where_a_tensor_lies(tmp_path: Path) -> None:
    """BUILD gives a tensor a state; an ordinary object would take it for its attributes."""
    reference = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ"
    state = b"}X\x05\x00\x00\x00shapeK\x63sb"
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + b"K\x00K\x02\x85K\x01\x85\x89}tR" + state
    path = zipped(tmp_path / "file.pth", b"\x80\x02}X\x01\x00\x00\x00w" + made + b"s.")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/data/0", bytes(8))
    assert inspect(path).tensors == {"w": (2,)}


# ---- sha256


def test_sha256_and_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = tmp_path / "file", tmp_path / "cache.json"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(path) == known
    cache.write_text("{damaged")
    assert sha256(path, cache) == known
    assert list(json.loads(cache.read_text()).values()) == [known]
    assert [each.name for each in tmp_path.iterdir() if each not in (path, cache)] == []
    monkeypatch.setattr(checkpoint, "_sha256", None)  # it is not read again
    assert sha256(path, cache) == known
    monkeypatch.undo()
    path.write_bytes(b"abcd")
    assert sha256(path, cache) != known


# ---- real files

SAMPLES = {
    "cifar10_resnet20-12fca82f.th": ("torch-legacy", 97, "state_dict.module.conv1.weight", (16, 3, 3, 3)),
    "mobilenet_v2_imagenet_fp16.pth": ("torch-zip", 314, "features.0.0.weight", (32, 3, 3, 3)),
    "squeezenet1_0_imagenet_fp16.pth": ("torch-zip", 52, "features.0.weight", (96, 3, 7, 7)),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_sample_files(sample: str) -> None:
    path = SHARED / sample
    if not path.is_file():
        pytest.skip(f"no sample data: weights/{sample} is neither in $SHARED_DATA nor in ../shared/data")
    format, count, name, shape = SAMPLES[sample]
    found = inspect(path)
    assert (found.format, len(found.tensors), found.tensors[name]) == (format, count, shape)
    held = torch.load(path, weights_only=True, map_location="cpu")
    prefix = "state_dict." if "state_dict" in held else ""
    expected = {prefix + key: value for key, value in shapes(held.get("state_dict", held)).items()}
    assert found.tensors == expected


@pytest.mark.parametrize("padding", range(0, 1300, 128))
def test_safetensors_of_any_header_length(tmp_path: Path, padding: int) -> None:
    writer = pytest.importorskip("safetensors.torch")
    path = tmp_path / "w.safetensors"
    writer.save_file({"a": torch.ones(2)}, path, metadata={"pad": "x" * padding})
    assert inspect(path).tensors == {"a": (2,)}
