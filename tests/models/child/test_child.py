"""A model whose code has to run, in a real child process: it gives the same numbers, and its misdeeds end with it."""

from __future__ import annotations

import contextlib
import copy
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from collapsecheck.errors import NotLoadableError, NotMeasuredError
from collapsecheck.models import LoadedModel, choose_readout, load_model
from collapsecheck.models.child import ChildModule

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the child's limits are those of Linux and macOS")

# What an author has in a package of theirs; the first number of a batch says what the model does.
OWN = """
import os, sys, time
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 6)
    def forward(self, x):
        return torch.tanh(self.linear(x))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block()
        self.norm = nn.BatchNorm1d(6)
    def forward(self, x):
        deed = DEEDS.get(int(x[0, 0]))
        if deed is not None:
            deed(x)
        return {"embedding": self.norm(self.block(x)), "length": len(x)}

def prints(x):
    print("on stdout"); print("on stderr", file=sys.stderr)
    os.write(1, b"by its number\\n" * 100000)

def environment(x):
    raise ValueError(" ".join(sorted(os.environ)))

def network(x):
    import socket
    socket.create_connection(("127.0.0.1", 9), timeout=2)

def writes(x):
    with open("big", "wb") as file:
        file.write(bytes(65 << 20))

def forges(x):
    for number in range(3, 20):  # whichever descriptor leads to the parent
        try:
            os.write(number, b"\\x10\\0\\0\\0{\\"kind\\": \\"output\\"")
        except OSError:
            pass

def sleeps(x):
    time.sleep(60)

def forks(x):
    if os.fork() == 0:
        time.sleep(60)
    os._exit(3)

DEEDS = {
    100: prints, 101: environment, 102: network, 103: writes, 104: lambda x: [][1],
    105: lambda x: torch.zeros(1 << 50), 106: lambda x: sys.exit(0),
    200: forges, 201: sleeps, 202: forks, 203: lambda x: os.kill(os.getpid(), 9),
}
"""


SECRETS = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "CUDA_API_KEY", "GITHUB_TOKEN", "PYTHONSTARTUP", "MY_VARIABLE")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of torch.save with a module of the author's, whose package is where the user stands."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_package.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        import own_package  # type: ignore[import-not-found]

        torch.manual_seed(0)
        torch.save({"epoch": 3, "model": own_package.Net()}, folder / "model.pt")
        yield folder / "model.pt"
        del sys.modules["own_package"]


def open_model(path: Path) -> LoadedModel:
    found = load_model(path, trust_checkpoint=True)
    assert isinstance(found.module, ChildModule)
    return found


@pytest.fixture(scope="module")
def loaded(own: Path) -> Iterator[LoadedModel]:
    """One child for all tests that leave it alive: each takes seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        for name in SECRETS:
            patch.setenv(name, "secret")
        found = open_model(own)
    yield found
    found.module.close()


def alive_in_group(group: int) -> list[str]:
    """Processes of a group but for those that are dead and not yet collected (Linux; elsewhere none is seen)."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of = file.read_text().rpartition(")")[2].split()[:3]
            found += [file.parent.name] if int(of) == group and state not in "ZX" else []
    return found


def deed(number: int) -> torch.Tensor:
    return torch.cat([torch.full((1, 4), float(number)), torch.zeros(2, 4)])


def test_nothing_runs_without_the_word(own: Path) -> None:
    with pytest.raises(NotLoadableError, match="--trust-checkpoint"):
        load_model(own)


def test_it_gives_the_same_and_its_layers_are_heard(own: Path, loaded: LoadedModel) -> None:
    original = torch.load(own, weights_only=False)["model"].eval()
    x = torch.randn(7, 4)
    with torch.inference_mode():
        expected = original(x)
        heard: list[tuple[str, torch.Tensor]] = []
        handles = [
            part.register_forward_hook(lambda _, __, output, name=name: heard.append((name, output)))
            for name, part in loaded.module.named_modules()
            if name
        ]
        got = loaded.module(x)
        for handle in handles:
            handle.remove()
    assert torch.equal(got["embedding"], expected["embedding"]) and got["length"] == 7
    assert [name for name, _ in heard] == ["block.linear", "block", "norm"]
    assert torch.equal(heard[1][1], original.block(x)) and torch.equal(heard[2][1], expected["embedding"])
    assert [type(part).__name__ for part in loaded.module.modules()] == [
        "ChildModule",
        "Block",
        "Linear",
        "BatchNorm1d",
    ]
    assert loaded.architecture.trust == "code" and loaded.parameters == 4 * 6 + 6 + 12
    assert "in a child process (" in loaded.architecture.reason
    readout = choose_readout(loaded, "block")
    with readout.attached(), torch.inference_mode():
        assert torch.equal(readout(x), original.block(x))


def test_misdeeds_that_it_survives(loaded: LoadedModel) -> None:
    """Each is an error of the model's, in its own words; the next batch runs as if nothing had been."""
    model = loaded.module
    with torch.inference_mode():
        before = model(torch.ones(2, 4))["embedding"]
        assert model(deed(100))["embedding"].shape == (3, 6)
        with pytest.raises(IndexError, match="list index out of range"):
            model(deed(104))
        with pytest.raises(MemoryError, match="out of memory in the child process"):
            model(deed(105))
        with pytest.raises(RuntimeError, match="SystemExit"):
            model(deed(106))
        with pytest.raises(RuntimeError, match=r"OSError|File too large"):
            model(deed(103))
        if "no network" in loaded.architecture.reason:
            with pytest.raises(RuntimeError, match="Network is unreachable"):
                model(deed(102))
        assert torch.equal(model(torch.ones(2, 4))["embedding"], before)


def test_it_gets_no_secrets(loaded: LoadedModel) -> None:
    with pytest.raises(ValueError, match="PATH") as caught:
        loaded.module(deed(101))
    assert not set(SECRETS) & set(str(caught.value).split())


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (200, "which no model does; the child was ended"),
        (201, "did not answer within 1 s"),
        (202, "left its child process with exit code 3"),
        pytest.param(203, "was killed in its child process (SIGKILL", marks=pytest.mark.long),
    ],
    ids=["forged answer", "endless", "exit that leaves a process", "killed"],
)
def test_misdeeds_that_end_it(own: Path, number: int, said: str) -> None:
    model = open_model(own).module
    assert isinstance(model, ChildModule)
    model.seconds = 1.0 if number == 201 else 60.0
    process = model._session.connection._process
    with torch.inference_mode():
        with pytest.raises(NotMeasuredError) as caught:
            model(deed(number))
        assert said in str(caught.value) and str(caught.value).isprintable()
        with pytest.raises(NotMeasuredError):  # and stays ended
            model(torch.ones(2, 4))
    assert process.poll() is not None
    for _ in range(100):  # what was killed takes a moment to go
        if not alive_in_group(process.pid):
            return
        time.sleep(0.1)
    raise AssertionError(f"still there: {alive_in_group(process.pid)}")


def test_its_weights_cannot_be_changed_from_here(loaded: LoadedModel) -> None:
    copied = copy.deepcopy(loaded.module)
    copied.block = nn.Linear(4, 6)
    with pytest.raises(NotMeasuredError, match="cannot be changed from outside"):
        copied(torch.ones(2, 4))
    assert loaded.module(torch.ones(2, 4))["length"] == 2


def test_code_that_fails_while_it_is_loaded(own: Path) -> None:
    honest = (own.parent / "own_package.py").read_text()
    (own.parent / "own_package.py").write_text("raise ValueError('\\x1b[2J no such thing')")
    try:
        with pytest.raises(NotLoadableError, match="loading it in a child process failed: ValueError") as caught:
            load_model(own, trust_checkpoint=True)
    finally:
        (own.parent / "own_package.py").write_text(honest)
    assert str(caught.value).isprintable()


def test_a_class_of_a_script_is_named(own: Path, tmp_path: Path) -> None:
    import own_package

    own_package.Net.__module__ = "__main__"  # only until it is saved
    sys.modules["__main__"].Net = own_package.Net  # type: ignore[attr-defined]
    try:
        torch.save(own_package.Net(), tmp_path / "script.pt")
    finally:
        del sys.modules["__main__"].Net  # type: ignore[attr-defined]
        own_package.Net.__module__ = "own_package"
    with pytest.raises(NotLoadableError, match=r"__main__\.Net is one of the script that saved the model"):
        load_model(tmp_path / "script.pt", trust_checkpoint=True)


class Scriptable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3))


def saved(path: Path, kind: str, module: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "torchscript":
            torch.jit.save(torch.jit.script(module), path)
        elif kind == "fixed":
            torch.export.save(torch.export.export(module, (torch.ones(3, 3, 8, 8),)), path)
        else:
            rows = torch.export.Dim("rows", min=2, max=64)
            program = torch.export.export(module, (torch.ones(3, 3, 8, 8),), dynamic_shapes=({0: rows},))
            torch.export.save(program, path)


@pytest.mark.parametrize("kind", ["torchscript", "fixed", pytest.param("dynamic", marks=pytest.mark.long)])
def test_graphs_run_with_any_number_of_items(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    module = Scriptable().eval()
    saved(tmp_path / "model.pt2", kind, module)
    with pytest.raises(NotLoadableError, match="the model is code"):
        load_model(tmp_path / "model.pt2")
    loaded = load_model(tmp_path / "model.pt2", trust_checkpoint=True)
    with torch.inference_mode():
        for items in (7, 3, 1):
            x = torch.randn(items, 3, 8, 8)
            torch.testing.assert_close(loaded.module(x), module(x), rtol=1e-5, atol=1e-6)
    assert any("takes 3 at once" in one for one in loaded.architecture.assumed) == (kind == "fixed")
    assert isinstance(loaded.module, ChildModule)
    loaded.module.close()
