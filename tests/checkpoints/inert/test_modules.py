"""Trees of modules that no program would build."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from collapsecheck.checkpoints import ModuleRecord, read_checkpoint
from collapsecheck.errors import NotLoadableError
from tests.checkpoints.inert.conftest import Guarded, Stored
from tests.checkpoints.inert.test_hostile import tensor, text

_CLASS = b"cown\nLayer\n"


def module(children: bytes, parameters: bytes = b"}") -> bytes:
    """The instructions for a module, given those for the dict of its children."""
    state = text("_parameters") + parameters + text("_buffers") + b"}" + text("_modules") + children
    return _CLASS + b")\x81}(" + state + b"ub"


def test_a_module_that_holds_itself(stored: Stored, guarded: Guarded) -> None:
    whole = _CLASS + b")\x81q\x00}(" + text("_parameters") + b"}" + text("w") + tensor() + b"s"
    whole += text("_buffers") + b"}" + text("_modules") + b"}(" + text("me") + b"h\x00" + text("x") + b"h\x00u" + b"ub"
    path = stored(b"\x80\x02" + whole + b".", {"0": bytes(16)})
    record = read_checkpoint(path).content
    assert isinstance(record, ModuleRecord)
    assert list(record.state_dict()) == ["w"]
    assert [name for name, _ in record.named_modules()] == [""]
    assert guarded(path) == "READ ModuleRecord"


def test_two_modules_that_hold_each_other(stored: Stored) -> None:
    one, two = nn.Linear(1, 1), nn.Linear(1, 1)
    one.other, two.other = two, one
    path = stored(b"\x80\x02}.")
    torch.save({"one": one, "two": two}, path)
    content = read_checkpoint(path).content
    held = sorted(len(content[name].state_dict()) for name in ("one", "two"))
    assert held == [2, 4]  # one of them still holds the other


@pytest.mark.parametrize(
    "children",
    [
        lambda inner: b"}(" + text("a") + inner + b"q\x01" + text("b") + b"h\x01u",  # twice the same: 2⁴⁰ paths
        lambda inner: b"}" + text("a" * 2000) + inner + b"s",
    ],
    ids=["doubled", "long names"],
)
def test_a_tree_of_endless_paths(stored: Stored, guarded: Guarded, children: Callable[[bytes], bytes]) -> None:
    whole = module(b"}", b"}" + text("w") + tensor() + b"s")
    for _ in range(190):
        whole = module(children(whole))
    path = stored(b"\x80\x02" + whole + b".", {"0": bytes(16)})
    begin = time.process_time()
    if guarded(path).startswith("READ"):
        assert len(read_checkpoint(path).content.state_dict()) == 1
    assert time.process_time() - begin < 5


def test_a_deep_tree(stored: Stored, guarded: Guarded) -> None:
    path = stored(b"\x80\x02" + _nested(20_000) + b".")
    assert "nested" in guarded(path)


def _nested(levels: int) -> bytes:
    begin = _CLASS + b")\x81}(" + text("_parameters") + b"}" + text("_buffers") + b"}" + text("_modules")
    return (begin + b"}" + text("a")) * levels + b"N" + b"sub" * levels


def test_a_million_layers_of_one_element(stored: Stored, guarded: Guarded) -> None:
    """As small as a layer can be written: every name and the class by reference."""
    parts = ("_parameters", "_buffers", "_modules")
    names = b"".join(b"%sq%c0" % (text(name), index) for index, name in enumerate(parts))
    layer = b"h\x03)\x81}(h\x00h\x04h\x01}h\x02}ub"
    one = _CLASS + b"q\x030" + b"}" + text("w") + tensor() + b"sq\x040"
    many = b"".join(b"J" + struct.pack("<i", index) + layer for index in range(100_000))
    path = stored(b"\x80\x02" + names + one + module(b"}(" + many + b"u") + b".", {"0": bytes(16)})
    assert guarded(path) == "READ ModuleRecord"
    million = b"".join(b"J" + struct.pack("<i", index) + layer for index in range(1_000_000))
    path = stored(b"\x80\x02" + names + one + module(b"}(" + million + b"u") + b".", {"0": bytes(16)})
    assert "more than 5,000,000 instructions" in guarded(path, memory=2 << 30)


def test_parts_that_are_no_tensors_are_left_out(stored: Stored) -> None:
    whole = module(b"}" + text("x") + b"K\x01s", b"}" + text("w") + b"K\x01s")
    record = read_checkpoint(stored(b"\x80\x02" + whole + b".")).content
    assert isinstance(record, ModuleRecord)
    assert (record.parameters, record.children) == ({}, {})


def test_what_looks_like_a_module_but_is_none(stored: Stored) -> None:
    state = b"}(" + text("_parameters") + b"K\x01" + text("_buffers") + b"}" + text("_modules") + b"}u"
    content = read_checkpoint(stored(b"\x80\x02" + _CLASS + b")\x81" + state + b"b.")).content
    assert content["_parameters"] == 1


def test_the_pickle_of_a_module_is_refused_if_it_hides_a_call(stored: Stored) -> None:
    whole = module(b"}" + text("x") + b"cos\nsystem\n" + text("id") + b"\x85Rs")
    with pytest.raises(NotLoadableError, match="which could only be an attack"):
        read_checkpoint(stored(b"\x80\x02" + whole + b"."))
