from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from collapsecheck.checkpoints.onnx import Port
from collapsecheck.errors import NotMeasuredError
from collapsecheck.models.onnx.feeds import feeds_from
from collapsecheck.models.onnx.ports import Inputs

IDS = torch.tensor([[3, 5, 7], [2, 4, 6]])


def inputs(*ports: Port, channels_last: bool = False) -> Inputs:
    return Inputs(ports=ports, main=ports[0], batch=None, channels_last=channels_last)


def port(name: str = "x", dtype: str = "float32", shape: tuple[int | None, ...] | None = None) -> Port:
    return Port(name=name, dtype=dtype, shape=shape)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.uint8])
def test_numbers_come_in_the_type_of_the_graph(dtype: str, given: torch.dtype) -> None:
    made = feeds_from({"x": torch.tensor([[0.0, 1.0, 2.0]]).to(given)}, inputs(port(dtype=dtype)))["x"]
    assert made.dtype == np.dtype(dtype)
    assert made.tolist() == [[0.0, 1.0, 2.0]]


def test_pictures_as_bytes_are_rounded_and_kept_within_their_range() -> None:
    batch = torch.tensor([[-1.0, 0.4, 0.6, 254.9, 300.0, float("nan")]])
    assert feeds_from({"x": batch}, inputs(port(dtype="uint8")))["x"].tolist() == [[0, 0, 1, 255, 255, 0]]


@pytest.mark.parametrize("dtype", ["int64", "int32", "bool"])
def test_fractions_are_no_token_ids(dtype: str) -> None:
    with pytest.raises(NotMeasuredError, match=rf"takes whole numbers \({dtype}\) as x"):
        feeds_from({"x": torch.rand(2, 3)}, inputs(port(dtype=dtype)))


def test_what_texts_need_beside_their_ids_is_filled_in() -> None:
    names = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    made = feeds_from({"input_ids": IDS}, inputs(*(port(name, "int64") for name in names)))
    assert list(made) == list(names)
    assert made["attention_mask"].tolist() == [[1, 1, 1]] * 2
    assert made["token_type_ids"].tolist() == [[0, 0, 0]] * 2
    assert made["position_ids"].tolist() == [[0, 1, 2]] * 2
    assert all(one.flags.c_contiguous for one in made.values())


def test_a_mask_of_the_data_is_not_replaced() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    ports = port("input_ids", "int64"), port("attention_mask", "float32")
    made = feeds_from({"attention_mask": mask, "input_ids": IDS, "other": IDS}, inputs(*ports))
    assert set(made) == {"input_ids", "attention_mask"}
    assert made["attention_mask"].tolist() == mask.tolist()


@pytest.mark.parametrize(
    ("given", "ports", "said"),
    [
        ({"y": IDS}, (port("x"),), "takes x; the batch has y"),
        ({}, (port("x"),), "the batch has nothing"),
        ({"x": IDS}, (port("x", "int64"), port("bbox", "int64")), "also takes bbox, which the data do not have"),
        ({"x": torch.rand(2, 3)}, (port("x"), port("attention_mask")), "also takes attention_mask"),
    ],
)
def test_an_input_that_cannot_be_made_up(given: dict[str, Tensor], ports: tuple[Port, ...], said: str) -> None:
    with pytest.raises(NotMeasuredError, match=said):
        feeds_from(given, inputs(*ports))


def test_pictures_are_turned_where_the_graph_wants_channels_last() -> None:
    batch = torch.rand(2, 3, 4, 5)
    wants = inputs(port(shape=(None, 4, 5, 3)), channels_last=True)
    made = feeds_from({"x": batch}, wants)["x"]
    assert np.array_equal(made, batch.permute(0, 2, 3, 1).numpy())
    again = feeds_from({"x": torch.from_numpy(made)}, wants)["x"]  # they are so already
    assert np.array_equal(again, made)
