from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from .conftest import Call, Ended

SCHEMA: dict[str, Any] = json.loads(
    files("collapsecheck.reports").joinpath("inspect-schema-v1.json").read_text("utf-8")
)


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.randn(4, 3, 8, 8)).square().mean().backward()
    optimizer.step()
    return model, optimizer


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """As a training script leaves it, in the folder that the test stands in."""
    model, optimizer = trained()
    weights = {f"module.{name}": value for name, value in model.state_dict().items()}
    content = {
        "state_dict": weights,
        "ema_state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
        "global_step": 1200,
        "args": argparse.Namespace(lr=1e-3, data=Path("pictures")),
        "note": "a run",
    }
    torch.save(content, tmp_path / "model.pt")
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net():\n"
        "    first = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()\n"
        "    return nn.Sequential(*first, nn.Linear(144, 7), nn.Linear(7, 2))"
    )
    return Path("model.pt")


def as_json(call: Call, *arguments: object) -> Any:
    found = call("inspect", *arguments, "--format", "json")
    assert (found.code, found.err) == (0, "")
    jsonschema.validate(found.json, SCHEMA, jsonschema.Draft202012Validator)
    return found.json


def lines_of(found: Ended, first: str) -> list[str]:
    """The part of the text that begins with this heading."""
    after = found.out[found.out.index(first) :]
    return after.split("\n\n")[0].splitlines()


# ---- text


def test_every_entry_is_there_with_what_a_scan_would_do(call: Call, checkpoint: Path) -> None:
    found = call("inspect", checkpoint)
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("model.pt\ntorch-zip, ")
    uses = {line.split()[0]: line for line in lines_of(found, "What is in the file")[2:]}
    assert uses["state_dict"].endswith("chosen")
    assert "moving average: --key" in uses["ema_state_dict"]
    assert "optimiser: 18 tensors" in uses["optimizer"] and uses["optimizer"].endswith("training state")
    assert "number 3" in uses["epoch"] and "training state" in uses["epoch"]
    assert "text a run" in uses["note"] and uses["note"].endswith("ignored")


def test_layers_and_counts(call: Call, checkpoint: Path) -> None:
    lines = lines_of(call("inspect", checkpoint), "Layers")
    assert lines[0] == "Layers at state_dict: 845 parameters in 9 tensors (8 float32, 1 int64)"
    assert [line.split() for line in lines[2:]] == [
        ["module.0", "112", "weight", "4×3×3×3,", "bias", "4"],
        ["module.1", "8", "weight,", "bias,", "running_mean,", "running_var", "4"],
        ["module.3", "725", "weight", "5×144,", "bias", "5"],
    ]


def test_traces_of_training(call: Call, checkpoint: Path) -> None:
    text = "\n".join(lines_of(call("inspect", checkpoint), "Traces of training"))
    assert "progress    epoch 3, step 1,200" in text
    assert "AdamW at optimizer: 1 group, 6 parameters, 1 step" in text
    assert "lr 0.001, betas 0.9 0.999, weight_decay 0.01, eps 1e-08" in text
    assert "batch norm  1 layer, batches seen: 1" in text
    assert "args        lr 0.001, data pictures" in text


@pytest.mark.parametrize(("most", "shown", "rest"), [("1", 1, "and 2 more layers"), ("all", 3, ""), ("0", 0, "and 3")])
def test_the_number_of_layers(call: Call, checkpoint: Path, most: str, shown: int, rest: str) -> None:
    lines = lines_of(call("inspect", checkpoint, "--layers", most), "Layers")
    assert sum(line.startswith("module.") for line in lines) == shown
    assert rest in lines[-1]


def test_it_fits_80_columns_and_has_no_color(call: Call, checkpoint: Path) -> None:
    found = call("inspect", checkpoint, "--moments", "--sha256", "--model-def", "net.py:net")
    assert found.code == 0 and "\x1b" not in found.out
    assert max(map(len, found.out.splitlines())) <= 80


def test_moments_on_request(call: Call, checkpoint: Path) -> None:
    assert "Moments of" not in call("inspect", checkpoint).out
    lines = lines_of(call("inspect", checkpoint, "--moments"), "Moments of AdamW")
    assert "3.weight" not in lines[0] and any(line.startswith("module.3.weight ") for line in lines)


def test_a_whole_module(call: Call, tmp_path: Path) -> None:
    torch.save(trained()[0], tmp_path / "whole.pt")
    found = call("inspect", "whole.pt")
    assert found.code == 0 and "chosen: the whole model" in found.out
    assert "Conv2d: weight 4×3×3×3, bias 4" in found.out


def test_what_training_left_untouched(call: Call, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    optimizer = torch.optim.Adam(model.parameters())
    (model[0](torch.ones(1, 3)).sum() * 0).backward()
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "left.pt")
    found = call("inspect", "left.pt", "--moments")
    assert "1 never updated (mean exactly 0, variance exactly 1): 1" in found.out
    assert "4 never had a gradient: 1.weight, 1.bias, 2.weight, 2.bias" in found.out
    assert "2 had gradients that were exactly zero, always: 0.weight, 0.bias" in found.out


# ---- the model


def test_the_weights_are_held_against_the_model_that_is_asked_for(call: Call, checkpoint: Path) -> None:
    facts = as_json(call, checkpoint, "--model-def", "net.py:net")["architecture"]
    assert (facts["name"], facts["asked"]) == ("net.py:net", True)
    assert facts["missing_keys"] == ["4.weight", "4.bias"]
    assert facts["mismatched_keys"] == ["3.weight", "3.bias"]
    assert facts["unexpected_keys"] == []
    text = call("inspect", checkpoint, "--model-def", "net.py:net").out
    assert "2 missing in the file: 4.weight, 4.bias" in text and "2 of another shape: 3.weight, 3.bias" in text
    assert "module. is taken off the names" in text


def test_the_same_against_a_model_of_torchvision(call: Call, tmp_path: Path) -> None:
    from torchvision.models import resnet18

    save_file(resnet18(num_classes=7).state_dict(), tmp_path / "r.safetensors")
    found = as_json(call, "r.safetensors", "--arch", "resnet18")
    assert found["architecture"]["name"] == "torchvision resnet18"
    assert not found["architecture"]["missing_keys"] and not found["architecture"]["mismatched_keys"]
    assert found["weights"]["parameters"] == sum(p.numel() for p in resnet18(num_classes=7).parameters())
    assert found["layers"][0]["kind"] == "Conv2d"
    assert all(one["never_updated"] for one in found["training"]["running_statistics"])


def test_without_architecture_none_is_told(call: Call, checkpoint: Path) -> None:
    assert as_json(call, checkpoint, "--no-architecture")["architecture"] is None
    assert "Architecture" not in call("inspect", checkpoint, "--no-architecture").out


@pytest.mark.parametrize("write", ["torch", "legacy", "safetensors"])
def test_then_torch_is_not_imported(tmp_path: Path, write: str) -> None:
    weights = trained()[0].state_dict()
    path = tmp_path / "model"
    if write == "safetensors":
        save_file(weights, path)
    else:
        torch.save({"model": weights, "epoch": 1}, path, _use_new_zipfile_serialization=write == "torch")
    code = (
        "import sys; from collapsecheck.cli.entry import run; "
        "assert run(['inspect', sys.argv[1], '--no-architecture']) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True)


def test_a_large_file_is_not_read(call: Call, tmp_path: Path) -> None:
    """A hole of 64 GB: reading it would take minutes."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1 << 34], "data_offsets": [0, 1 << 36]}}).encode()
    with (tmp_path / "large.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        try:
            file.truncate(8 + len(header) + (1 << 36))
        except OSError:
            pytest.skip("this file system has no holes")
    found = as_json(call, "large.safetensors", "--no-architecture")
    assert found["weights"]["parameters"] == 1 << 34 and found["file"]["bytes"] > 1 << 36


# ---- json


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_everything_is_in_the_json(call: Call, checkpoint: Path) -> None:
    import hashlib

    found = as_json(call, checkpoint, "--moments", "--sha256", "--model-def", "net.py:net")
    assert found["file"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert {one["key"]: one["use"] for one in found["entries"]} == {
        "state_dict": "chosen", "ema_state_dict": "moving-average", "optimizer": "training-state",
        "epoch": "training-state", "global_step": "training-state", "args": "training-state", "note": "ignored",
    }  # fmt: skip
    assert found["training"]["averaged"] == ["ema_state_dict"]
    assert found["training"]["optimisers"][0]["groups"][0]["settings"]["lr"] == 1e-3
    assert len(found["training"]["moments"][0]) == 6
    assert found["weights"]["prefixes"] == ["module."]


def test_a_file_holds_it_and_stdout_nothing(call: Call, checkpoint: Path, tmp_path: Path) -> None:
    found = call("inspect", checkpoint, "--format", "json", "--output", "found.json")
    assert (found.code, found.out, found.err) == (0, "", "")
    jsonschema.validate(json.loads((tmp_path / "found.json").read_text()), SCHEMA)


# ---- other keys, and none


def test_a_key_chooses(call: Call, checkpoint: Path) -> None:
    found = as_json(call, checkpoint, "--key", "ema_state_dict")
    assert found["weights"]["key"] == "ema_state_dict"
    assert {one["key"] for one in found["entries"] if one["use"] == "chosen"} == {"ema_state_dict"}


def test_an_optimiser_alone_has_no_weights_but_is_shown(call: Call, tmp_path: Path) -> None:
    torch.save(trained()[1].state_dict(), tmp_path / "optimizer.pt")
    found = call("inspect", "optimizer.pt")
    assert found.code == 0
    assert "No weights to use: " in found.out and "AdamW: 1 group, 6 parameters, 1 step" in found.out
    assert as_json(call, "optimizer.pt")["weights"] is None


# ---- wrong usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.pt"], "missing.pt: no such file or folder"),
        ([], "Missing argument 'MODEL'"),
        (["model.pt", "--format", "xml"], "unknown format 'xml'; known are: json, text"),
        (["model.pt", "--layers", "few"], "--layers takes a whole number or all, not 'few'"),
        (["model.pt", "--layers", "-1"], "--layers"),
        (["model.pt", "--key", "statedict"], "did you mean 'state_dict'?"),
        (["model.pt", "--arch", "resnet19"], "torchvision has no such model; did you mean"),
        (["model.pt", "--arch", "resnet18", "--model-def", "net.py:net"], "are both given"),
        (["model.pt", "--no-architecture", "--arch", "resnet18"], "--no-architecture leaves nothing"),
        (["model.pt", "--output", "nowhere/x.txt"], "the folder nowhere does not exist"),
    ],
)
def test_wrong_usage(call: Call, checkpoint: Path, arguments: list[str], message: str) -> None:
    found = call("inspect", *arguments)
    assert (found.code, found.out) == (2, "")
    assert message in found.err and found.err.count("\n") == 1


# ---- hostile


class Touch:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_an_attack_is_refused_and_does_nothing(call: Call, tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "ran"
    content = {"w": torch.ones(2), "x": Touch(marker)}
    torch.save(content, tmp_path / "evil.pt", _use_new_zipfile_serialization=zipped)
    found = call("inspect", "evil.pt")
    assert (found.code, found.out) == (3, "") and "evil.pt: " in found.err and "system" in found.err
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02.", b"version https://git-lfs", b"\xff" * 100])
def test_what_is_no_checkpoint_is_refused(call: Call, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    found = call("inspect", "model.pt")
    assert (found.code, found.out) == (3, "") and found.err.count("\n") == 1


NAMES = ["\x1b[31mred", "[bold]x[/bold]", "[/red]", "a\nnote: forged", "nul\0", "\u202eabc", "x" * 100_000, "", "a..b"]


def test_names_cannot_forge_anything(call: Call, tmp_path: Path) -> None:
    weights = {f"{name}.weight": torch.ones(2, 2) for name in NAMES}
    content = {"state_dict": weights, "hyper_parameters": dict.fromkeys(NAMES, "[red]\x1b[31m")} | dict.fromkeys(
        NAMES, 1
    )
    torch.save(content, tmp_path / "names.pt")
    found = call("inspect", "names.pt", "--layers", "all")
    assert found.code == 0 and len(found.out) < 50_000
    assert all(character.isprintable() or character == "\n" for character in found.out)
    assert not any(line.startswith("note: forged") for line in found.out.splitlines())
    assert "[bold]x[/bold]" in found.out and "\\x1b[31mred" in found.out
    keys = {one["key"] for one in as_json(call, "names.pt")["entries"]}
    assert set(NAMES) <= keys


def test_keys_that_are_no_text(call: Call, tmp_path: Path) -> None:
    content = {"model": {"w": torch.ones(2, 2)}, 3: 1, None: 2, True: 3, 0.5: 4, 10**100: 5}
    torch.save(content, tmp_path / "keys.pt")
    found = call("inspect", "keys.pt")
    assert (found.code, found.err) == (0, "")
    keys = [one["key"] for one in as_json(call, "keys.pt")["entries"]]
    assert keys[:5] == ["model", "3", "None", "True", "0.5"] and all(len(key) < 200 for key in keys)


def test_many_entries_are_cut(call: Call, tmp_path: Path) -> None:
    content = {"model": {"w": torch.ones(2, 2)}} | {f"entry{i}": i for i in range(5000)}
    torch.save(content, tmp_path / "many.pt")
    found = call("inspect", "many.pt")
    assert "and 4,961 more entries (--format json)" in found.out and found.out.count("\n") < 80
