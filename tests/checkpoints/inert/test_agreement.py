"""What torch itself reads: the same tensors, of every kind, from every way of saving."""

from __future__ import annotations

import argparse
import collections
import enum
import io
import math
import pickle
import types
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from collapsecheck.checkpoints import Checkpoint, ModuleRecord, Name, Stand, StoredTensor, read_checkpoint

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
    torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip

NEW_DTYPES = {torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64}


class Colour(enum.Enum):
    RED = 1


class Own(dict[str, Any]):
    pass


class OwnList(list[Any]):
    pass


class OwnTensor(torch.Tensor):
    pass


class Net(nn.Module):
    class Inner(nn.Linear):
        pass

    def __init__(self) -> None:
        super().__init__()
        self.first = Net.Inner(3, 4)
        self.again = self.first
        self.norm = nn.BatchNorm1d(4)
        self.heads = nn.ModuleDict({"a": nn.Linear(4, 2, bias=False), "b": nn.Sequential(nn.ReLU(), nn.Dropout(0.3))})
        self.register_buffer("scratch", torch.ones(2), persistent=False)
        self.register_buffer("absent", None)
        self.scale = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
        self.width, self.activation, self.shape = 4, torch.relu, torch.Size([1, 2])
        self.first.register_forward_hook(print)
        self.method = self.norm.forward  # a bound method


def bits(tensor: torch.Tensor) -> bytes:
    flat = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.reshape(-1))
    return bytes(flat.view(torch.uint8).numpy())


def same(ours: Any, theirs: torch.Tensor) -> None:
    assert isinstance(ours, StoredTensor)
    read = ours.tensor()
    assert (read.dtype, read.shape, ours.shape) == (theirs.dtype, theirs.shape, tuple(theirs.shape))
    assert bits(read) == bits(theirs.detach())


def every_way(path: Path, content: Any) -> Iterator[Checkpoint]:
    """Save in both formats under all protocols; yield what is read each time, while that file is there."""
    for protocol in (2, 3, 4, 5):
        for new in (True, False):
            torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
            yield read_checkpoint(path)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_of_number(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "model.pt"
    base = torch.arange(24).to(dtype)
    content = {
        "plain": base, "turned": base.reshape(4, 6).t(), "every_other": base[1::2], "part": base.reshape(2, 3, 4)[:, 1],
        "scalar": base[3], "none": base[:0], "flat": base[:0].reshape(0, 5),
        "parameter": nn.Parameter(base.clone(), requires_grad=False), "once": base[5:6].expand(1, 1),
    }  # fmt: skip
    for checkpoint in every_way(path, content):
        if not (
            checkpoint.format == "torch-legacy" and dtype in NEW_DTYPES
        ):  # torch writes these, and cannot read them
            read = torch.load(path, weights_only=False)
            assert all(bits(read[name].detach()) == bits(content[name].detach()) for name in content)
        for name in content:
            same(checkpoint.content[name], content[name])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_view(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    base = torch.randn(2, 3, 4, 5)[:, :, : data.draw(st.integers(1, 4))]
    for _ in range(data.draw(st.integers(0, 4))):
        dimension = data.draw(st.integers(0, base.ndim - 1))
        match data.draw(st.sampled_from(["transpose", "slice", "select", "unsqueeze"])):
            case "transpose":
                base = base.transpose(dimension, data.draw(st.integers(0, base.ndim - 1)))
            case "slice":
                base = base.narrow(dimension, data.draw(st.integers(0, base.shape[dimension] - 1)), 1)
            case "select" if base.ndim > 1:
                base = base.select(dimension, data.draw(st.integers(0, base.shape[dimension] - 1)))
            case _:
                base = base.unsqueeze(dimension)
    path = tmp_path_factory.mktemp("view") / "model.pt"
    torch.save({"v": base}, path)
    same(read_checkpoint(path).content["v"], torch.load(path, weights_only=True)["v"])


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "vit_b_16", "swin_t", "squeezenet1_1"])
def test_state_dicts_of_published_architectures(tmp_path: Path, arch: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    state = torchvision.models.get_model(arch, weights=None).half().state_dict()
    path = tmp_path / "model.pt"
    torch.save({"model": state, "epoch": 3}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.notes == ()
    ours, theirs = checkpoint.content["model"], torch.load(path, weights_only=True)["model"]
    assert list(ours) == list(theirs)
    assert ours._metadata == theirs._metadata
    for name in theirs:
        same(ours[name], theirs[name])


def test_a_training_checkpoint(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    net(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    saved = {
        "model": net.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
        "generator": torch.get_rng_state(), "numpy": np.random.default_rng(1).bit_generator.state,
    }  # fmt: skip
    for checkpoint in every_way(tmp_path / "model.pt", saved):
        content = checkpoint.content
        assert content["optimizer"]["param_groups"] == saved["optimizer"]["param_groups"]
        same(content["optimizer"]["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
        same(content["generator"], saved["generator"])
        assert content["numpy"] == saved["numpy"]
        assert content["scheduler"]["base_lrs"] == [0.1]


def test_plain_values_come_back(tmp_path: Path) -> None:
    saved = {
        "values": [1, 1 << 40, -(1 << 70), 0.1, math.inf, "ä\ud800", b"\xff\0", bytearray(b"a"), None, True, 1 + 2j],
        "nested": {"a": ({"b": [()]}, frozenset({1, "x"}), {2.5})},
        "ordered": collections.OrderedDict(a=1), "counted": collections.Counter("aab"),
        "default": collections.defaultdict(list, a=[1]), "queue": collections.deque([1, 2]),
        "size": torch.Size([2, 3]), "path": PurePosixPath("/a/b"), "relative": PurePosixPath("a/b"),
        "namespace": argparse.Namespace(lr=0.1, more=argparse.Namespace(x=1)), "simple": types.SimpleNamespace(y=2),
        "own": Own(a=1), "own_list": OwnList([1]), "dtype": torch.float16, "range": range(3),
        "device": torch.device("cpu"),
        "number": np.float32(0.5), "integer": np.int64(-3), "yes": np.bool_(True), "text": np.str_("ab"),
        "colour": Colour.RED, "empty": {}, "big": np.array(1.5, dtype=">f8")[()],
    }  # fmt: skip
    plain = {
        name: saved[name] for name in ("values", "nested", "ordered", "counted", "default", "empty", "own", "own_list")
    }
    plain |= {"queue": [1, 2], "size": (2, 3), "path": "/a/b", "relative": "a/b", "simple": {"y": 2}, "big": 1.5}
    plain |= {"namespace": {"lr": 0.1, "more": {"x": 1}}, "number": 0.5, "integer": -3, "yes": True, "text": "ab"}
    for checkpoint in every_way(tmp_path / "model.pt", saved):
        content = checkpoint.content
        assert {name: content[name] for name in plain} == plain
        assert [type(one) for one in content["values"]] == [type(one) for one in saved["values"]]
        assert type(content["number"]) is float
        assert content["dtype"] == Name("torch.float16")
        assert content["range"].path == "builtins.range"
        assert content["range"].arguments == (0, 3, 1)
        assert isinstance(content["colour"], Stand)
        assert content["colour"].arguments == (1,)
        assert checkpoint.notes[0].id == "unknown-class-ignored"
        assert {name.rpartition(".")[2] for name in checkpoint.notes[0].names} == {"Own", "OwnList", "Colour"}


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "u1", "?", ">f4", ">i2", "c8", "u2"])
def test_arrays(tmp_path: Path, dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    saved = {
        "rows": array, "columns": np.asfortranarray(array), "part": array[:, 1], "none": array[:0],
        "one": array[1, 1:2],
        "scalar": np.array(array[0, 1]),
    }  # fmt: skip
    for checkpoint in every_way(tmp_path / "model.pt", saved):
        for name, held in saved.items():
            read = checkpoint.content[name].tensor().numpy()
            assert read.dtype == held.dtype.newbyteorder("=")
            assert np.array_equal(read, held)


def test_arrays_that_are_no_numbers(tmp_path: Path) -> None:
    saved = {
        "objects": np.array([None, "a"], dtype=object),
        "texts": np.array(["ab"]),
        "dates": np.array(["2020"], "M8[D]"),
    }
    for checkpoint in every_way(tmp_path / "model.pt", saved | {"w": torch.ones(1)}):
        assert all(isinstance(checkpoint.content[name], Stand) for name in saved)


def test_a_whole_module(tmp_path: Path) -> None:
    net = Net()
    expected = net.state_dict()
    for checkpoint in every_way(tmp_path / "model.pt", net):
        record = checkpoint.content
        assert isinstance(record, ModuleRecord)
        ours = record.state_dict()
        assert list(ours) == list(expected)
        for name in expected:
            same(ours[name], expected[name])
        assert [name for name, _ in record.named_modules()] == [name for name, _ in net.named_modules()]
        assert record.path.endswith("test_agreement.Net")
        assert record.children["first"].path.endswith("test_agreement.Net.Inner")
        assert record.children["heads"].children["b"].children["1"].attributes == {
            "training": True,
            "p": 0.3,
            "inplace": False,
        }
        assert record.attributes["width"] == 4
        assert record.attributes["shape"] == (1, 2)
        assert record.non_persistent == {"scratch"}
        assert not any("hook" in name for name in record.children["first"].attributes)
        assert not any("Linear" in name for note in checkpoint.notes for name in note.names)


def test_a_module_within_other_content(tmp_path: Path) -> None:
    torch.save({"epoch": 1, "model": nn.Linear(2, 1), "list": [nn.ReLU()]}, tmp_path / "model.pt")
    content = read_checkpoint(tmp_path / "model.pt").content
    assert list(content["model"].state_dict()) == ["weight", "bias"]
    assert content["list"][0].path == "torch.nn.modules.activation.ReLU"


def test_an_object_around_a_model(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(argparse.Namespace(net=nn.Linear(2, 1)), path)
    assert isinstance(read_checkpoint(path).content["net"], ModuleRecord)


@pytest.mark.filterwarnings("ignore")
def test_tensors_of_an_own_class(tmp_path: Path) -> None:
    own = torch.arange(3.0).as_subclass(OwnTensor)
    own.note = "kept apart"
    parameter = nn.Parameter(torch.ones(2))
    parameter.note = "here too"
    for checkpoint in every_way(tmp_path / "model.pt", {"own": own, "parameter": parameter}):
        same(checkpoint.content["own"], torch.arange(3.0))
        same(checkpoint.content["parameter"], torch.ones(2))


def test_tensors_that_share_a_storage_take_its_place_once(tmp_path: Path) -> None:
    base = torch.randn(10)
    torch.save({"a": base[:4], "b": base[2:]}, tmp_path / "model.pt")
    content = read_checkpoint(tmp_path / "model.pt").content
    assert content["b"].offset - content["a"].offset == 8


@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_pickle_of_arrays(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"w": np.arange(6.0).reshape(2, 3), "epoch": 3}, protocol))
    if protocol < 2:  # without a mark, it could be any text
        return
    checkpoint = read_checkpoint(path)
    assert checkpoint.format == "plain-pickle"
    assert checkpoint.content["w"].tensor().tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("protocol", range(6))
def test_old_protocols_of_pickle(protocol: int) -> None:
    from collapsecheck.checkpoints.inert import read_pickle

    content = [1, "a\n'\"ä", b"\xff", 1.5, True, None, {"a": (1, 2, 3, 4)}, -(1 << 65), {1, 2}, Own(a=1), 2j]
    read, _ = read_pickle(pickle.dumps(content, protocol), file=Path("none"))
    assert read == content


def test_python_2_wrote_texts_that_were_bytes() -> None:
    from collapsecheck.checkpoints.inert import read_pickle

    assert read_pickle(b"U\x03abcU\x02\xff\x00T\x01\x00\x00\x00a\x87.", file=Path("none"))[0] == ("abc", b"\xff\0", "a")
    assert read_pickle(b"S'a\\x00\\n'\n.", file=Path("none"))[0] == "a\0\n"


@settings(max_examples=150, deadline=None)
@given(
    content=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(-9, 9), inner)
        ),
    ),
    protocol=st.integers(0, 5),
)
def test_any_plain_content(content: Any, protocol: int) -> None:
    from collapsecheck.checkpoints.inert import read_pickle

    buffer = io.BytesIO()
    pickle.dump(content, buffer, protocol)
    assert read_pickle(buffer.getvalue(), file=Path("none"))[0] == content
