from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from collapsecheck.errors import UsageError
from collapsecheck.models import load_callable, load_model
from collapsecheck.user_code import user_code


@pytest.fixture
def path(tmp_path: Path, net: nn.Module) -> Path:
    torch.save(net.state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("{file}", "expected FILE_OR_MODULE:CALLABLE"),
        ("{file}:", "expected FILE_OR_MODULE:CALLABLE"),
        (":build", "expected FILE_OR_MODULE:CALLABLE"),
        ("{folder}/nothing.py:build", "there is no file"),
        ("{folder}:build", "there is no file"),
        ("{folder}/model.pt:build", "is not a Python file"),
        ("{file}:buidl", "has no 'buidl'; did you mean 'build'"),
        ("{file}:Net.nothing", "has no 'Net.nothing'"),
        ("{file}:NOT_CALLABLE", "is a int, expected something to call"),
        ("{file}:broken", "failed: ValueError: no such thing"),
        ("{file}:leaves", "failed: SystemExit: 3"),
        ("{file}:wants", "failed: TypeError: wants() missing 1 required positional argument: 'size'"),
        ("{file}:number", "returned a int, expected a torch.nn.Module"),
        ("{file}:meta", "on the meta device"),
        ("no.such.module:build", "ModuleNotFoundError: No module named 'no'"),
        ("json:dumps", "failed: TypeError"),
        ("json:nothing", "has no 'nothing'"),
    ],
)
def test_every_way_to_be_wrong(path: Path, networks: Path, reference: str, said: str) -> None:
    before = list(sys.path)
    with pytest.raises(UsageError) as caught:
        load_model(path, model_def=reference.format(file=networks, folder=networks.parent))
    assert said in str(caught.value)
    assert "--model-def" in str(caught.value)
    assert str(caught.value).isprintable()
    assert sys.path == before


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def (:", "SyntaxError: invalid syntax (bad.py, line 1)"),
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit", "importing"),
        ("raise ValueError('\\x1b[31m')", "ValueError: \\x1b[31m"),
    ],
)
def test_a_file_that_cannot_be_imported(tmp_path: Path, code: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(UsageError) as caught:
        load_callable(f"{tmp_path / 'bad.py'}:build", option="--transform")
    assert said in str(caught.value)
    assert str(caught.value).startswith("--transform ")
    assert "_user_code_bad" not in sys.modules


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_nets.py").write_text("def make(): return 3\n")
    (tmp_path / "nets.py").write_text("from neighbour_of_nets import make\n")
    assert load_callable(f"{tmp_path / 'nets.py'}:make", option="--model-def")() == 3
    assert str(tmp_path) not in sys.path
    del sys.modules["neighbour_of_nets"]


def test_a_file_may_be_called_like_a_standard_module(tmp_path: Path) -> None:
    import types

    (tmp_path / "types.py").write_text("def make(): return 3\n")
    assert load_callable(f"{tmp_path / 'types.py'}:make", option="--model-def")() == 3
    assert sys.modules["types"] is types


def test_a_dotted_module_next_to_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package_of_user"
    package.mkdir()
    (package / "nets.py").write_text("class Factory:\n    @staticmethod\n    def make(): return 3\n")
    monkeypatch.chdir(tmp_path)
    assert load_callable("package_of_user.nets:Factory.make", option="--model-def")() == 3
    for name in ("package_of_user", "package_of_user.nets"):
        del sys.modules[name]


def test_prints_stay_out_of_the_report(
    tmp_path: Path, networks: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loud.py").write_text(
        "print('importing')\nfrom networks import build\ndef loud():\n    print('building')\n    return build()\n"
    )
    load_model(path, model_def=f"{tmp_path / 'loud.py'}:loud")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "importing\nbuilding\n"
    del sys.modules["networks"]


def test_the_path_is_restored_even_if_the_code_cleans_up_itself(networks: Path) -> None:
    before = list(sys.path)
    with user_code(f"{networks}:build"):
        sys.path.remove(str(networks.parent))
    assert sys.path == before


def test_a_class_is_a_callable_too(path: Path, networks: Path) -> None:
    make: Callable[..., Any] = load_callable(f"{networks}:Net", option="--model-def")
    assert isinstance(make(), nn.Module)
    assert load_model(path, model_def=f"{networks}:Net").architecture.name == "networks.py:Net"
