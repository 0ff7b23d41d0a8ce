"""Modules that were pickled whole: those of known classes run, rebuilt by name; no code of the file ever does."""

from __future__ import annotations

import functools
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from collapsecheck.errors import CollapsecheckError, NotLoadableError
from collapsecheck.models import LoadedModel, load_model
from tests.checkpoints.conftest import Touch

Save = Callable[[Any], Path]


class Own(nn.Module):
    """A class that only the author has."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def disturbed(module: nn.Module, seed: int = 0) -> nn.Module:
    """Running statistics that a rebuilt module could not have by chance."""
    torch.manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    return module.eval()


def same(loaded: LoadedModel, module: nn.Module, *inputs: torch.Tensor) -> None:
    with torch.inference_mode():
        got, expected = loaded.module(*inputs), module.float()(*inputs)
    while isinstance(expected, tuple):
        got, expected = got[0], expected[0]
    assert torch.equal(got, expected)
    assert loaded.architecture.trust == "known-classes"


def refusal(path: Path) -> str:
    with pytest.raises(NotLoadableError) as caught:
        load_model(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


# --- what runs


def transformer(layers: int, **options: Any) -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, **options), layers, enable_nested_tensor=False)


HONEST: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(8, 2)), (5, 4)),
    "conv2d": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.BatchNorm2d(4), nn.GELU()), (2, 3, 8, 8)),
    "conv1d": (
        lambda: nn.Sequential(OrderedDict(a=nn.Conv1d(1, 4, 5, stride=2), b=nn.AdaptiveAvgPool1d(1))),
        (2, 1, 40),
    ),
    "transformer": (lambda: transformer(2, batch_first=True), (3, 5, 8)),
    "transformer-gelu": (lambda: transformer(1, activation="gelu"), (5, 3, 8)),
    "lstm": (lambda: nn.LSTM(4, 6, num_layers=2, bidirectional=True, batch_first=True), (3, 7, 4)),
    "gru": (lambda: nn.GRU(4, 6), (7, 3, 4)),
    "reshapes": (lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Flatten(), nn.LayerNorm(6), nn.Softmax(1)), (3, 6)),
    "upsampling": (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.GroupNorm(2, 4)),
        (2, 3, 4, 4),
    ),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=7), (2, 3, 64, 64)),
    "shufflenet": (torchvision.models.shufflenet_v2_x0_5, (2, 3, 64, 64)),
    "mobilenet": (torchvision.models.mobilenet_v3_small, (2, 3, 64, 64)),
    "torchvision-mlp": (lambda: torchvision.ops.MLP(4, [8, 3], norm_layer=nn.LayerNorm), (5, 4)),
}


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_known_classes_run_as_the_original(tmp_path: Path, name: str, legacy: bool) -> None:
    make, shape = HONEST[name]
    torch.manual_seed(1)
    module = disturbed(make())
    torch.save(module, tmp_path / "model.pt", _use_new_zipfile_serialization=not legacy)
    loaded = load_model(tmp_path / "model.pt")
    same(loaded, module, torch.randn(shape))
    assert "rebuilt from classes of torch and torchvision" in loaded.architecture.reason
    assert not loaded.module.training
    assert list(loaded.module.state_dict()) == list(module.state_dict())


@pytest.mark.parametrize("key", ["model", "ema", "a.b"])
def test_a_module_among_other_entries(save: Save, key: str) -> None:
    module = nn.Sequential(nn.Linear(4, 3)).eval()
    content: Any = module
    for part in reversed(key.split(".")):
        content = {part: content}
    loaded = load_model(save({**content, "epoch": 3}), key=key)
    same(loaded, module, torch.randn(5, 4))


def test_wrappers_of_several_devices_are_taken_off(save: Save) -> None:
    module = nn.Sequential(nn.Linear(4, 3)).eval()
    loaded = load_model(save(nn.DataParallel(module)))
    same(loaded, module, torch.randn(5, 4))
    assert "out of DataParallel" in loaded.architecture.reason


def test_half_precision_becomes_float32(save: Save) -> None:
    loaded = load_model(save(nn.Sequential(nn.Linear(4, 3)).half()))
    assert loaded.module[0].weight.dtype == torch.float32


def test_what_is_one_object_stays_one(save: Save) -> None:
    layer = nn.Linear(4, 4)
    module = nn.Sequential(layer, nn.ReLU(), layer)
    module[2].weight = layer.weight
    rebuilt = load_model(save(module)).module
    assert rebuilt[0] is rebuilt[2]
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    rebuilt = load_model(save(tied)).module
    assert rebuilt[0].weight is rebuilt[1].weight


def test_buffers_that_are_not_saved_are_there(save: Save) -> None:
    module = nn.Sequential(nn.Linear(4, 3))
    module[0].register_buffer("fleeting", torch.arange(3.0), persistent=False)
    rebuilt = load_model(save(module)).module
    assert rebuilt[0].fleeting.tolist() == [0, 1, 2]
    assert "0.fleeting" not in rebuilt.state_dict()


def test_attributes_that_nothing_reads_are_left_out_and_said(save: Save) -> None:
    module = nn.Sequential(nn.Linear(4, 3))
    module.history = functools.partial(os.path.join, "a")  # type: ignore[assignment]
    loaded = load_model(save(module))
    assert not hasattr(loaded.module, "history")
    assert any("history" in one for one in loaded.architecture.assumed)


# --- what does not


def test_own_classes_are_named_with_what_helps(save: Save) -> None:
    said = refusal(save(Own()))
    assert "is of class tests.models.sources.test_pickled_module.Own" in said
    assert "--model-def" in said and "--trust-checkpoint" in said
    assert "layers of the classes tests.models.sources.test_pickled_module.Own" in refusal(save(nn.Sequential(Own())))


def test_own_classes_give_their_weights_to_the_users_code(tmp_path: Path, save: Save) -> None:
    module = Own().eval()
    (tmp_path / "own.py").write_text("from torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.layer = nn.Linear(4, 3)\n"
        "    def forward(self, x):\n        return self.layer(x)\n")  # fmt: skip
    loaded = load_model(save(module), model_def=f"{tmp_path / 'own.py'}:Net")
    x = torch.randn(5, 4)
    assert torch.equal(loaded.module(x), module(x)) and loaded.architecture.trust == "data-only"


def pickled_with(module: nn.Module, **attributes: Any) -> nn.Module:
    vars(module).update(attributes)
    return module


@pytest.mark.parametrize("name", ["forward", "__call__", "_call_impl", "state_dict", "train", "extra_repr", "to"])
@pytest.mark.parametrize("value", [torch.relu, nn.ReLU(), 3], ids=["function", "module", "number"])
def test_no_attribute_takes_the_place_of_code(save: Save, name: str, value: Any) -> None:
    said = refusal(save(nn.Sequential(pickled_with(nn.Linear(4, 3), **{name: value}))))
    assert "takes the place of code of Linear" in said


def test_hooks_are_not_taken_along(save: Save, marker_of: Callable[[nn.Module], nn.Module]) -> None:
    module = nn.Sequential(nn.Linear(4, 3))
    module[0].register_forward_hook(functools.partial(print, "ran"))
    said = refusal(save(module))
    assert "in hooks or containers of its layers" in said and "--model-def" in said
    # Beside a module that is only one entry of the file, the hook is said to be assumed away.
    loaded = load_model(save({"model": module, "epoch": 1}))
    assert not loaded.module[0]._forward_hooks
    assert any("functools.partial" in one for one in loaded.architecture.assumed)


@pytest.fixture
def marker_of(tmp_path: Path) -> Callable[[nn.Module], nn.Module]:
    return lambda module: pickled_with(module, evil=Touch(tmp_path / "ran"))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_an_attack_in_an_attribute_is_refused(
    tmp_path: Path, marker_of: Callable[[nn.Module], nn.Module], legacy: bool
) -> None:
    module = marker_of(nn.Sequential(nn.Linear(4, 3)))
    torch.save(module, tmp_path / "model.pt", _use_new_zipfile_serialization=not legacy)
    assert "which could only be an attack" in refusal(tmp_path / "model.pt")
    assert not (tmp_path / "ran").exists()


def test_functions_that_are_not_on_the_list_are_not_taken_although_torch_has_them(save: Save) -> None:
    """`torch.load` as the activation of a layer would unpickle whatever it is given."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    layer.activation = torch.load
    assert "holds torch.serialization.load" in refusal(save(layer))
    layer.activation = functools.partial(torch.save, f="x")
    assert "torch.serialization.save" in refusal(save(layer))


@pytest.mark.parametrize("kind", [torch.jit.ScriptModule, nn.LazyLinear])
def test_classes_that_compile_or_wait_are_not_on_the_list(kind: type[nn.Module]) -> None:
    from collapsecheck.models.known_classes import known_functions, known_modules

    assert kind not in set(known_modules().values())
    assert not any(callable_ in set(known_functions().values()) for callable_ in (torch.load, torch.from_file, eval))


def test_every_known_class_is_one_of_torch_or_torchvision() -> None:
    from collapsecheck.models.known_classes import known_modules, known_objects

    for kind in (*known_modules().values(), *known_objects().values()):
        assert kind.__module__.split(".")[0] in {"torch", "torchvision"}
    assert {nn.Linear, nn.Sequential, torchvision.models.ResNet} <= set(known_modules().values())


@pytest.mark.parametrize(
    "state",
    [
        {"_parameters": {}},
        {"_parameters": {"weight": 3}},
        {"_modules": {"a": 3}},
        {"_buffers": {"b": "text"}, "training": "yes"},
        {"_non_persistent_buffers_set": 3},
        {"_parameters": 3},
    ],
    ids=str,
)
def test_a_state_that_no_linear_has_ends_in_words(save: Save, state: dict[str, Any]) -> None:
    path = save({"model": pickled_with(nn.Linear(4, 3), **state), "other": {"weight": torch.ones(2, 2)}})
    try:
        loaded = load_model(path, key="model")
    except CollapsecheckError as error:
        assert str(error).isprintable()
    else:
        assert isinstance(loaded.module, nn.Linear) and loaded.module.training is False


def test_a_module_that_contains_itself_ends(save: Save) -> None:
    module = nn.Sequential(nn.Linear(4, 3))
    module._modules["self"] = module
    path = save(module)
    try:
        assert len(list(load_model(path).module.modules())) == 2
    except NotLoadableError as error:
        assert str(error).isprintable()


def test_a_tree_of_shared_modules_has_no_end_and_is_refused(save: Save) -> None:
    module = nn.Sequential(nn.Linear(1, 1))
    for _ in range(40):
        module = nn.Sequential(module, module)
    assert "more than any model" in refusal(save(module))


def test_a_module_within_itself_is_not_rebuilt_with_a_hole(save: Save) -> None:
    outer, inner = nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Linear(4, 4))
    outer.add_module("b", inner)
    inner.add_module("up", outer)
    assert "'up' of the layer b contains it; pass --model-def" in refusal(save(outer))
