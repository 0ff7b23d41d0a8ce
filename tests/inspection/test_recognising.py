"""Bare weights are named from the shipped index alone; building the model must lead to the same report."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from collapsecheck.checkpoints import read_checkpoint
from collapsecheck.checkpoints.state_dicts import find_state_dicts
from collapsecheck.inspection.layers import describe_layers
from collapsecheck.inspection.matched import Matched
from collapsecheck.inspection.matching import match
from collapsecheck.inspection.recognising import is_bare, recognise
from collapsecheck.models.torchvision_architecture import TorchvisionArchitecture

State = dict[str, Any]

# One of each kind of head and family; all of them in the long test.
NAMES = [
    "resnet18",
    "mobilenet_v3_small",
    "googlenet",
    "swin_t",
    "vit_b_32",
    "deeplabv3_resnet50",
    "shufflenet_v2_x0_5",
]


def state(name: str, **options: Any) -> State:
    """Weights as they are saved; shapes are all that matters."""
    shapes = TorchvisionArchitecture(name).shapes(**options)
    return {key: torch.zeros(shape or ()) for key, shape in shapes.items()}


def behind_a_prefix(weights: State) -> State:
    return {f"module.backbone.{name}": value for name, value in weights.items()} | {
        "projector.weight": torch.ones(8, 8)
    }


def without_a_head(weights: State) -> State:
    last = list(weights)[-1].partition(".")[0]
    return {name: value for name, value in weights.items() if name.partition(".")[0] != last}


def repackaged(weights: State) -> State:
    """Names of their own, in the same order and with the same last parts."""
    parts = list(dict.fromkeys(name.rpartition(".")[0] for name in weights))
    return {f"m{parts.index(name.rpartition('.')[0])}.{name.rpartition('.')[2]}": v for name, v in weights.items()}


def with_four_channels(weights: State) -> State:
    name = next(name for name, value in weights.items() if value.ndim == 4 and value.shape[1] == 3)
    return weights | {name: torch.zeros(weights[name].shape[0], 4, *weights[name].shape[2:])}


def both(path: Path) -> tuple[Matched, Matched]:
    """The answer of the index, and that of the built model."""
    checkpoint = read_checkpoint(path)
    found = find_state_dicts(checkpoint.content)
    assert is_bare(checkpoint, found)
    return recognise(found), match(checkpoint, found, arch=None, model_def=None)


def agrees(path: Path) -> Matched:
    light, heavy = both(path)
    assert light.facts == heavy.facts
    assert (light.prefixes, light.added_prefix) == (heavy.prefixes, heavy.added_prefix)
    assert light.names == heavy.names
    assert light.weights is not None
    assert heavy.weights is not None
    assert light.weights.key == heavy.weights.key
    assert describe_layers(light.weights, light) == describe_layers(heavy.weights, heavy)
    return light


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], Path]:
    def save(content: Any) -> Path:
        torch.save(content, tmp_path / "model.pt")
        return tmp_path / "model.pt"

    return save


@pytest.mark.parametrize("name", NAMES)
def test_as_published(saved: Callable[[Any], Path], name: str) -> None:
    facts = agrees(saved(state(name))).facts
    assert facts.name == f"torchvision {name}"
    assert facts.missing_keys == facts.unexpected_keys == facts.mismatched_keys == ()


@pytest.mark.long
@pytest.mark.parametrize("name", models.list_models())
def test_all_as_published(saved: Callable[[Any], Path], name: str) -> None:
    light, heavy = both(saved(state(name)))
    assert light.facts == heavy.facts
    if light.weights is not None and heavy.weights is not None:
        assert describe_layers(light.weights, light) == describe_layers(heavy.weights, heavy)


@pytest.mark.parametrize("change", [behind_a_prefix, without_a_head, repackaged, with_four_channels])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_changed(saved: Callable[[Any], Path], name: str, change: Callable[[State], State]) -> None:
    assert agrees(saved(change(state(name)))).facts.name == f"torchvision {name}"


def test_other_classes_in_a_training_checkpoint(saved: Callable[[Any], Path]) -> None:
    content = {"epoch": 3, "model": state("resnet18", num_classes=10), "optimizer": {"state": {}, "param_groups": []}}
    assert "10 classes" in agrees(saved(content)).facts.reason


def test_another_size_of_images(saved: Callable[[Any], Path]) -> None:
    assert "another size" in agrees(saved(state("vit_b_32", image_size=64))).facts.reason


def test_what_fits_several_models(saved: Callable[[Any], Path]) -> None:
    light, heavy = both(saved(without_a_head(state("efficientnet_b0")) | {"classifier.9.weight": torch.ones(3, 1280)}))
    assert light.facts == heavy.facts


def test_what_nobody_publishes(saved: Callable[[Any], Path]) -> None:
    light, heavy = both(saved(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2)).state_dict()))
    assert light.facts == heavy.facts
    assert light.facts.name is None
    assert "fit none that is known" in light.facts.reason


@pytest.mark.parametrize(
    "make", [lambda: nn.Sequential(nn.Linear(8, 2)), lambda: {"model": nn.Linear(8, 2), "epoch": 1}]
)
def test_a_module_is_not_bare(saved: Callable[[Any], Path], make: Callable[[], Any]) -> None:
    checkpoint = read_checkpoint(saved(make()))
    assert not is_bare(checkpoint, find_state_dicts(checkpoint.content))


def test_neither_torch_nor_the_library_is_imported(saved: Callable[[Any], Path]) -> None:
    script = (
        "import sys; from collapsecheck.cli.entry import run; code = run(['inspect', sys.argv[1]]); "
        "assert code == 0; assert not {'torch', 'torchvision', 'timm'} & set(sys.modules), 'imported'"
    )
    path = saved(behind_a_prefix(state("resnet18")))
    found = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "torchvision resnet18" in found.stdout
