"""Published checkpoints of every format, as their writers make them: what is read, what is refused; nothing is run."""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import tf_writer
import torch
from torch import nn

from jobs.lib import tensors
from jobs.lib.crc32c import crc32c
from jobs.lib.failure import BadWeights
from suite.model import Origin

ZIP, LEGACY = True, False


def read(path: Path, **origin: Any) -> dict[str, torch.Tensor]:
    return tensors.read([path], Origin(**origin))


def refused(*paths: Path, **origin: Any) -> str:
    with pytest.raises(BadWeights) as caught:
        tensors.read(paths, Origin(**origin))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor.detach()), name


def state() -> dict[str, torch.Tensor]:
    """Tensors of many kinds, views of one storage among them."""
    torch.manual_seed(0)
    base = torch.randn(24)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3),
        "view": base[4:10].reshape(2, 3),
        "turned": base.reshape(4, 6).t(),
        "half": base.half(),
        "brain": base.bfloat16(),
        "double": base.double(),
        "count": torch.tensor(7),
        "flag": torch.tensor([True, False]),
        "byte": torch.arange(5, dtype=torch.uint8),
        "empty": torch.zeros(0, 7),
        "parameter": nn.Parameter(torch.randn(3)),
    }


# ---- PyTorch


@pytest.mark.parametrize("format", [ZIP, LEGACY], ids=["zip", "legacy"])
def test_plain_files(format: bool, tmp_path: Path) -> None:
    held = {"model": state(), "epoch": 3, "optimizer": {"state": {0: {"momentum": torch.ones(2)}}}}
    torch.save(held, tmp_path / "w.pth", _use_new_zipfile_serialization=format)
    expected = {f"model.{name}": tensor for name, tensor in state().items()}
    same(read(tmp_path / "w.pth"), expected | {"optimizer.state.0.momentum": torch.ones(2)})


def test_safetensors(tmp_path: Path) -> None:
    whole = {name: tensor.detach().clone().contiguous() for name, tensor in state().items()}
    safetensors.torch.save_file(whole, tmp_path / "w.safetensors")
    same(read(tmp_path / "w.safetensors"), whole)
    same(read(tmp_path / "w.safetensors", opaque=("dill.*",)), whole)


class Foreign:
    """Pickles as its writer says, by what a module that is gone has."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce_ex__(self, _: Any) -> Any:
        return self.reduced


@pytest.fixture
def cox(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A library that exists while a file is written."""
    module = types.ModuleType("cox.utils")
    for name in ("Parameters", "restore"):
        made = type(name, (), {"__module__": "cox.utils", "__qualname__": name})
        setattr(module, name, made)
    module.Network = type("Network", (nn.Module,), {"__module__": "cox.utils"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cox", types.ModuleType("cox"))
    monkeypatch.setitem(sys.modules, "cox.utils", module)
    return module


def foreign(cox: types.ModuleType) -> dict[str, Any]:
    """What the pickle machine can do with an object: call, make, fill, set; and make one of what was made."""
    called, made = Foreign(cox.restore, (1, "a"), {"lr": 0.1}), cox.Parameters()
    made.tensor = torch.ones(2)
    return {
        "called": called,
        "made": made,
        "filled": Foreign(cox.restore, (), None, iter([1, 2]), iter([("a", 1)])),
        "slots": Foreign(cox.restore, (), (None, {"slot": 1})),
        "of what was made": Foreign(cox.Parameters, (called, [called], {"k": called})),
        "class": cox.Parameters,
        "network": cox.Network,
        "key": {cox.Parameters: 1},
    }


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("format", [ZIP, LEGACY], ids=["zip", "legacy"])
def test_what_an_entry_lists_stays_closed(
    format: bool, protocol: int, cox: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {"extra": foreign(cox), "model": state(), "more": [torch.ones(1), (foreign(cox),)]}
    torch.save(held, tmp_path / "w.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=format)
    monkeypatch.setitem(sys.modules, "cox", None)
    monkeypatch.setitem(sys.modules, "cox.utils", None)
    told = refused(tmp_path / "w.pth", opaque=("dill.*", "cox.other*"))
    assert "refused: its pickle names 'cox.utils." in told
    expected = {f"model.{name}": tensor for name, tensor in state().items()} | {"more.0": torch.ones(1)}
    same(read(tmp_path / "w.pth", opaque=("dill.*", "cox.*")), expected)
    same(read(tmp_path / "w.pth", opaque=("cox.utils.[NP]*", "cox.utils.restore")), expected)


@pytest.mark.parametrize("format", [ZIP, LEGACY], ids=["zip", "legacy"])
def test_code_is_refused_within_what_is_closed_too(format: bool, cox: types.ModuleType, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    attack = Foreign(os.system, (f"touch {mark}",))
    within = Foreign(cox.restore, (attack,), {"state": attack})
    for held in (attack, within):
        torch.save({"model": state(), "extra": held}, tmp_path / "w.pth", _use_new_zipfile_serialization=format)
        told = refused(tmp_path / "w.pth", opaque=("cox.*",))
        assert f"refused: its pickle names '{os.system.__module__}.system'" in told
        # Even listed, it is not run.
        assert "model.count" in read(tmp_path / "w.pth", opaque=("*",))
    assert not mark.exists()


def test_what_is_closed_is_no_tensor(cox: types.ModuleType, tmp_path: Path) -> None:
    rebuild = torch._utils._rebuild_tensor_v2  # type: ignore[attr-defined]
    for arguments in ((cox.restore, 0, (2,), (1,), False, {}), (cox.restore,) * 6):
        torch.save({"odd": Foreign(rebuild, arguments), "w": torch.ones(1)}, tmp_path / "w.pth")
        try:
            assert read(tmp_path / "w.pth", opaque=("cox.*",)).keys() == {"w"}
        except BadWeights as told:
            assert "its pickle cannot be read" in str(told)


@pytest.mark.parametrize("change", [{"offset": 30}, {"shape": (5, 5)}, {"stride": (100, 1)}], ids=str)
def test_a_tensor_beyond_its_storage_is_told(
    change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    torch.save({"w": torch.arange(6.0).reshape(2, 3)}, tmp_path / "w.pth")
    found = tensors.checkpoint.inspect(tmp_path / "w.pth")
    damaged = replace(found, parts={"w": replace(found.parts["w"], **change)})
    monkeypatch.setattr(tensors.checkpoint, "inspect", lambda *_: damaged)
    assert "w is not within its storage" in refused(tmp_path / "w.pth", opaque=("a",))


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.scale = nn.Parameter(torch.tensor(2.5))
        self.register_buffer("size", torch.tensor(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.visual(x) * self.scale


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", ["script", "trace"])
def test_torchscript(make: str, tmp_path: Path) -> None:
    network = Branch().eval()
    network.visual.half()
    if make == "script":
        script = torch.jit.script(network)
    else:
        script = torch.jit.trace(network.float(), torch.zeros(1, 3, 8, 8))
        script.visual.half()
    script.save(str(tmp_path / "w.pt"))
    found = read(tmp_path / "w.pt")
    counter = {} if make == "script" else {name for name in network.state_dict() if "num_batches" in name}
    expected = {name: tensor for name, tensor in script.state_dict().items() if name not in counter or name in found}
    assert found["visual.0.weight"].dtype == torch.float16
    same({name: found[name] for name in expected}, expected)
    assert [name for name in found if name not in expected] == []


def test_a_damaged_archive(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, tmp_path / "w.pth")
    content = bytearray((tmp_path / "w.pth").read_bytes())
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        entry = archive.getinfo("w/data/0")
    content[entry.header_offset + 200] ^= 1  # among the numbers
    (tmp_path / "w.pth").write_bytes(content)
    assert "is damaged (Bad CRC-32 for file 'w/data/0')" in refused(tmp_path / "w.pth", opaque=("a",))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["zip", "legacy", "torchscript", "haiku"])
def test_a_file_cut_anywhere_is_refused(kind: str, cox: types.ModuleType, tmp_path: Path) -> None:
    path, cut = tmp_path / "whole", tmp_path / "cut"
    small = {"w": torch.arange(10.0), "more": Foreign(cox.restore, ())}
    if kind == "torchscript":
        torch.jit.script(nn.Linear(2, 2)).save(str(path))
    elif kind == "haiku":
        path.write_bytes(pickle.dumps({"w": np.arange(10.0)}, 2))
    else:
        torch.save(small, path, _use_new_zipfile_serialization=kind == "zip")
    origin = {"reader": "haiku"} if kind == "haiku" else {"opaque": ("cox.*",)}
    whole = path.read_bytes()
    assert read(path, **origin)
    for end in [*range(1, len(whole), max(1, len(whole) // 100)), len(whole) - 1]:
        cut.write_bytes(whole[:end])
        assert refused(cut, **origin)


def test_one_file_is_a_checkpoint(tmp_path: Path) -> None:
    assert "one file was expected, not 2" in refused(tmp_path / "a", tmp_path / "b")
    assert "no such file" in refused(tmp_path / "a")
    assert "cannot be read: No such file" in refused(tmp_path / "a", reader="haiku")


# ---- TensorFlow


def variables() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    found = {
        f"base_model/conv2d_{number}/kernel": draw.standard_normal((3, 3, 2, number)).astype("f4")
        for number in range(1, 20)
    }
    kinds = ("float32", "float64", "float16", "int32", "int64", "uint8")
    found |= {f"of/{kind}": draw.integers(0, 9, (2, 3)).astype(kind) for kind in kinds}
    return found | {"flag": np.array([True, False]), "global_step": np.array(7), "none": np.zeros((0, 3))}


def equal(found: dict[str, torch.Tensor], expected: dict[str, np.ndarray]) -> None:
    same(found, {name: torch.from_numpy(array) for name, array in expected.items()})


@pytest.mark.parametrize("shards", [1, 3])
def test_tensorflow(shards: int, tmp_path: Path) -> None:
    files = tf_writer.write(tmp_path, "model.ckpt-7", variables(), shards)
    others = [tmp_path / "model.ckpt-7.meta", tmp_path / "checkpoint"]
    equal(tensors.read([*files, *others], Origin(reader="tensorflow")), variables())


def test_tensorflow_leaves_texts_out(tmp_path: Path) -> None:
    header = tf_writer.field(1, 1)
    entries = {b"": header, b"_CHECKPOINTABLE_OBJECT_GRAPH": tf_writer.field(1, tf_writer.TEXT)}
    files = tf_writer.whole(tmp_path, "m", entries, [b"a text"], tf_writer.NONE)
    assert tensors.read(files, Origin(reader="tensorflow")) == {}


def test_tensorflow_refuses(tmp_path: Path) -> None:
    def told(*given: Path) -> str:
        return refused(*given, reader="tensorflow")

    index, first, second = tf_writer.write(tmp_path, "m", variables(), shards=2)
    assert "0 .index files among m.data-00000-of-00002" in told(first, second)
    assert "m.data-00001-of-00002 is not there" in told(index, first)
    numbers, table = second.read_bytes(), index.read_bytes()
    second.write_bytes(numbers[:-1])
    assert "is cut short" in told(index, first, second)
    second.write_bytes(numbers[:9] + bytes([numbers[9] ^ 1]) + numbers[10:])
    assert "is damaged: the check sum of base_model/conv2d_10/kernel" in told(index, first, second)
    second.write_bytes(numbers)
    for at in (3, 100, len(table) // 2):
        index.write_bytes(table[:at] + bytes([table[at] ^ 1]) + table[at + 1 :])
        assert "is damaged: the check sum of a block" in told(index, first, second)
    for end in range(0, len(table), len(table) // 60):
        index.write_bytes(table[:end])
        assert "is no index of a TensorFlow checkpoint" in told(index, first, second)
        index.write_bytes(table[:end] + table[-8:])  # with the end of a footer
        assert told(index, first, second)
    packed = tf_writer.write(tmp_path, "packed", variables(), packed=tf_writer.SNAPPY)
    assert "is compressed (kind 1: snappy is 1)" in told(*packed)
    slices = tf_writer.field(1, 1) + tf_writer.field(7, b"")
    parted = tf_writer.whole(tmp_path, "parted", {b"": tf_writer.field(1, 1), b"v": slices}, [b""], 0)
    assert "v is in several slices" in told(*parted)
    big = tf_writer.whole(tmp_path, "big", {b"": tf_writer.field(1, 1) + tf_writer.field(2, 1)}, [b""], 0)
    assert "big-endian" in told(*big)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 66, 100, 999, 5000])
def test_crc32c(count: int) -> None:
    content = np.random.default_rng(count).bytes(count)
    assert crc32c(content) == tf_writer.crc(content)


def test_crc32c_as_rfc_3720_has_it() -> None:
    assert crc32c(bytes(32)) == tf_writer.crc(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


# ---- Haiku


class _ByolExperimentState(NamedTuple):
    online_params: Any
    target_params: Any
    online_state: Any
    target_state: Any
    opt_state: Any


_ByolExperimentState.__module__ = "byol.byol_experiment"


class FlatMapping(dict[str, Any]):
    __module__ = "haiku._src.data_structures"

    def __reduce_ex__(self, _: Any) -> Any:
        return type(self), (dict(self),)


def called(name: str) -> Callable[..., Any]:
    """A function that a file names and that is not run here."""

    def function(*_: Any) -> None:
        raise AssertionError(f"{name} was run")

    function.__module__, _, function.__qualname__ = name.rpartition(".")
    function.__name__ = function.__qualname__
    return function


ARRAY = called("jax._src.array._reconstruct_array")
DEVICE = called("jax._src.device_array.reconstruct_device_array")
OLDER = called("jax.interpreters.xla.reconstruct_device_array")
DILL_ARRAY = called("dill._dill._create_array")
DILL_TUPLE = called("dill._dill._create_namedtuple")
DILL_OF_MODULE = called("dill._dill._get_attr")
DILL_MODULE = called("dill._dill._import_module")


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that have what the pickles below name, by its name."""
    dill = (DILL_ARRAY, DILL_TUPLE, DILL_OF_MODULE, DILL_MODULE)
    for held in (_ByolExperimentState, FlatMapping, ARRAY, DEVICE, OLDER, *dill):
        path = ""
        for part in held.__module__.split("."):
            path = f"{path}.{part}" if path else part
            if path not in sys.modules or not hasattr(sys.modules[path], "of_this_test"):
                module = types.ModuleType(path)
                module.of_this_test = True  # type: ignore[attr-defined]
                monkeypatch.setitem(sys.modules, path, module)
        setattr(sys.modules[held.__module__], held.__name__, held)


def on_device(function: Callable[..., Any], array: np.ndarray) -> Foreign:
    made, arguments, contents = array.__reduce__()  # type: ignore[misc]
    return Foreign(function, (made, arguments, contents, {"weak_type": False, "named_shape": {}}))


class Dill(pickle.Pickler):
    """Puts a named tuple's fields into the file and has functions be looked up in modules, as dill does."""

    def reducer_override(self, held: Any) -> Any:
        if held is _ByolExperimentState:
            return DILL_TUPLE, (held.__name__, held._fields, held.__module__)
        if isinstance(held, types.ModuleType):
            return DILL_MODULE, (held.__name__,)
        if isinstance(held, types.BuiltinFunctionType) and isinstance(held.__self__, types.ModuleType):
            return DILL_OF_MODULE, (held.__self__, held.__name__)
        return NotImplemented


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("fields", ["by reference", "by dill"])
def test_haiku(fields: str, protocol: int, libraries: None, tmp_path: Path) -> None:
    weight, mean = np.random.default_rng(0).standard_normal((3, 3, 2, 4)).astype("f4"), np.ones((1, 1, 1, 4), "f4")
    name = "res_net50/~/initial_conv"
    dicts = [
        FlatMapping({name: {"w": weight}}),
        {name: {"w": on_device(ARRAY, weight)}},
        FlatMapping({f"{name}/~/mean_ema": FlatMapping({"average": on_device(DEVICE, mean)})}),
        {"x": on_device(OLDER, mean), "y": on_device(DILL_ARRAY, np.asfortranarray(weight))},
        (np.float32(3), [np.arange(3, dtype=">i4")], "text", np.array([None]), np.zeros((0, 2))),
    ]
    held = {"experiment_state": _ByolExperimentState(*dicts), "step": 3, "rng": on_device(OLDER, np.arange(2))}
    path, content = tmp_path / "pretrain.pkl", io.BytesIO()
    (Dill if fields == "by dill" else pickle.Pickler)(content, protocol).dump(held)
    path.write_bytes(content.getvalue())
    found = read(path, reader="haiku")
    where = "experiment_state."
    assert found.keys() == {
        f"{where}online_params.{name}.w",
        f"{where}target_params.{name}.w",
        f"{where}online_state.{name}/~/mean_ema.average",
        f"{where}target_state.x",
        f"{where}target_state.y",
        *(f"{where}opt_state.{number}" for number in ("0", "1.0", "4")),
        "rng",
    }
    for part in ("online_params", "target_params"):
        assert torch.equal(found[f"{where}{part}.{name}.w"], torch.from_numpy(weight))
    assert torch.equal(found[f"{where}target_state.y"], torch.from_numpy(weight))
    assert torch.equal(found[f"{where}online_state.{name}/~/mean_ema.average"], torch.from_numpy(mean))
    assert found[f"{where}opt_state.1.0"].tolist() == [0, 1, 2]
    assert found[f"{where}opt_state.0"].item() == 3


def test_haiku_refuses(libraries: None, tmp_path: Path) -> None:
    path, mark = tmp_path / "w.pkl", tmp_path / "ran"
    array, attack = np.ones(2, "f4"), Foreign(os.system, (f"touch {mark}",))
    for held in ({"w": array, "more": attack}, FlatMapping({"w": Foreign(ARRAY, (attack, (), ()))})):
        path.write_bytes(pickle.dumps(held, 4))
        assert f"refused: its pickle names '{os.system.__module__}.system'" in refused(path, reader="haiku")
    with open(path, "wb") as file:
        Dill(file, 2).dump({"w": array, "more": attack})
    assert f"refused: its pickle names '{os.system.__module__}.system'" in refused(path, reader="haiku")
    path.write_bytes(pickle.dumps({"w": Foreign(DILL_OF_MODULE, (array, "tofile"))}, 2))
    assert "its pickle cannot be read (an attribute of" in refused(path, reader="haiku")
    path.write_bytes(pickle.dumps({"w": array, "more": attack}, 4))
    assert read(path, reader="haiku", opaque=(f"{os.system.__module__}.*",)).keys() == {"w"}
    assert not mark.exists()
    path.write_bytes(pickle.dumps({"w": np.array([None])}, 4))
    assert "holds no array" in refused(path, reader="haiku")
    made, arguments, contents = array.__reduce__()  # type: ignore[misc]
    for odd in ((*contents[:1], (3,), *contents[2:]), contents[:3], (), (*contents[:4], "text")):
        path.write_bytes(pickle.dumps({"w": Foreign(ARRAY, (made, arguments, odd))}, 4))
        assert "its array w cannot be read" in refused(path, reader="haiku")


def test_a_pickle_cannot_change_the_reader(tmp_path: Path) -> None:
    """BUILD sets attributes of what is named: of a stand-in made for this file alone."""
    path = tmp_path / "w.pkl"
    path.write_bytes(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n}X\x05\x00\x00\x00stateK\x01sb.")
    assert refused(path, reader="haiku")
    path.write_bytes(pickle.dumps({"w": np.ones(2)}, 2))
    assert read(path, reader="haiku")["w"].tolist() == [1, 1]
