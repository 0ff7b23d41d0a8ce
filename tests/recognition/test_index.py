from __future__ import annotations

import gzip
from typing import Any

import pytest
from torchvision import models

from collapsecheck.models.drawing.build_index import Drawn, build_index, numbered
from collapsecheck.recognition import installed
from collapsecheck.recognition.index import Index, pack, shipped, unpack

# One of each kind of head and family; all of them in the long test.
SAMPLE = [
    "resnet18",
    "mobilenet_v3_small",
    "squeezenet1_1",
    "googlenet",
    "vit_b_16",
    "swin_t",
    "fcn_resnet50",
    "raft_small",
]


def of_torchvision() -> Index:
    index = shipped("torchvision")
    assert index is not None
    return index


def described(index: Index, name: str) -> list[Any]:
    return [
        (one.tensors, one.axes, one.resizable, one.untold, one.classifier, one.modules)
        for one in index.known
        if one.name == name
    ]


def agrees(names: list[str]) -> None:
    ours, theirs = of_torchvision(), build_index("torchvision", names)
    for name in theirs.names:
        assert described(ours, name) == described(theirs, name), name


def test_a_sample_is_as_the_installed_torchvision_builds_it() -> None:
    agrees(SAMPLE)


@pytest.mark.long
def test_all_of_it_is_as_the_installed_torchvision_builds_it() -> None:
    agrees(models.list_models())
    expected = {name for name in models.list_models() if not name.startswith("quantized_")}
    assert set(of_torchvision().names) == expected


def test_every_torchvision_model_but_the_quantised_twins_is_in_it() -> None:
    """Names are cheap to compare: this tells when the index is to be built anew."""
    assert {name for name in models.list_models() if not name.startswith("quantized_")} <= set(of_torchvision().names)


def test_packing_loses_nothing() -> None:
    index = of_torchvision()
    again = unpack(pack(index))
    assert (again.library, again.version, again.table) == (index.library, index.version, index.table)
    assert again.known == index.known
    assert len(set(index.table)) == len(index.table)


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format"):
        unpack(gzip.compress(b'{"format": 99}'))


def test_what_the_installed_release_cannot_build_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [name for name in models.list_models() if name != "resnet50"]
    monkeypatch.setattr(models, "list_models", lambda: known)
    monkeypatch.setattr(installed, "release", lambda library: "0.1")
    index = installed.installed_index("torchvision")
    assert index is not None
    assert "resnet50" not in set(index.names)
    assert "resnet18" in set(index.names)
    resnet18 = next(one for one in index.known if one.name == "resnet18")
    number = index.numbers["fc.weight", (1000, 512)]
    assert resnet18 in [index.known[position] for position in index.holders[number]]


def test_equal_twins_are_left_out_and_others_not() -> None:
    shapes: dict[str, Any] = {"a.weight": (2, 2)}
    twins = [
        Drawn(name="quantized_a", shapes=shapes),
        Drawn(name="a", shapes=shapes),
        Drawn(name="a", shapes={**shapes, "aux.weight": (1,)}),
        Drawn(name="a", shapes={**shapes, "bn.num_batches_tracked": ()}),
        Drawn(name="quantized_b", shapes={**shapes, "scale": ()}),
        Drawn(name="b", shapes=shapes),
        Drawn(name="c", shapes=shapes),
    ]
    index = numbered("torchvision", "1", twins)
    assert [one.name for one in index.known] == ["a", "a", "b", "c", "quantized_b"]


def test_heads_trunk_and_stem() -> None:
    known = {one.name: one for one in reversed(of_torchvision().known)}
    assert (known["resnet50"].heads, known["resnet50"].stem) == (("fc",), "conv1.weight")
    assert known["googlenet"].heads == ("aux1", "aux2", "fc")
    assert known["vit_b_16"].heads == ("heads",)
    assert (known["fcn_resnet50"].heads, known["fcn_resnet50"].stem) == ((), None)
    assert "fc.weight" not in known["resnet50"].trunk
