from __future__ import annotations

from typing import Any

import pytest

from collapsecheck.checkpoints import HeldTensor, ModuleRecord
from collapsecheck.checkpoints.state_dicts import find_state_dicts, unused_entries
from collapsecheck.errors import NotLoadableError, UsageError

W = HeldTensor(dtype="float32", shape=(2,), content=b"\0" * 8)
COUNTER = HeldTensor(dtype="int64", shape=(), content=b"\0" * 8)
MODULE = ModuleRecord(path="a.M", attributes={}, parameters={"w": W}, buffers={}, children={})


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ({"w": W}, [""]),
        (MODULE, [""]),
        ({"model": {"w": W}, "epoch": 1}, ["model"]),
        ({"other": {"a": W, "b": W}, "state_dict": {"w": W}}, ["state_dict", "other", ""]),
        ({"student": {"w": W}, "teacher": {"w": W}}, ["student", "teacher", ""]),
        ({"state": {"net": {"w": W}}}, ["state.net"]),
        ({"encoder": {"w": W}, "head": {"w": W}}, ["encoder", "head", ""]),
        ({"small": {"a": W}, "large": {"a": W, "b": W}}, ["large", "small", ""]),
        ({"model": {"w": W}, "optimizer": {"0": {"exp_avg": W}}, "lr_scheduler": {"x": W}}, ["model"]),
        ({"net": MODULE}, ["net"]),
    ],
)
def test_the_weights_in_the_order_of_preference(content: Any, keys: list[str]) -> None:
    assert [one.key for one in find_state_dicts(content).usable] == keys


@pytest.mark.parametrize("name", ["ema", "model_ema", "ema_state_dict", "state_dict_ema"])
def test_moving_averages_are_taken_only_when_asked_for(name: str) -> None:
    found = find_state_dicts({"model": {"w": W}, name: {"w": W}})
    assert (found.usable[0].key, found.averaged) == ("model", (name,))
    assert name not in [one.key for one in found.usable]
    assert find_state_dicts({"model": {"w": W}, name: {"w": W}}, key=name).usable[0].key == name
    with pytest.raises(NotLoadableError, match=f"only moving averages of weights, at {name}; take them with --key"):
        find_state_dicts({name: {"w": W}})


@pytest.mark.parametrize(
    "content", [{}, {"a": 1}, {"model": {"n": COUNTER}}, {3: W}, 7, None, [W], {10**10_000: 1}], ids=lambda _: ""
)
def test_no_weights(content: Any) -> None:
    with pytest.raises(NotLoadableError, match=r"torch\.save\(model\.state_dict"):
        find_state_dicts(content)


@pytest.mark.parametrize(("key", "hint"), [("modle", "did you mean 'model'"), ("epoch", "no weights at this entry")])
def test_a_wrong_key(key: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        find_state_dicts({"model": {"w": W}, "epoch": {"x": 1}}, key=key)


def test_a_mapping_within_itself() -> None:
    content: dict[str, Any] = {"model": {"w": W}}
    content["again"] = content
    assert [one.key for one in find_state_dicts(content).usable] == ["model"]


def test_what_is_left_unused() -> None:
    content = {"a": {"w": W}, "a.b": {"w": W}, "epoch": 1, 5: 2}
    used = find_state_dicts(content, key="a.b").usable[0]
    assert unused_entries(content, used) == ("a", "epoch", "5")
    loose = {"layer.w": W, "epoch": 1}
    assert unused_entries(loose, find_state_dicts(loose).usable[0]) == ("epoch",)
