from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from collapsecheck.errors import NotLoadableError, UsageError
from collapsecheck.models import load_model
from collapsecheck.models.torchvision_architecture import TorchvisionArchitecture

Save = Callable[[Any], Path]


@pytest.fixture
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return models.resnet18(weights=None, num_classes=10).eval()


def test_a_resnet18_with_ten_classes(save: Save, resnet: nn.Module) -> None:
    content = {f"module.{name}": value for name, value in resnet.state_dict().items()}
    loaded = load_model(save({"state_dict": content}), arch="resnet18")
    assert (loaded.architecture.name, loaded.architecture.arch_name) == ("torchvision resnet18", "resnet18")
    assert (loaded.key, loaded.prefixes) == ("state_dict", ("module.",))
    batch = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.module(batch), resnet(batch))


def test_a_resnet18_without_its_head_is_partial(save: Save, resnet: nn.Module) -> None:
    content = {name: value for name, value in resnet.state_dict().items() if not name.startswith("fc.")}
    path = save(content)
    with pytest.raises(NotLoadableError, match=r"fc\.weight is missing in the file"):
        load_model(path, arch="resnet18")
    assert load_model(path, arch="resnet18", allow_partial=True).missing_keys == ("fc.weight", "fc.bias")


def test_another_architecture_names_the_keys(save: Save, resnet: nn.Module) -> None:
    with pytest.raises(NotLoadableError, match=r"do not fit torchvision resnet34: 80 missing.*layer1\.2\.conv1"):
        load_model(save(resnet.state_dict()), arch="resnet34")


@pytest.mark.parametrize(
    ("arch", "said"), [("resnet19", "did you mean 'resnet18'"), ("zzzz\x1b", "known are: alexnet")]
)
def test_an_unknown_name(save: Save, arch: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        load_model(save({"a": torch.ones(2)}), arch=arch)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def given(arch: str, **options: Any) -> TorchvisionArchitecture:
    """An architecture, and the weights of a variant of it, which must be recovered from the shapes."""
    architecture = TorchvisionArchitecture(arch)
    wanted = architecture.shapes(**options)
    found = architecture.options(wanted)
    assert {name: found.get(name) for name in options} == options
    assert architecture.shapes(**found) == wanted
    return architecture


@pytest.mark.parametrize("classes", [1, 2, 7, 10, 11, 1000, 21_841])
def test_any_number_of_classes(classes: int) -> None:
    given("resnet18", num_classes=classes)


@pytest.mark.parametrize(
    "arch",
    [
        "squeezenet1_1",
        "mobilenet_v3_small",
        "densenet121",
        "vgg11",
        "swin_t",
        "r3d_18",
        "s3d",
        "maxvit_t",
        "fcn_resnet50",
        "retinanet_resnet50_fpn",
        "fasterrcnn_resnet50_fpn",
        "ssd300_vgg16",
        "regnet_y_400mf",
    ],
)
def test_the_number_of_classes_of_every_kind_of_head(arch: str) -> None:
    given(arch, num_classes=5)


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("options", [{"aux_logits": False}, {}])
def test_auxiliary_heads(arch: str, options: dict[str, Any]) -> None:
    given(arch, num_classes=10, **options)


def test_the_auxiliary_head_of_a_segmentation_model() -> None:
    given("fcn_resnet50", aux_loss=True)


@pytest.mark.parametrize("size", [32, 384])
def test_the_image_size_of_a_vision_transformer(size: int) -> None:
    given("vit_b_16", image_size=size, num_classes=10)


def test_a_model_without_classes() -> None:
    given("raft_small")


def test_versions_that_safetensors_loses(tmp_path: Path) -> None:
    """MNASNet refuses weights without a version."""
    torch.manual_seed(0)
    module = models.mnasnet0_5(weights=None, num_classes=4)
    save_file(module.state_dict(), tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors", arch="mnasnet0_5").missing_keys == ()


def test_old_names_are_converted_by_the_modules_themselves(tmp_path: Path) -> None:
    """The MLP of vision transformers was called linear_1, linear_2 before torchvision 0.14."""
    from torchvision.models.vision_transformer import MLPBlock

    torch.manual_seed(0)
    (tmp_path / "mlp.py").write_text(
        "from torchvision.models.vision_transformer import MLPBlock\ndef build(): return MLPBlock(4, 8, 0.0)\n"
    )
    state = MLPBlock(4, 8, 0.0).state_dict()
    names = {"0.": "linear_1.", "3.": "linear_2."}
    old = {names[name[:2]] + name[2:]: value for name, value in state.items()}
    save_file(old, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors", model_def=f"{tmp_path / 'mlp.py'}:build")
    assert torch.equal(loaded.module.state_dict()["3.weight"], state["3.weight"])
