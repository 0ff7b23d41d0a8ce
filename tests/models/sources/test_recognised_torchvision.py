"""From a bare state dict on disk to a model that runs: nothing is said about what is in the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from collapsecheck.errors import NotLoadableError
from collapsecheck.models import LoadedModel, choose_readout, load_model

Save = Callable[[Any], Path]

# (name, options, channels and side of an image, layer whose input is the embedding and how wide that is)
SMALL: list[tuple[str, dict[str, Any], tuple[int, ...], str, int]] = [
    ("resnet18", {}, (3, 64, 64), "fc", 512),
    ("mobilenet_v3_small", {}, (3, 64, 64), "classifier.3", 1024),
    ("mobilenet_v2", {}, (3, 64, 64), "classifier.1", 1280),
    ("squeezenet1_1", {}, (3, 64, 64), "classifier.1", 512),
    ("shufflenet_v2_x0_5", {}, (3, 64, 64), "fc", 1024),
    ("mnasnet0_5", {}, (3, 64, 64), "classifier.1", 1280),
    ("googlenet", {"init_weights": False, "aux_logits": False}, (3, 64, 64), "fc", 1024),
    ("regnet_y_400mf", {}, (3, 64, 64), "fc", 440),
    ("efficientnet_b0", {}, (3, 64, 64), "classifier.1", 1280),
]


def original(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(3)
    module = models.get_model(name, weights=None, **options)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(std=0.1)
                part.running_var.uniform_(0.5, 1.5)
    return module.eval()


def outputs(module: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    torch.manual_seed(4)
    with torch.inference_mode():
        found: torch.Tensor = module(torch.randn(2, *shape))
    return found


def embeddings(loaded: LoadedModel, shape: tuple[int, ...]) -> torch.Tensor:
    torch.manual_seed(4)
    readout = choose_readout(loaded)
    with readout.attached(), torch.inference_mode():
        return readout(torch.randn(2, *shape))


def without_head(module: nn.Module, name: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in module.state_dict().items() if not key.startswith(f"{name}.")}


@pytest.mark.parametrize(("name", "options", "shape", "layer", "width"), SMALL)
def test_loaded_from_a_bare_state_dict(  # noqa: PLR0917
    save: Save, name: str, options: dict[str, Any], shape: tuple[int, ...], layer: str, width: int
) -> None:
    module = original(name, num_classes=10, **options)
    path = save({f"module.{key}": value for key, value in module.state_dict().items()})
    loaded = load_model(path)
    assert loaded.architecture.arch_name == name
    assert loaded.architecture.reason == f"names and shapes match {name}; 10 classes"
    assert any(f"as in {name}" in one for one in loaded.architecture.assumed)
    assert (loaded.prefixes, loaded.missing_keys, loaded.unexpected_keys) == (("module.",), (), ())
    assert torch.equal(outputs(loaded.module, shape), outputs(module, shape))
    readout = choose_readout(loaded)
    assert (readout.layer, readout.where) == (layer, "input")
    assert embeddings(loaded, shape).shape == (2, width)


@pytest.mark.parametrize(
    ("name", "head", "width"),
    [("resnet18", "fc", 512), ("mobilenet_v3_small", "classifier", 576), ("squeezenet1_1", "classifier", 512)],
)
def test_without_its_head(save: Save, name: str, head: str, width: int) -> None:
    module = original(name)
    loaded = load_model(save({f"backbone.{key}": value for key, value in without_head(module, head).items()}))
    assert (loaded.architecture.arch_name, loaded.missing_keys) == (name, ())
    assert loaded.architecture.reason.endswith(f"without its {head}")
    readout = choose_readout(loaded)
    assert (readout.layer, readout.where) == (head, "input")
    assert "not in the file" in readout.reason
    theirs: list[torch.Tensor] = []
    module.get_submodule(head).register_forward_pre_hook(lambda _, args: theirs.append(args[0]))
    outputs(module, (3, 64, 64))
    ours = embeddings(loaded, (3, 64, 64))
    assert ours.shape == (2, width)
    assert torch.allclose(ours, theirs[0].flatten(2).mean(2) if theirs[0].dim() == 4 else theirs[0])
    assert loaded.parameters == sum(value.numel() for value in dict(loaded.module.named_parameters()).values())


def test_only_the_last_layer_of_the_head_is_gone(save: Save) -> None:
    module = original("mobilenet_v3_small")
    module.classifier[3] = nn.Identity()
    loaded = load_model(save(module.state_dict()))
    assert choose_readout(loaded).layer == "classifier.3"
    assert torch.equal(embeddings(loaded, (3, 64, 64)), outputs(module, (3, 64, 64)))


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(("name", "place"), [("resnet18", "conv1"), ("mobilenet_v3_small", "features.0.0")])
def test_other_input_channels(save: Save, name: str, place: str, channels: int) -> None:
    module = original(name, num_classes=7)
    stem = module.get_submodule(place)
    new = nn.Conv2d(channels, stem.out_channels, stem.kernel_size, stem.stride, stem.padding, bias=False)
    parent, _, attribute = place.rpartition(".")
    setattr(module.get_submodule(parent), attribute, new)
    loaded = load_model(save(module.state_dict()))
    assert f"{channels} input channel" in loaded.architecture.reason
    assert torch.equal(outputs(loaded.module, (channels, 64, 64)), outputs(module, (channels, 64, 64)))
    named = load_model(save(module.state_dict()), arch=name)
    assert torch.equal(outputs(named.module, (channels, 64, 64)), outputs(module, (channels, 64, 64)))


def test_momentum_contrast(save: Save) -> None:
    """encoder_q with an MLP for a head, beside encoder_k and a queue."""
    query, key = original("resnet18"), models.resnet18(weights=None)
    query.fc = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 128))
    key.fc = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 128))
    content = {f"module.encoder_q.{name}": value for name, value in query.state_dict().items()}
    content |= {f"module.encoder_k.{name}": value for name, value in key.state_dict().items()}
    content |= {"module.queue": torch.randn(128, 64), "module.queue_ptr": torch.zeros(1, dtype=torch.int64)}
    loaded = load_model(save({"epoch": 3, "state_dict": content}))
    assert (loaded.architecture.arch_name, loaded.key) == ("resnet18", "state_dict")
    assert loaded.missing_keys == loaded.unexpected_keys == loaded.mismatched_keys == ()
    assert any("encoder_k, queue" in one for one in loaded.architecture.assumed)
    trunk = nn.Sequential(*list(query.children())[:-1], nn.Flatten())
    assert torch.allclose(embeddings(loaded, (3, 64, 64)), outputs(trunk, (3, 64, 64)))


def test_the_student_beside_its_teacher_in_one_dict(save: Save) -> None:
    student, teacher = original("resnet18"), models.resnet18(weights=None)
    content = {f"student.{name}": value for name, value in student.state_dict().items()}
    content |= {f"teacher.{name}": value for name, value in teacher.state_dict().items()}
    loaded = load_model(save(content))
    assert (loaded.prefixes, loaded.unexpected_keys) == (("student.",), ())
    assert torch.equal(outputs(loaded.module, (3, 64, 64)), outputs(student, (3, 64, 64)))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_children_in_a_sequential(save: Save, name: str) -> None:
    """Names are numbers then, but the shapes come in order."""
    module = original(name)
    trunk = nn.Sequential(*list(module.children())[:-1])
    loaded = load_model(save(trunk.state_dict()))
    assert loaded.architecture.arch_name == name
    assert "shapes in the order of" in loaded.architecture.reason
    assert loaded.missing_keys == loaded.unexpected_keys == ()
    ours, theirs = embeddings(loaded, (3, 64, 64)), outputs(trunk, (3, 64, 64))
    assert torch.allclose(ours, theirs.mean((2, 3)), atol=1e-6)


def test_blocks_of_other_names(save: Save) -> None:
    """As older definitions of MobileNetV2 call their layers: without a module around convolution and normalisation."""
    module = original("mobilenet_v2", num_classes=5)
    names: dict[str, str] = {}
    for key in module.state_dict():
        head, _, last = key.rpartition(".")
        names[key] = f"{head.replace('.conv.', '.block_')}.{last}"
    content = {names[key]: value for key, value in module.state_dict().items()}
    loaded = load_model(save({"model": content}))
    assert "shapes in the order of mobilenet_v2; 5 classes" in loaded.architecture.reason
    assert torch.equal(outputs(loaded.module, (3, 64, 64)), outputs(module, (3, 64, 64)))


def test_a_vision_transformer_for_small_images(save: Save) -> None:
    module = original("vit_b_32", image_size=64, num_classes=3)
    loaded = load_model(save(module.state_dict()))
    assert loaded.architecture.reason == "names and shapes match vit_b_32; 3 classes; another size of images"
    assert any("attention heads" in one for one in loaded.architecture.assumed)
    assert torch.equal(outputs(loaded.module, (3, 64, 64)), outputs(module, (3, 64, 64)))


def test_safetensors(tmp_path: Path) -> None:
    module = original("mnasnet0_5")
    save_file(module.state_dict(), tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors").architecture.arch_name == "mnasnet0_5"


def test_quantised_twins_are_the_float_model(save: Save) -> None:
    module = models.get_model("quantized_resnet18", weights=None)
    assert load_model(save(module.state_dict())).architecture.arch_name == "resnet18"


def refusal(path: Path) -> str:
    with pytest.raises(NotLoadableError) as caught:
        load_model(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_ties_name_the_candidates(save: Save) -> None:
    module = models.get_model("fasterrcnn_mobilenet_v3_large_fpn", weights=None, weights_backbone=None)
    message = refusal(save(module.state_dict()))
    assert "fit 2 models of torchvision alike" in message
    assert "--arch fasterrcnn_mobilenet_v3_large_320_fpn or --arch fasterrcnn_mobilenet_v3_large_fpn" in message


def test_a_near_relative_is_refused_and_named(save: Save) -> None:
    module = original("resnet18")
    module.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    message = refusal(save(module.state_dict()))
    assert "fit none that is known" in message
    assert "nearest is resnet18, with 101 of its 102 weights, but conv1.weight is 64×3×3×3, not 64×3×7×7" in message


def test_names_out_of_the_file_are_escaped(save: Save) -> None:
    module = original("resnet18")
    loaded = load_model(save({**module.state_dict(), "pro\x1b[2Jjector.weight": torch.ones(2, 2)}))
    assert "\x1b" not in loaded.architecture.reason + "".join(loaded.architecture.assumed)
    refused = refusal(save({**module.state_dict(), "layer1.0.\x1b[2J.weight": torch.ones(2, 2)}))
    assert "there is also layer1.0.\\x1b[2J.weight" in refused
