from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from collapsecheck.errors import NotLoadableError, UsageError
from collapsecheck.models import choose_readout, load_model
from collapsecheck.models.drawing import build_index
from collapsecheck.recognition import choice
from collapsecheck.recognition.index import Index, shipped

Save = Callable[[Any], Path]

timm = pytest.importorskip("timm")

SMALL = ["lcnet_050", "convnext_atto", "test_vit", "mobilenetv3_small_050", "resnet10t", "test_convnext"]


def original(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(3)
    module: nn.Module = timm.create_model(name, pretrained=False, **options)
    return module.eval()


def batch(module: nn.Module, channels: int = 3) -> torch.Tensor:
    torch.manual_seed(4)
    side = module.pretrained_cfg["input_size"][-1]
    return torch.randn(2, channels, side, side)


@pytest.fixture(scope="module")
def index() -> Index:
    found = shipped("timm")
    assert found is not None
    return found


@pytest.mark.parametrize("name", SMALL)
def test_loaded_from_a_bare_state_dict(save: Save, name: str) -> None:
    module = original(name, num_classes=10)
    loaded = load_model(save({f"module.{key}": value for key, value in module.state_dict().items()}))
    assert loaded.architecture.name == f"timm {name}"
    assert loaded.architecture.reason == f"names and shapes match {name}; 10 classes"
    assert loaded.missing_keys == loaded.unexpected_keys == ()
    inputs = batch(module)
    with torch.inference_mode():
        assert torch.equal(loaded.module(inputs), module(inputs))
        readout = choose_readout(loaded)
        with readout.attached():
            ours = readout(inputs)
        theirs = module.forward_head(module.forward_features(inputs), pre_logits=True)
    assert torch.allclose(ours, theirs.flatten(1), atol=1e-6)


@pytest.mark.parametrize("name", ["lcnet_050", "test_vit"])
def test_without_its_head_and_with_one_channel(save: Save, name: str) -> None:
    module = original(name, num_classes=0, in_chans=1)
    loaded = load_model(save(module.state_dict()))
    assert "1 input channel" in loaded.architecture.reason
    assert "without its" in loaded.architecture.reason
    inputs = batch(module, 1)
    readout = choose_readout(loaded)
    with readout.attached(), torch.inference_mode():
        assert torch.allclose(readout(inputs), module(inputs), atol=1e-6)


def test_models_that_torchvision_has_too_are_torchvisions(save: Save) -> None:
    loaded = load_model(save(original("resnet18", num_classes=4).state_dict()))
    assert loaded.architecture.name == "torchvision resnet18"


def test_ties_can_be_decided(save: Save) -> None:
    module = original("tf_efficientnet_lite0", num_classes=3)
    path = save(module.state_dict())
    with pytest.raises(NotLoadableError, match=r"--arch timm:efficientnet_lite0 or --arch timm:tf_efficientnet_lite0"):
        load_model(path)
    loaded = load_model(path, arch="timm:tf_efficientnet_lite0")
    inputs = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded.module(inputs), module(inputs))


@pytest.mark.parametrize(("arch", "said"), [("timm:resnet19zz", "timm has no such model"), ("timm:", "no such model")])
def test_an_unknown_name(save: Save, arch: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        load_model(save({"a": torch.ones(2)}), arch=arch)
    assert len(str(caught.value)) < 300


def test_without_timm_the_extra_is_named(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(original("lcnet_050").state_dict())
    monkeypatch.setattr(choice, "release", lambda library: "")
    with pytest.raises(NotLoadableError, match=r"timm's lcnet_050, but timm is not installed; pip install"):
        load_model(path)


def test_unknown_weights_are_not_timms_either(save: Save) -> None:
    with pytest.raises(NotLoadableError, match="fit none that is known"):
        load_model(save(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2)).state_dict()))


def test_a_sample_of_the_index_is_as_the_installed_timm_builds_it(index: Index) -> None:
    theirs = build_index.build_index("timm", SMALL)
    ours = {one.name: one for one in index.known}
    for one in theirs.known:
        known = ours[one.name]
        assert (one.tensors, one.axes, one.untold, one.modules) == (
            known.tensors,
            known.axes,
            known.untold,
            known.modules,
        ), one.name
