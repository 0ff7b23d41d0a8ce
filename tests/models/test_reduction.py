from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from collapsecheck.errors import NotMeasuredError, UsageError
from collapsecheck.models.reduction import reduce_to_rows, select

torch.manual_seed(0)
ROWS = torch.randn(2, 3)
OTHER = torch.randn(2, 5)
Named = namedtuple("Named", ["first", "feat"])


@dataclass
class Output:
    loss: float
    hidden: torch.Tensor
    embeddings: torch.Tensor | None = None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (ROWS, ""),
        ({"logits": OTHER, "embedding": ROWS}, "field 'embedding'"),
        ({"logits": OTHER, "z": ROWS}, "field 'z'"),
        (OrderedDict(last_hidden_state=OTHER, pooler_output=ROWS), "field 'pooler_output'"),
        ({"a": ROWS, "b": OTHER}, "field 'a'"),
        ({"mask": torch.ones(2, 3, dtype=torch.int64), "vector": ROWS}, "field 'vector'"),
        ({"loss": 3.0, "vector": ROWS}, "field 'vector'"),
        (Output(loss=1.0, hidden=ROWS), "field 'hidden'"),
        (Output(loss=1.0, hidden=OTHER, embeddings=ROWS), "field 'embeddings'"),
        (Named(OTHER, ROWS), "field 'feat'"),
        ((ROWS, OTHER), "item 0"),
        ([None, ROWS], "item 1"),
        ((ROWS, (OTHER, OTHER)), "item 0"),
        ((None, (ROWS, OTHER)), "item 1, item 0"),
        ({"model": {"out": ROWS}}, "field 'model', field 'out'"),
    ],
)
def test_one_tensor_is_taken_and_named(value: Any, said: str) -> None:
    tensor, which = select(value)
    assert tensor is ROWS
    assert which == said


@pytest.mark.parametrize("value", [None, 3, "text", {}, [], {"loss": 1.0}, [{"boxes": ROWS}], Output])
def test_nothing_like_a_tensor(value: Any) -> None:
    with pytest.raises(NotMeasuredError, match="which holds no tensor; choose another layer with --layer"):
        select(value)


def test_a_value_that_holds_itself() -> None:
    value: dict[str, Any] = {}
    value["again"] = value
    with pytest.raises(NotMeasuredError):
        select(value)


MAPS = torch.randn(2, 3, 4, 5)
CLIPS = torch.randn(2, 3, 2, 4, 5)
TOKENS = torch.randn(2, 7, 3)


@pytest.mark.parametrize(
    ("tensor", "pool", "expected", "said"),
    [
        (ROWS, "mean", ROWS, "as it is"),
        (ROWS, "cls", ROWS, "as it is"),
        (ROWS[:, 0], "mean", ROWS[:, :1], "one number per item"),
        (MAPS, "mean", MAPS.mean((2, 3)), "mean over 4x5 positions"),
        (CLIPS, "mean", CLIPS.mean((2, 3, 4)), "mean over 2x4x5 positions"),
        (TOKENS, "mean", TOKENS.mean(1), "mean over 7 tokens"),
        (TOKENS, "cls", TOKENS[:, 0], "first of 7 tokens"),
        (TOKENS.transpose(0, 1), "mean", TOKENS.mean(1), "mean over 7 tokens (sequence first)"),
        (TOKENS.transpose(0, 1), "cls", TOKENS[:, 0], "first of 7 tokens (sequence first)"),
        (torch.arange(6).reshape(2, 3), "mean", torch.arange(6.0).reshape(2, 3), "as it is"),
        (torch.ones(2, 3, dtype=torch.bool), "mean", torch.ones(2, 3), "as it is"),
    ],
)
def test_rows_by_a_stated_rule(tensor: torch.Tensor, pool: Any, expected: torch.Tensor, said: str) -> None:
    rows, how = reduce_to_rows(tensor, 2, pool)
    torch.testing.assert_close(rows, expected)
    assert how == said


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(1.0),
        torch.ones(3, 4),
        torch.ones(3, 4, 5, 6),
        torch.ones(1, 2),
        torch.ones(2, 0),
        torch.ones(2, 1, 1, 1, 1, 1),
    ],
)
def test_other_shapes_say_what_came(tensor: torch.Tensor) -> None:
    with pytest.raises(NotMeasuredError, match=r"returned a tensor of shape \[.*\] for a batch of 2.*--layer"):
        reduce_to_rows(tensor, 2, "mean")


def test_complex_numbers() -> None:
    with pytest.raises(NotMeasuredError, match="complex"):
        reduce_to_rows(torch.ones(2, 3, dtype=torch.complex64), 2, "mean")


def test_cls_needs_tokens() -> None:
    with pytest.raises(UsageError, match="cls pooling needs tokens"):
        reduce_to_rows(MAPS, 2, "cls")


def test_nan_stays() -> None:
    assert reduce_to_rows(torch.full((2, 3, 4, 4), torch.nan), 2, "mean")[0].isnan().all()
