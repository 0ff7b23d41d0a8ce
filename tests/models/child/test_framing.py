"""What comes through the pipe from a child is checked before it is believed: the child may be hostile."""

from __future__ import annotations

import io
import json
import struct
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapsecheck.models.child.facts import facts_of
from collapsecheck.models.child.framing import BrokenFrameError, Frame, encoded, read_frame

Pair = namedtuple("Pair", "a b")


@dataclass
class Output:
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]


def decoded(content: bytes, **options: Any) -> Frame:
    stream = io.BytesIO(content)

    def read(count: int) -> bytearray:
        held = stream.read(count)
        if len(held) < count:
            raise EOFError
        return bytearray(held)

    return read_frame(read, **options)


def framed(header: Any, tensors: bytes = b"") -> bytes:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<I", len(content)) + content + tensors


def there_and_back(value: Any) -> Any:
    frame = decoded(b"".join(map(bytes, encoded("output", value))))
    assert frame.kind == "output"
    return frame.value


# --- honest


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64]
)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 4), (2, 3)])
def test_tensors_come_as_they_were(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape).to(dtype)
    got = there_and_back(tensor)
    assert got.dtype == dtype and got.shape == shape and torch.equal(got, tensor)


def test_views_are_made_whole() -> None:
    whole = torch.arange(12.0).view(3, 4)
    for view in (
        whole.t(),
        whole[:, ::2],
        whole[1:],
        whole.expand(2, 3, 4),
        torch.view_as_complex(whole.view(3, 2, 2)).conj(),
    ):
        assert torch.equal(there_and_back(view), view.resolve_conj())


def test_structures_keep_their_form() -> None:
    value = {"a": [torch.ones(2), None, True, 3, 0.5, "x"], "b": (torch.zeros(1), Pair(1, torch.ones(1)))}
    got = there_and_back(value)
    assert got["a"][1:] == [None, True, 3, 0.5, "x"] and got["b"][1] == {"a": 1, "b": torch.ones(1)}
    assert isinstance(got["b"], tuple)
    output = there_and_back(Output(torch.ones(2), (torch.ones(1), torch.zeros(1))))
    assert list(output) == ["logits", "hidden"] and len(output["hidden"]) == 2


@pytest.mark.parametrize("value", [object(), torch.eye(2).to_sparse(), {1, 2}, b"bytes", torch.nn.ReLU()], ids=str)
def test_other_objects_become_nothing(value: Any) -> None:
    assert there_and_back([value, 1]) == [None, 1]


def test_a_list_in_itself_ends() -> None:
    held: list[Any] = [1]
    held.append(held)
    assert there_and_back(held)[0] == 1


# --- hostile


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"[" * 100_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
        {"kind": 3, "value": None, "tensors": []},
        {"kind": "k" * 100, "value": None, "tensors": []},
        {"kind": "output", "value": None},
        {"kind": "output", "value": None, "tensors": {}},
        {"kind": "output", "value": None, "tensors": [3]},
        {"kind": "output", "value": None, "tensors": [["object", [1]]]},
        {"kind": "output", "value": None, "tensors": [["float32", 3]]},
        {"kind": "output", "value": None, "tensors": [["float32", [-1]]]},
        {"kind": "output", "value": None, "tensors": [["float32", [True]]]},
        {"kind": "output", "value": None, "tensors": [["float32", [1 << 60]]]},
        {"kind": "output", "value": None, "tensors": [["float32", [1] * 33]]},
        {"kind": "output", "value": None, "tensors": [["float32", [0, 1 << 47, 1 << 47]]]},
        {"kind": "output", "value": None, "tensors": [["float32", [1 << 33]]]},  # 32 GiB
        {"kind": "output", "value": None, "tensors": [["float32", [0]]] * 4097},
        {"kind": "output", "value": {"tensor": 0}, "tensors": []},
        {"kind": "output", "value": {"tensor": -1}, "tensors": [["float32", [0]]]},
        {"kind": "output", "value": {"tensor": True}, "tensors": [["float32", [0]]]},
        {"kind": "output", "value": {"object": "os.system"}, "tensors": []},
        {"kind": "output", "value": {"list": 3}, "tensors": []},
        {"kind": "output", "value": {"dict": [[1, 2]]}, "tensors": []},
        {"kind": "output", "value": {"list": [], "tuple": []}, "tensors": []},
        {"kind": "output", "value": [1], "tensors": []},
    ],
    ids=lambda header: str(header)[:60],
)  # fmt: skip
def test_what_is_no_frame_is_refused(header: Any) -> None:
    with pytest.raises(BrokenFrameError):
        decoded(framed(header))


def test_a_header_may_not_be_endless() -> None:
    with pytest.raises(BrokenFrameError, match="a header of 4,294,967,295 bytes"):
        decoded(b"\xff\xff\xff\xff")


def test_values_nested_without_end() -> None:
    value: Any = None
    for _ in range(100):
        value = {"list": [value]}
    with pytest.raises(BrokenFrameError):
        decoded(framed({"kind": "output", "value": value, "tensors": []}))


def test_less_than_what_was_declared_is_not_allocated_beyond_the_limit() -> None:
    with pytest.raises(BrokenFrameError, match="at most 100 are accepted"):
        decoded(framed({"kind": "output", "value": None, "tensors": [["float32", [26]]]}), largest=100)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_never_gets_further_than_this(data: st.DataObject) -> None:
    content = bytearray(b"".join(map(bytes, encoded("output", {"a": torch.ones(3), "b": [1, "x"]}))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        frame = decoded(bytes(content))
    except (BrokenFrameError, EOFError, struct.error):
        return
    assert isinstance(frame.kind, str)


# --- what a child says of its model


HONEST = {
    "type": "Net", "parameters": 7, "batch": [1, None], "layers": [["a", "Linear"], ["a.b", "ReLU"]], "channels": 3,
    "sound_channels": None, "token_ids": False, "held": ["no network"],
}  # fmt: skip


def test_facts() -> None:
    facts = facts_of(Frame("ready", HONEST))
    assert facts is not None
    assert (facts.type, facts.parameters, facts.batch, facts.channels) == ("Net", 7, (1, None), 3)
    assert facts.layers == (("a", "Linear"), ("a.b", "ReLU"))


@pytest.mark.parametrize(
    "change",
    [
        {"layers": None},
        {"layers": [["a.b", "ReLU"]]},  # in no layer
        {"layers": [["a", "Linear"], ["a", "Linear"]]},
        {"layers": [["", "Linear"]]},
        {"layers": [["x" * 501, "Linear"]]},
        {"layers": [["a", 3]]},
        {"layers": [["a"]]},
        {"layers": [["a", "ReLU"]] * 100_001},
        {"batch": 3},
        {"batch": [2, 1]},
        {"batch": [-1, None]},
        {"batch": [1, 2.5]},
        {"batch": [True, 3]},
    ],
    ids=lambda change: str(change)[:40],
)
def test_facts_of_another_form_are_none(change: dict[str, Any]) -> None:
    assert facts_of(Frame("ready", HONEST | change)) is None


def test_facts_cannot_forge_output_or_be_absurd() -> None:
    told = {"type": "\x1b[2J" * 100, "parameters": -1, "channels": 1 << 60, "held": ["\n"] * 100, "token_ids": 1}
    facts = facts_of(Frame("ready", HONEST | told))
    assert facts is not None
    assert facts.type.isprintable() and len(facts.type) <= 120
    assert (facts.parameters, facts.channels, facts.token_ids, len(facts.held)) == (0, None, False, 10)
    assert all(one.isprintable() for one in facts.held)
    assert facts_of(Frame("output", HONEST)) is None and facts_of(Frame("ready", [])) is None
