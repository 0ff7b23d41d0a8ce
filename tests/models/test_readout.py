from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from collapsecheck.errors import NotMeasuredError, UsageError
from collapsecheck.models import LoadedModel, choose_readout

Wrap = Callable[[nn.Module], LoadedModel]


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


class Calls(nn.Module):
    """Runs a function as a module, with a layer for it to use."""

    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_a_torchvision_classifier_gives_the_input_of_its_last_linear(loaded: Wrap) -> None:
    model = models.resnet18(weights=None, num_classes=10)
    readout = choose_readout(loaded(model))
    assert (readout.layer, readout.where, readout.shown) == ("fc", "input", "fc")
    assert "fc" in readout.reason
    batch = torch.randn(2, 3, 32, 32)
    with torch.inference_mode(), readout.attached():
        rows = readout(batch)
        features = nn.Sequential(*list(model.children())[:-1])(batch).flatten(1)
    assert rows.shape == (2, 512)
    torch.testing.assert_close(rows, features)
    assert readout.reduction == "as it is"


def test_squeezenet_gives_the_input_of_its_last_convolution(loaded: Wrap) -> None:
    readout = choose_readout(loaded(models.squeezenet1_1(weights=None)))
    with torch.inference_mode(), readout.attached():
        assert readout(torch.randn(1, 3, 64, 64)).shape == (1, 512)
    assert (readout.layer, readout.where) == ("classifier.1", "input")
    assert readout.reduction == "mean over 3x3 positions"


@pytest.mark.parametrize(
    ("arch", "layer"),
    [
        ("googlenet", "fc"),
        ("inception_v3", "fc"),
        ("vgg11", "classifier.6"),
        ("vit_b_16", "heads.head"),
        ("swin_t", "head"),
        ("s3d", "classifier.1"),
        ("fcn_resnet50", ""),
        ("retinanet_resnet50_fpn", ""),
    ],
)
@pytest.mark.filterwarnings("ignore:The default weight init")
def test_where_the_embedding_of_torchvision_models_is(loaded: Wrap, arch: str, layer: str) -> None:
    options = {"weights_backbone": None} if "resnet50" in arch else {}
    with torch.device("meta"):
        model = models.get_model(arch, weights=None, **options)
    readout = choose_readout(loaded(model))
    assert readout.layer == layer
    assert readout.where == ("input" if layer else "output")


@pytest.mark.parametrize(("arch", "head"), [("resnet18", "fc"), ("swin_t", "head"), ("vit_b_16", "heads")])
def test_a_classifier_without_its_head_gives_its_output(loaded: Wrap, arch: str, head: str) -> None:
    with torch.device("meta"):
        model = models.get_model(arch, weights=None)
    setattr(model, head, nn.Identity())
    assert choose_readout(loaded(model)).layer == ""


def test_other_models_give_their_output(loaded: Wrap) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    readout = choose_readout(loaded(model))
    assert (readout.layer, readout.where, readout.shown) == ("", "output", "output")
    batch = torch.randn(5, 3)
    with readout.attached():
        assert torch.equal(readout(batch), model(batch))


@pytest.mark.parametrize("layer", ["output", ""])
def test_the_output_can_be_asked_for(loaded: Wrap, layer: str) -> None:
    readout = choose_readout(loaded(models.squeezenet1_1(weights=None, num_classes=3)), layer)
    with torch.inference_mode(), readout.attached():
        assert readout(torch.randn(1, 3, 64, 64)).shape == (1, 3)
    assert "--layer" in readout.reason


def test_a_layer_called_output_comes_first(loaded: Wrap) -> None:
    readout = choose_readout(loaded(Calls(lambda self, x: self.output(x), output=nn.Linear(3, 2))), "output")
    assert readout.layer == "output"


def test_any_layer_by_name(loaded: Wrap) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    readout = choose_readout(loaded(model), "0")
    batch = torch.randn(5, 3)
    with readout.attached():
        assert torch.equal(readout(batch), model[0](batch))
    assert "--layer" in readout.reason


def test_an_unknown_layer(loaded: Wrap) -> None:
    model = Calls(lambda self, x: x, backbone=nn.Linear(3, 2))
    with pytest.raises(UsageError, match="did you mean 'backbone'"):
        choose_readout(loaded(model), "bakcbone")
    with pytest.raises(UsageError, match="known are: backbone, output"):
        choose_readout(loaded(model), "\x1b")


def test_a_layer_that_is_not_executed(loaded: Wrap) -> None:
    readout = choose_readout(loaded(Calls(lambda self, x: x, head=nn.Linear(3, 2))), "head")
    with readout.attached(), pytest.raises(UsageError, match="--layer head: this layer is not executed"):
        readout(torch.randn(2, 3))


def test_a_later_layer_that_overwrites_does_not_reach_the_embedding(loaded: Wrap) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))
    readout = choose_readout(loaded(model), "0")
    with torch.inference_mode(), readout.attached():
        rows = readout(torch.randn(50, 3))
    assert rows.min() < 0


def test_a_head_of_several_layers(loaded: Wrap) -> None:
    with torch.device("meta"):
        model = models.resnet18(weights=None)
        model.fc = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 2))
    assert choose_readout(loaded(model)).layer == "fc.2"


@pytest.mark.parametrize("layer", ["0", None])
def test_hooks_are_gone_afterwards(loaded: Wrap, layer: str | None) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    readout = choose_readout(loaded(model), layer)
    assert hooks(model) == 0
    with readout.attached():
        assert hooks(model) == (1 if layer else 0)
        readout(torch.randn(2, 3))
    assert hooks(model) == 0
    with pytest.raises(NotMeasuredError), readout.attached():
        readout(torch.randn(2, 7))
    assert hooks(model) == 0
    with pytest.raises(RuntimeError, match="attached"):
        readout(torch.randn(2, 3))


def test_a_layer_that_runs_several_times(loaded: Wrap) -> None:
    layer = nn.Linear(3, 3)
    readout = choose_readout(loaded(Calls(lambda self, x: self.layer(self.layer(x)), layer=layer)), "layer")
    batch = torch.randn(2, 3)
    with readout.attached():
        for _ in range(3):
            assert torch.equal(readout(batch), layer(layer(batch)))
    assert readout.reason.count("runs 2 times per batch, the last time counts") == 1


def test_one_layer_under_two_names(loaded: Wrap) -> None:
    layer = nn.Linear(3, 3)
    model = Calls(lambda self, x: self.one(x), one=layer, two=layer)
    readout = choose_readout(loaded(model), "two")
    with readout.attached():
        assert readout(torch.randn(2, 3)).shape == (2, 3)


def test_a_layer_called_with_a_name_for_its_input(loaded: Wrap) -> None:
    from collapsecheck.models import Readout

    model = Calls(lambda self, x: self.head(input=x), head=nn.Linear(3, 2))
    readout = Readout(model, layer="head", where="input", reason="")
    batch = torch.randn(2, 3)
    with readout.attached():
        assert torch.equal(readout(batch), batch)


def test_structures_are_said_in_the_reduction(loaded: Wrap) -> None:
    lstm = nn.LSTM(3, 4, batch_first=True)
    readout = choose_readout(loaded(Calls(lambda self, x: self.lstm(x)[0], lstm=lstm)), "lstm")
    with readout.attached():
        assert readout(torch.randn(2, 5, 3)).shape == (2, 4)
    assert readout.reduction == "item 0, mean over 5 tokens"


def test_pooling_by_the_first_token(loaded: Wrap) -> None:
    readout = choose_readout(loaded(nn.Linear(3, 4)), None, "cls")
    batch = torch.randn(2, 5, 3)
    with readout.attached():
        assert readout(batch).shape == (2, 4)
    assert readout.reduction == "first of 5 tokens"
    readout = choose_readout(loaded(nn.Conv2d(1, 4, 3)), None, "cls")
    with readout.attached(), pytest.raises(UsageError, match="cls"):
        readout(torch.randn(2, 1, 5, 5))


def test_tokens_whose_order_depends_on_the_batch(loaded: Wrap) -> None:
    readout = choose_readout(loaded(Calls(lambda self, x: x.transpose(0, 1))))
    with readout.attached():
        readout(torch.randn(2, 5, 3))
        with pytest.raises(NotMeasuredError, match="batch-size"):
            readout(torch.randn(5, 5, 3))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "the model returned a NoneType"),
        ({"loss": 1.0}, "the model returned a dict (loss: float)"),
        (torch.tensor(1.0), "the model returned a tensor of shape [] for a batch of 2"),
        (torch.ones(1, 4), "the model returned a tensor of shape [1, 4] for a batch of 2"),
    ],
)
def test_a_model_that_returns_nothing_of_use(loaded: Wrap, returned: Any, said: str) -> None:
    readout = choose_readout(loaded(Calls(lambda self, x: returned)))
    with readout.attached(), pytest.raises(NotMeasuredError) as caught:
        readout(torch.randn(2, 3))
    assert said in str(caught.value)
    assert "--layer" in str(caught.value)


def test_a_layer_that_returns_nothing_of_use_is_named(loaded: Wrap) -> None:
    class Nothing(nn.Module):
        def forward(self, x: torch.Tensor) -> None:
            return None

    readout = choose_readout(loaded(Calls(lambda self, x: self.part(x), part=Nothing())), "part")
    with readout.attached(), pytest.raises(NotMeasuredError, match="the layer part returned a NoneType"):
        readout(torch.randn(2, 3))


def test_a_model_that_fails(loaded: Wrap) -> None:
    readout = choose_readout(loaded(nn.Linear(3, 2)))
    with readout.attached(), pytest.raises(NotMeasuredError) as caught:
        readout(torch.randn(2, 7))
    message = str(caught.value)
    assert message.startswith("the model failed on a batch of shape [2, 7], float32: RuntimeError: ")
    assert "--size" in message
    assert message.isprintable()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_not_wrapped(loaded: Wrap, error: Exception) -> None:
    def fail(self: nn.Module, x: torch.Tensor) -> None:
        raise error

    readout = choose_readout(loaded(Calls(fail)))
    with readout.attached(), pytest.raises(type(error)) as caught:
        readout(torch.randn(2, 3))
    assert caught.value is error


def test_prints_stay_out_of_the_report(loaded: Wrap, capsys: pytest.CaptureFixture[str]) -> None:
    def loud(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        print("debug")
        return x

    readout = choose_readout(loaded(Calls(loud)))
    with readout.attached():
        readout(torch.randn(2, 3))
    assert capsys.readouterr() == ("", "debug\n")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_model_may_move_after_the_choice(loaded: Wrap, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU on this machine")
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    readout = choose_readout(loaded(model), "0")
    model.to(device)
    with readout.attached():
        assert readout(torch.randn(2, 3, device=device)).device.type == device


@pytest.mark.parametrize("length", [16, 40])
def test_what_a_one_dimensional_convolution_gives_is_averaged_over_time(loaded: Wrap, length: int) -> None:
    model = nn.Sequential(nn.Conv1d(1, 16, 3, padding=1), nn.BatchNorm1d(16), nn.ReLU())
    readout = choose_readout(loaded(model.eval()))
    batch = torch.randn(3, 1, length)
    with torch.inference_mode(), readout.attached():
        rows = readout(batch)
        torch.testing.assert_close(rows, model(batch).mean(2))
    assert readout.reduction == f"mean over {length} positions"


def test_tokens_behind_a_convolution_are_tokens(loaded: Wrap) -> None:
    """Its width is a number of tokens by chance; the width of the layer norm tells."""

    def run(self: nn.Module, x: torch.Tensor) -> Any:
        return self.norm(self.cut(x).transpose(1, 2))

    model = Calls(run, cut=nn.Conv1d(1, 8, 4, stride=4), norm=nn.LayerNorm(8))
    readout = choose_readout(loaded(model))
    with torch.inference_mode(), readout.attached():
        assert readout(torch.randn(3, 1, 32)).shape == (3, 8)
    assert readout.reduction == "mean over 8 tokens"
