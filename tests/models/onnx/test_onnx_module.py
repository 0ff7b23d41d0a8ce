"""ONNX graphs run by onnxruntime, seen as modules; the tests of the runtime skip where the extra is missing."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from collapsecheck.cli.entry import run
from collapsecheck.errors import NotLoadableError, NotMeasuredError
from collapsecheck.models import LoadedModel, choose_readout, expected_input, load_model
from tests.checkpoints.onnx import files
from tests.checkpoints.onnx.files import FLOAT, INT64, graph, model, node, part, port, raw, whole, write


@pytest.fixture
def runtime() -> None:
    pytest.importorskip("onnxruntime", reason="the extra [onnx] is not installed")


def opened(path: Path, content: bytes | None = None) -> LoadedModel:
    return load_model(write(path / "model.onnx", files.network() if content is None else content))


def refusal(path: Path, content: bytes) -> str:
    with pytest.raises(NotLoadableError) as caught:
        opened(path, content)
    assert str(caught.value).isprintable()
    return str(caught.value)


def pictures(shape: Sequence[int | str], kind: int = FLOAT, *, channels: int = 3) -> bytes:
    """A convolution over images, which are averaged."""
    weight = np.random.default_rng(0).normal(size=(4, channels, 3, 3)).astype(np.float32)
    steps = [node("Conv", ["pixels", "w"], ["maps"], "conv"), node("GlobalAveragePool", ["maps"], ["y"], "pool")]
    if kind == files.UINT8:
        steps.insert(0, node("Cast", ["bytes"], ["pixels"], "cast", whole("to", FLOAT)))
    name = "bytes" if kind == files.UINT8 else "pixels"
    return model(graph(steps, [raw("w", weight)], [port(name, kind, shape)], [port("y", FLOAT, ["n", 4, 1, 1])]))


# --- without the runtime


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install 'collapsecheck[onnx]'" in refusal(tmp_path, files.network())


def test_inspect_needs_no_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert run(["inspect", str(write(tmp_path / "m.onnx", files.network()))]) == 0
    out = capsys.readouterr().out
    assert "first.weight" in out or "first" in out
    assert max(map(len, out.splitlines())) <= 80


# --- with it


@pytest.mark.usefixtures("runtime")
class TestRuns:
    def test_the_numbers_are_those_of_the_graph(self, tmp_path: Path) -> None:
        loaded = opened(tmp_path)
        x = torch.randn(7, 6)
        torch.testing.assert_close(loaded.module(x), files.expected(x)["embedding"])
        assert loaded.parameters == 6 * 8 + 8 + 8 * 4 + 4 and loaded.architecture.trust == "data-only"
        assert loaded.architecture.name == "ONNX graph of tests 1.0, 3 nodes"

    def test_layers_are_heard_by_name(self, tmp_path: Path) -> None:
        loaded = opened(tmp_path)
        x = torch.randn(5, 6)
        assert [name for name, _ in loaded.module.named_modules() if name][:2] == ["first", "act"]
        for layer, value in (
            ("first", "hidden"),
            ("act.relu", "fired"),
            ("last", "embedding"),
            ("output", "embedding"),
        ):
            readout = choose_readout(loaded, layer)
            with readout.attached():
                torch.testing.assert_close(readout(x), files.expected(x)[value])
        copied = copy.deepcopy(loaded.module)
        torch.testing.assert_close(copied(x), loaded.module(x))

    def test_the_input_of_a_classifier_s_last_layer_is_the_embedding(self, tmp_path: Path) -> None:
        x = torch.randn(5, 6)
        for content in (files.network(softmax=True, output="y"), files.network(output="logits")):
            readout = choose_readout(opened(tmp_path, content))
            with readout.attached():
                torch.testing.assert_close(readout(x), files.expected(x)["fired"])
            assert "the last layer of a classifier" in readout.reason
        assert "nothing shows that its last layer makes classes" in choose_readout(opened(tmp_path)).reason

    @pytest.mark.parametrize("fixed", [1, 3, 16])
    def test_graphs_of_a_fixed_number_of_items(self, tmp_path: Path, fixed: int) -> None:
        loaded = opened(tmp_path, files.network(batch=fixed))
        for items in (1, 3, 7):
            x = torch.randn(items, 6)
            torch.testing.assert_close(loaded.module(x), files.expected(x)["embedding"])

    def test_weights_beside_the_file_are_used(self, tmp_path: Path) -> None:
        weights, data = [], b""
        for name, array in files.linear_weights().items():
            place = {"location": "d", "offset": str(len(data)), "length": str(array.nbytes)}
            weights.append(files.outside(name, array.shape, FLOAT, **place))
            data += array.tobytes()
        (tmp_path / "d").write_bytes(data)
        x = torch.randn(5, 6)
        torch.testing.assert_close(opened(tmp_path, files.network(weights)).module(x), files.expected(x)["embedding"])

    def test_token_ids_with_what_belongs_to_them(self, tmp_path: Path) -> None:
        table = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
        steps = [
            node("Gather", ["table", "input_ids"], ["rows"], "embed"),
            node("Cast", ["attention_mask"], ["mask"], "cast", whole("to", FLOAT)),
            node("Unsqueeze", ["mask", "axis"], ["wide"], "wide"),
            node("Mul", ["rows", "wide"], ["last_hidden_state"], "masked"),
        ]
        inputs = [port(name, INT64, ["n", "t"]) for name in ("attention_mask", "input_ids")]
        outputs = [port("last_hidden_state", FLOAT, ["n", "t", 4])]
        weights = [raw("table", table), raw("axis", np.array([2], np.int64))]
        loaded = opened(tmp_path, model(graph(steps, weights, inputs, outputs)))
        ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
        assert expected_input(loaded).token_ids
        torch.testing.assert_close(loaded.module(ids), torch.from_numpy(table)[ids])
        with pytest.raises(NotMeasuredError, match=r"takes whole numbers \(int64\)"):
            loaded.module(ids.float())

    def test_inputs_that_nobody_knows_are_named(self, tmp_path: Path) -> None:
        steps = [node("Add", ["x", "style"], ["y"])]
        inputs = [port("x", FLOAT, ["n", 6]), port("style", FLOAT, ["n", 6])]
        loaded = opened(tmp_path, model(graph(steps, [], inputs, [port("y", FLOAT, ["n", 6])])))
        with pytest.raises(NotMeasuredError, match="also takes style, which the data do not have"):
            loaded.module(torch.ones(2, 6))
        assert torch.equal(loaded.module({"x": torch.ones(2, 6), "style": torch.ones(2, 6)}), torch.full((2, 6), 2.0))

    def test_several_outputs_come_by_name(self, tmp_path: Path) -> None:
        steps = [node("Relu", ["x"], ["a"], "first"), node("Neg", ["x"], ["embedding"], "second")]
        ports = [port(name, FLOAT, ["n", 6]) for name in ("a", "embedding")]
        loaded = opened(tmp_path, model(graph(steps, [], [port("x", FLOAT, ["n", 6])], ports)))
        x = torch.randn(3, 6)
        found = loaded.module(x)
        assert torch.equal(found["a"], x.relu()) and torch.equal(found["embedding"], -x)

    @pytest.mark.parametrize(
        ("content", "channels", "size", "bytes_"),
        [
            (pictures(["n", 3, "h", "w"]), 3, None, False),
            (pictures(["n", 3, 32, 24]), 3, (32, 24), False),
            (pictures([1, 1, 16, 16], channels=1), 1, (16, 16), False),
            (pictures(["n", "c", 8, 8], channels=1), 1, (8, 8), False),
            (pictures(["n", 3, 32, 32], files.UINT8), 3, (32, 32), True),
        ],
        ids=["free", "sized", "grey", "unsaid", "bytes"],
    )
    def test_what_it_says_about_images(
        self, tmp_path: Path, content: bytes, channels: int, size: tuple[int, int] | None, bytes_: bool
    ) -> None:
        wanted = expected_input(opened(tmp_path, content))
        assert (wanted.channels, wanted.size, wanted.byte_pixels) == (channels, size, bytes_)

    def test_images_as_height_width_channels(self, tmp_path: Path) -> None:
        steps = [
            node(
                "ReduceMean",
                ["x"],
                ["y"],
                "mean",
                part(1, "axes") + files.varint(8, 1) + files.varint(8, 2) + files.varint(20, 7),
            )
        ]
        content = model(
            graph(steps, [], [port("x", FLOAT, ["n", 8, 6, 3])], [port("y", FLOAT, ["n", 1, 1, 3])]), opset=13
        )
        loaded = opened(tmp_path, content)
        x = torch.randn(2, 3, 8, 6)
        torch.testing.assert_close(loaded.module(x).flatten(1), x.mean((2, 3)))
        assert loaded.architecture.assumed == ("images are given to it as height, width, channels",)

    def test_steps_that_torch_s_exporter_named(self, tmp_path: Path) -> None:
        noted = files.entry(9, "pkg.torch.onnx.name_scopes", "['', 'encoder', 'encoder.act', 'relu']")
        steps = [node("Relu", ["x"], ["y"], "node_3") + noted]
        loaded = opened(tmp_path, model(graph(steps, [], [port("x", FLOAT, ["n", 6])], [port("y", FLOAT, ["n", 6])])))
        assert {"encoder", "encoder.act"} <= {name for name, _ in loaded.module.named_modules()}

    def test_what_the_runtime_cannot_run_is_said(self, tmp_path: Path) -> None:
        strange = [node("NoSuchThing", ["x"], ["y"])]
        content = model(graph(strange, [], [port("x", FLOAT, ["n", 6])], [port("y", FLOAT, ["n", 6])]))
        assert "onnxruntime cannot run the graph" in refusal(tmp_path, content)

    @pytest.mark.parametrize(
        ("inputs", "said"), [([], "has no input"), ([port("x", 8, ["n"])], "takes string as x, expected numbers")]
    )
    def test_graphs_that_take_something_else(self, tmp_path: Path, inputs: list[bytes], said: str) -> None:
        steps = [node("Identity", ["x"], ["y"])]
        assert said in refusal(tmp_path, model(graph(steps, [], inputs, [port("y", FLOAT, ["n"])])))

    def test_names_that_no_module_can_have(self, tmp_path: Path) -> None:
        steps = [
            node("Relu", ["x"], ["a"], "forward"), node("Relu", ["a"], ["b"], "..x.."),
            node("Relu", ["b"], ["c"], "\x1b[2J"), node("Relu", ["c"], ["y"], "/".join("ab" * 40)),
        ]  # fmt: skip
        loaded = opened(tmp_path, model(graph(steps, [], [port("x", FLOAT, ["n", 6])], [port("y", FLOAT, ["n", 6])])))
        x = torch.randn(3, 6)
        assert torch.equal(loaded.module(x), x.relu())
        assert len([name for name, _ in loaded.module.named_modules() if name]) >= 4

    def test_a_scan(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(tmp_path / "model.onnx", files.network())
        np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32))
        assert (
            run(["scan", str(tmp_path / "model.onnx"), str(tmp_path / "x.npy"), "--quiet", "--fail-on", "never"]) == 0
        )
        out = capsys.readouterr().out
        assert ("ONNX graph of tests 1.0" in out and "act.relu" in out) or "embedding" in out
