from __future__ import annotations

import pytest

from collapsecheck.checkpoints.inert.names import refuse_attacks, unknown_classes
from collapsecheck.errors import NotLoadableError


@pytest.mark.parametrize(
    "name",
    [
        "os.system", "posix.system", "nt.system", "subprocess.Popen", "sys.modules", "socket.socket", "runpy.run_path",
        "pty.spawn", "ctypes.CDLL", "shutil.rmtree", "importlib.import_module", "builtins.eval", "builtins.exec",
        "builtins.compile", "builtins.open", "builtins.__import__", "builtins.setattr", "io.open", "timeit.timeit",
        "torch.utils.collect_env.run", "multiprocessing.util.spawnv_passfds", "torch.serialization.os.system",
        "numpy.core.os.popen",
    ],
)  # fmt: skip
def test_names_that_could_only_be_an_attack(name: str) -> None:
    with pytest.raises(NotLoadableError, match="which could only be an attack") as caught:
        refuse_attacks(["collections.OrderedDict", name])
    assert name in str(caught.value)
    assert "OrderedDict" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "builtins.dict", "builtins.print", "builtins.getattr", "builtins.range", "builtins.slice", "functools.partial",
        "operator.itemgetter", "types.FunctionType", "posixpath.join", "ossaudio.Net", "code.model.Net", "trace.Net",
        "models.os.Net", "project.sys.run_model", "torch.nn.modules.linear.Linear", "pickle.loads", "torch.load",
        "os.stat_result", "mymodels.subprocess.Runner",
    ],
)  # fmt: skip
def test_names_of_honest_files(name: str) -> None:
    refuse_attacks([name])


def test_all_attacks_are_listed_up_to_a_few() -> None:
    with pytest.raises(NotLoadableError, match=r"os\.f0, os\.f1, os\.f2, os\.f3, os\.f4 and 95 more"):
        refuse_attacks([f"os.f{i}" for i in range(100)])


def test_unknown_classes_are_listed_and_known_ones_are_not() -> None:
    known = ["torch.float32", "torch.FloatStorage", "torch.cuda.HalfStorage", "torch._utils._rebuild_tensor_v2"]
    assert unknown_classes([*known, "collections.OrderedDict", "a.B"], {"a.B"}) == ()
    (note,) = unknown_classes([*known, "a.B", "c.\x1b[2JD"], set())
    assert note.names == ("a.B", "c.\x1b[2JD")
    assert "a.B, c.\\x1b[2JD" in note.message
