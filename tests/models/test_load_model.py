from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from collapsecheck.errors import NotLoadableError, UsageError
from collapsecheck.models import LoadedModel, expected_input, load_model

Save = Callable[[Any], Path]


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(NotLoadableError) as caught:
        load_model(path, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert message.count(path.name) == 1
    return message


def same(loaded: LoadedModel, module: nn.Module) -> None:
    """The loaded module has the weights and gives the outputs of the original."""
    ours, theirs = loaded.module.state_dict(), module.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if "num_batches" not in name)
    assert not loaded.module.training
    torch.manual_seed(5)
    batch = torch.randn(2, 1, 5, 5)
    assert torch.equal(loaded.module(batch), module.eval()(batch))


@pytest.fixture
def build(networks: Path) -> str:
    return f"{networks}:build"


def test_a_bare_state_dict(save: Save, net: nn.Module, build: str) -> None:
    loaded = load_model(save(net.state_dict()), model_def=build)
    same(loaded, net)
    assert loaded.architecture.name == "networks.py:build"
    assert (loaded.architecture.arch_name, loaded.key, loaded.ignored, loaded.prefixes) == (None, "", (), ())
    assert loaded.missing_keys == loaded.unexpected_keys == loaded.mismatched_keys == ()
    assert loaded.parameters == sum(p.numel() for p in net.parameters())
    assert loaded.checkpoint.format == "torch-zip"


@pytest.mark.parametrize(
    "key",
    ["state_dict", "model_state_dict", "model", "net", "network", "params", "encoder", "weights", "a.b.c"],
)
def test_a_training_checkpoint(save: Save, net: nn.Module, build: str, key: str) -> None:
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 1, 5, 5)).sum().backward()
    optimizer.step()
    content: Any = net.state_dict()
    for part in reversed(key.split(".")):
        content = {part: content}
    content |= {"epoch": 3, "optimizer": optimizer.state_dict(), "loss": torch.tensor(0.5)}
    loaded = load_model(save(content), model_def=build)
    same(loaded, net)
    assert loaded.key == key
    assert set(loaded.ignored) == {"epoch", "optimizer", "loss"}


def test_weights_beside_other_entries(save: Save, net: nn.Module, build: str) -> None:
    loaded = load_model(save({**net.state_dict(), "epoch": 3, "history": {"loss": [1.0]}}), model_def=build)
    same(loaded, net)
    assert (loaded.key, loaded.ignored) == ("", ("epoch", "history"))


def test_the_part_that_fits_best_is_taken(save: Save, net: nn.Module, networks: Path) -> None:
    other = nn.Linear(7, 7).state_dict()
    encoder = net.encoder.state_dict()
    path = save({"model": other, "projector": other, "encoder": encoder})
    loaded = load_model(path, model_def=f"{networks}:encoder")
    assert loaded.key == "encoder"
    assert loaded.ignored == ("model", "projector")


def test_parts_that_belong_together_are_joined(save: Save, net: nn.Module, build: str) -> None:
    parts = {name: part.state_dict() for name, part in net.named_children()}
    loaded = load_model(save({**parts, "epoch": 3}), model_def=build)
    same(loaded, net)
    assert (loaded.key, loaded.ignored) == ("", ("epoch",))


def test_the_student_is_preferred_to_its_equal_teacher(save: Save, net: nn.Module, build: str) -> None:
    path = save({"teacher": net.state_dict(), "student": net.state_dict()})
    assert load_model(path, model_def=build).key == "student"
    assert load_model(path, model_def=build, key="teacher").key == "teacher"


def test_moving_averages_only_when_asked_for(save: Save, net: nn.Module, build: str) -> None:
    path = save({"model": net.state_dict(), "model_ema": net.state_dict()})
    loaded = load_model(path, model_def=build)
    assert (loaded.key, loaded.ignored) == ("model", ("model_ema",))
    assert load_model(path, model_def=build, key="model_ema").key == "model_ema"
    assert "--key state_dict_ema" in refusal(save({"state_dict_ema": net.state_dict()}), model_def=build)


def test_a_key_with_dots_in_its_names(save: Save, net: nn.Module, build: str) -> None:
    loaded = load_model(save({"a": 1, "a.b": {"c": net.state_dict()}}), model_def=build, key="a.b.c")
    same(loaded, net)
    assert loaded.ignored == ("a",)


@pytest.mark.parametrize(
    ("key", "said"),
    [("modl", "no such entry; did you mean 'model'"), ("optimizer", "no weights at this entry"), ("a.b", "no such")],
)
def test_a_wrong_key(save: Save, net: nn.Module, build: str, key: str, said: str) -> None:
    path = save({"model": net.state_dict(), "optimizer": {"lr": 1}})
    with pytest.raises(UsageError, match=said):
        load_model(path, model_def=build, key=key)


@pytest.mark.parametrize(
    ("wrap", "prefixes"),
    [
        ("module.", ("module.",)),
        ("module.module.", ("module.",)),
        ("_orig_mod.", ("_orig_mod.",)),
        ("module._orig_mod.", ("_orig_mod.", "module.")),
        ("_orig_mod.module.", ("_orig_mod.", "module.")),
        ("model._orig_mod.", ("_orig_mod.", "model.")),
        ("model.module.", ("model.module.",)),
        ("_fsdp_wrapped_module.", ("_fsdp_wrapped_module.",)),
        ("backbone.", ("backbone.",)),
        ("a.b.c.", ("a.b.c.",)),
    ],
)
def test_prefixes(save: Save, net: nn.Module, build: str, wrap: str, prefixes: tuple[str, ...]) -> None:
    content = OrderedDict((wrap + name, value) for name, value in net.state_dict().items())
    loaded = load_model(save(content), model_def=build)
    same(loaded, net)
    assert loaded.prefixes == prefixes


def test_wrappers_deep_inside(save: Save, net: nn.Module, build: str) -> None:
    names = {"encoder.": "encoder.module._checkpoint_wrapped_module.", "head.": "_orig_mod.head.module."}
    content = {}
    for name, value in net.state_dict().items():
        before = next(start for start in names if name.startswith(start))
        content[names[before] + name.removeprefix(before)] = value
    same(load_model(save(content), model_def=build), net)


def test_real_data_parallel_and_averaging(save: Save, net: nn.Module, build: str) -> None:
    same(load_model(save(nn.DataParallel(net).state_dict()), model_def=build), net)
    averaged = torch.optim.swa_utils.AveragedModel(net)
    same(load_model(save(averaged.state_dict()), model_def=build), net)


def test_a_prefix_that_the_module_has_itself_is_put_back(save: Save, net: nn.Module, build: str) -> None:
    encoder = net.encoder.state_dict()
    loaded = load_model(save(encoder), model_def=build, allow_partial=True)
    assert loaded.added_prefix == "encoder."
    assert loaded.missing_keys == ("head.weight", "head.bias")
    assert torch.equal(loaded.module.state_dict()["encoder.0.weight"], encoder["0.weight"])


def test_safetensors(tmp_path: Path, net: nn.Module, build: str) -> None:
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    same(load_model(tmp_path / "model.safetensors", model_def=build), net)


def test_half_precision_weights_become_float32(save: Save, net: nn.Module, networks: Path, build: str) -> None:
    path = save(net.half().state_dict())
    for definition in (build, f"{networks}:half"):
        loaded = load_model(path, model_def=definition)
        assert {p.dtype for p in loaded.module.parameters()} == {torch.float32}
        assert torch.equal(loaded.module.state_dict()["head.weight"], net.state_dict()["head.weight"].float())


def test_harmless_keys(save: Save, net: nn.Module, build: str) -> None:
    content = {name: value for name, value in net.state_dict().items() if "num_batches" not in name}
    content |= {"total_ops": torch.zeros(1), "encoder.total_params": torch.zeros(1), "n_averaged": torch.tensor(1)}
    loaded = load_model(save(content), model_def=build)
    same(loaded, net)
    assert loaded.missing_keys == loaded.unexpected_keys == ()


def test_a_wrong_architecture_names_the_first_keys_that_differ(save: Save, net: nn.Module, build: str) -> None:
    content = net.state_dict()
    content["head.weight"] = torch.zeros(7, 4)
    content["head.bias"] = torch.zeros(7)
    del content["encoder.0.bias"]
    content["head.\x1b[2Jscale"] = torch.ones(1)
    message = refusal(save(content), model_def=build)
    assert "1 missing, 1 unexpected and 2 wrongly shaped keys" in message
    assert "head.weight has shape 7×4 in the file and 3×4 in the model" in message
    assert "encoder.0.bias is missing in the file" in message
    assert "head.\\x1b[2Jscale is not in the model" in message
    assert "--allow-partial" in message
    assert "--key" in message


def test_only_five_differing_keys_are_listed(save: Save, build: str) -> None:
    message = refusal(save({f"layer{i}.weight": torch.ones(2) for i in range(50)}), model_def=build)
    assert message.count("is not in the model") + message.count("is missing in the file") == 5
    assert "50 unexpected" in message
    assert "no weight fits networks.py:build" in message


def test_partial_weights_are_listed_and_the_rest_is_loaded(save: Save, net: nn.Module, build: str) -> None:
    content = net.state_dict() | {"head.weight": torch.zeros(7, 4), "scale": torch.ones(1)}
    del content["head.bias"]
    loaded = load_model(save(content), model_def=build, allow_partial=True)
    assert loaded.missing_keys == ("head.bias",)
    assert loaded.unexpected_keys == ("scale",)
    assert loaded.mismatched_keys == ("head.weight",)
    assert torch.equal(loaded.module.state_dict()["encoder.0.weight"], content["encoder.0.weight"])


def test_what_partial_weights_leave_out_is_the_same_every_time(save: Save, net: nn.Module, build: str) -> None:
    path = save(net.encoder.state_dict())
    before = torch.get_rng_state()
    heads = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        heads.append(load_model(path, model_def=build, allow_partial=True).module.state_dict()["head.weight"])
    assert torch.equal(*heads)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    load_model(path, model_def=build, allow_partial=True)
    assert torch.equal(torch.get_rng_state(), state)  # the user's own random numbers are left alone
    torch.set_rng_state(before)


def test_nothing_that_fits_is_refused_even_if_partial_is_allowed(save: Save, build: str) -> None:
    path = save({"model": {"a.weight": torch.ones(2)}, "b": {"b.weight": torch.ones(3)}})
    message = refusal(path, model_def=build, allow_partial=True)
    assert "no weight fits" in message
    assert "another part of the file (b" in message


def test_weights_without_architecture_say_which_options_help(save: Save, net: nn.Module) -> None:
    message = refusal(save({"model": net.state_dict(), "epoch": 1}))
    assert "holds weights but no architecture, and they fit none that is known (encoder.0.weight 4×1×3×3" in message
    assert "--model-def FILE:CALLABLE or --arch NAME" in message


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"a": {"b": [1]}}, {"ids": torch.ones(2, dtype=torch.int64)}])
def test_a_checkpoint_without_weights(save: Save, build: str, content: Any) -> None:
    assert "holds no weights" in refusal(save(content), model_def=build)


def test_a_checkpoint_that_holds_itself(save: Save, net: nn.Module, build: str) -> None:
    content: dict[str, Any] = {"model": net.state_dict()}
    content["again"] = {"inner": content, **{f"copy{i}": content for i in range(200)}}
    same(load_model(save(content), model_def=build), net)


def test_both_options_and_no_file(save: Save, net: nn.Module, build: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both given"):
        load_model(save(net.state_dict()), model_def=build, arch="resnet18")
    with pytest.raises(UsageError, match="no such file"):
        load_model(tmp_path / "none.pt", model_def=build)


def test_a_text_file_called_model(tmp_path: Path, build: str) -> None:
    (tmp_path / "model.pt").write_text("hello")
    assert "a text file" in refusal(tmp_path / "model.pt", model_def=build)


def test_a_module_that_refuses_its_weights(tmp_path: Path, save: Save) -> None:
    (tmp_path / "picky.py").write_text(
        "from torch import nn\n"
        "class Picky(nn.Linear):\n"
        "    def __init__(self): super().__init__(2, 2)\n"
        "    def _load_from_state_dict(self, *args): raise ValueError('version 3 wanted')\n"
    )
    path = save(nn.Linear(2, 2).state_dict())
    message = refusal(path, model_def=f"{tmp_path / 'picky.py'}:Picky")
    assert "the model refused the weights: ValueError: version 3 wanted" in message


def test_a_lazy_module_takes_the_shapes_of_the_weights(tmp_path: Path, save: Save) -> None:
    (tmp_path / "lazy.py").write_text("from torch import nn\nbuild = lambda: nn.LazyLinear(3)\n")
    loaded = load_model(save(nn.Linear(5, 3).state_dict()), model_def=f"{tmp_path / 'lazy.py'}:build")
    assert loaded.module(torch.ones(1, 5)).shape == (1, 3)
    assert loaded.parameters == 18


@pytest.mark.parametrize(
    ("module", "channels", "token_ids"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 4, 3)), 1, False),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), None, False),
        (nn.Sequential(nn.Dropout(), nn.Embedding(9, 4), nn.Linear(4, 2)), None, True),
        (nn.Sequential(nn.Linear(4, 2), nn.Embedding(9, 4)), None, False),
        (nn.Sequential(nn.Sequential(), nn.EmbeddingBag(9, 4)), None, True),
        (nn.Sequential(nn.LazyConv2d(4, 3)), None, False),
        (nn.Identity(), None, False),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_expected_input(
    module: nn.Module, channels: int | None, token_ids: bool, loaded: Callable[[nn.Module], LoadedModel]
) -> None:
    found = expected_input(loaded(module))
    assert (found.channels, found.token_ids, found.arch_name) == (channels, token_ids, None)
