"""`collapsecheck scan` from end to end, and every kind of bad input."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from .conftest import Call, Ended


def finding(report: Any, check: str) -> Any:
    (found,) = [one for one in report["findings"] if one["check"] == check]
    return found


def one_error(found: Ended, code: int, *words: str) -> None:
    """The command ended with this code, and with one line on stderr that says these words."""
    assert (found.code, found.out) == (code, ""), found.err
    lines = found.err.splitlines()
    assert [line for line in lines if line.startswith("collapsecheck: ")] == lines[-1:], found.err
    assert "Traceback" not in found.err
    for word in words:
        assert word in lines[-1]


# ---- it works


def test_a_healthy_model(scan: Call, arena: Path) -> None:
    found = scan("--format", "json")
    assert (found.code, found.err) == (0, "")
    report = found.json
    assert report["verdict"]["status"] == "healthy"
    assert report["model"]["path"] == str(arena / "healthy.pt")
    assert report["model"]["format"] == "torch-zip" and report["model"]["trust"] == "data-only"
    assert (report["model"]["parameters"], report["model"]["embedding_dim"]) == (144, 16)
    assert (report["data"]["seen"], report["data"]["used"], report["data"]["labels"]) == (200, 200, None)
    assert report["run"]["device"] == "cpu" and report["run"]["seed"] == 0
    assert scan().out.startswith("HEALTHY\n")


def test_a_model_on_which_cosine_is_always_one(scan: Call) -> None:
    found = scan(model="one.pt")
    assert found.code == 1
    assert found.out.startswith("COLLAPSED (complete)\nEvery input gets practically the same embedding")
    assert "(exit code 1)" in found.out
    assert scan("--fail-on", "never", model="one.pt").code == 0


def test_a_folder_of_images_with_classes(scan: Call) -> None:
    found = scan("--format", "json", model="pictures.pt", data="images", build="Pictures")
    assert (found.code, found.err) == (0, "")
    data = found.json["data"]
    assert (data["kind"], data["seen"], data["used"], data["labels"]) == ("image-folder", 40, 40, 2)
    assert "at native size" in data["transform"]
    assert finding(found.json, "class-structure")["outcome"] != "skipped"


def test_a_torchvision_model(call: Call, arena: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = {f"module.{name}": tensor for name, tensor in resnet18(num_classes=5).state_dict().items()}
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "resnet.pt")
    found = call(
        "scan", "resnet.pt", arena / "images", "--arch", "resnet18", "--size", "32", "--workers", "0",
        "--max-samples", "20", "--format", "json",
    )  # fmt: skip
    assert found.code in (0, 1), found.err
    model = found.json["model"]
    assert (model["embedding_dim"], model["ignored_keys"]) == (512, ["epoch"])
    assert "fc" in f"{model['embedding_layer']} {model['embedding_reason']}"
    assert found.json["data"]["used"] == 20


def test_partial_loading_is_never_silent(scan: Call) -> None:
    one_error(scan(model="partial.pt"), 3, "partial.pt", "0.bias is missing", "--allow-partial")
    found = scan("--allow-partial", "--format", "json", model="partial.pt")
    assert found.json["model"]["missing_keys"] == ["0.bias"]
    assert finding(found.json, "loaded-weights")["level"] == "warning"
    assert found.json["verdict"]["status"] == "degraded"
    assert "0.bias" in scan("--allow-partial", model="partial.pt").out


def test_rows_that_are_not_finite_fail_the_gate_and_are_listed(scan: Call, arena: Path) -> None:
    found = scan("--format", "json", build="undefined")
    rows = np.flatnonzero(np.load(arena / "x.npy")[:, 0] > 1)
    assert found.code == 1 and found.json["verdict"]["kind"] == "non-finite"
    listed = finding(found.json, "non-finite")["evidence"]["rows"]
    assert listed == rows[: len(listed)].tolist() and listed
    assert found.json["metrics"]["rows"]["value"] == 200 - len(rows)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_samples_are_too_few(scan: Call, arena: Path, tmp_path: Path, count: int) -> None:
    np.save("few.npy", np.load(arena / "x.npy")[:count])
    found = scan("--format", "json", data=tmp_path / "few.npy")
    assert (found.code, found.json["verdict"]["status"]) == (4, "inconclusive")


# ---- paths and data


def test_paths_that_do_not_exist(scan: Call) -> None:
    one_error(scan(model="missing.pt"), 2, "missing.pt: no such file")
    one_error(scan(data="missing"), 2, "missing: no such file or folder")
    one_error(scan(build="missing"), 2, "has no 'missing'")


def test_an_empty_folder(scan: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    one_error(scan(data=tmp_path / "empty"), 4, "empty: the folder is empty", "expected")


def test_a_folder_without_data(scan: Call, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.rst").write_text("x")
    one_error(scan(data=tmp_path / "notes"), 4, "no data that can be read")


def test_data_that_do_not_fit_the_model(scan: Call, tmp_path: Path) -> None:
    np.save("wide.npy", np.zeros((20, 9), np.float32))
    one_error(scan(data=tmp_path / "wide.npy"), 4, "the model failed on a batch of shape [20, 9]")


@pytest.fixture
def damaged(arena: Path, tmp_path: Path) -> Path:
    """The images, and among them an empty and a corrupt one."""
    folder = tmp_path / "damaged"
    shutil.copytree(arena / "images", folder)
    (folder / "cat" / "empty.png").write_bytes(b"")
    (folder / "dog" / "\x1b[31mcorrupt\n.png").write_bytes((folder / "dog" / "00.png").read_bytes()[:40])
    return folder


def test_unreadable_images_are_skipped_counted_and_fail_the_gate(scan: Call, damaged: Path) -> None:
    pictures = {"model": "pictures.pt", "data": damaged, "build": "Pictures"}
    found = scan("--format", "json", **pictures)
    assert found.code == 1
    assert (found.json["data"]["seen"], found.json["data"]["used"], found.json["data"]["unreadable"]) == (42, 40, 2)
    evidence = finding(found.json, "readable-data")["evidence"]
    assert evidence["count"] == 2 and "empty.png" in evidence["items"][0]
    text = scan(**pictures).out
    assert "2 items could not be read and were skipped" in text and "FAIL: 2 of 42 items could not be read" in text
    assert "\x1b" not in text
    found = scan("--max-unreadable", "0.1", "--format", "json", **pictures)
    assert found.code == 0 and finding(found.json, "readable-data")["level"] == "note"


def test_not_a_single_image_can_be_read(scan: Call, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "bad" / name).write_bytes(b"")
    one_error(scan(model="pictures.pt", data=tmp_path / "bad", build="Pictures"), 4, "not one of 2 items can be read")


# ---- checkpoints


def test_a_text_file(scan: Call, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("these are no weights\n")
    one_error(scan(model=tmp_path / "model.pt"), 3, "model.pt: ")


def test_a_truncated_zip(scan: Call, arena: Path, tmp_path: Path) -> None:
    content = (arena / "healthy.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: len(content) // 2])
    one_error(scan(model=tmp_path / "cut.pt"), 3, "cut.pt: ")


def test_an_empty_file(scan: Call, tmp_path: Path) -> None:
    (tmp_path / "empty.pt").write_bytes(b"")
    one_error(scan(model=tmp_path / "empty.pt"), 3, "empty.pt: ")


class Touch:
    """Unpickling this makes a file: the proof that something ran."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("kind", ["zip", "plain"])
def test_code_in_a_pickle_is_never_executed(scan: Call, tmp_path: Path, kind: str) -> None:
    marker, path = tmp_path / "ran", tmp_path / "model.pt"
    if kind == "zip":
        torch.save({"0.weight": torch.ones(16, 8), "x": Touch(marker)}, path)
    else:
        path.write_bytes(pickle.dumps({"x": Touch(marker)}))
    one_error(scan(model=path), 3, "model.pt: ", "dangerous-global", "nothing was executed")
    assert not marker.exists()


def test_weights_without_an_architecture(scan: Call) -> None:
    one_error(scan(build=""), 3, "healthy.pt: ", "--model-def", "--arch")


def test_weights_of_another_architecture(scan: Call) -> None:
    one_error(scan(build="wider"), 3, "0.weight has shape 16×8 in the file and 24×8 in the model")


def test_hostile_names_in_a_checkpoint(scan: Call, arena: Path, tmp_path: Path) -> None:
    name = "\x1b[31m[red]\nPASS: nothing against it (exit code 0)\u202e"
    torch.save({**torch.load(arena / "healthy.pt"), name: torch.ones(2)}, tmp_path / "hostile.pt")
    one_error(scan(model=tmp_path / "hostile.pt"), 3, "\\x1b[31m[red]\\nPASS", "\\u202e is not in the model")
    text = scan("--allow-partial", model=tmp_path / "hostile.pt").out
    assert "\\x1b[31m[red]\\nPASS" in text.replace("\n", "") and "\x1b" not in text and "\u202e" not in text
    assert text.count("\nPASS") == 1
    found = scan("--allow-partial", "--format", "json", model=tmp_path / "hostile.pt")
    assert found.json["model"]["unexpected_keys"] == [name]


# ---- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arch", "resnet81"], "resnet"),
        (["--layer", "1"], "1"),
        (["--pool", "max"], "unknown value 'max' for --pool"),
        (["--size", "big"], "--size takes a number or HEIGHTxWIDTH"),
        (["--size", "0"], "--size takes"),
        (["--mean", "a,b"], "--mean takes a number or one per channel"),
        (["--batch-size", "many"], "--batch-size takes a whole number or auto, not 'many'"),
        (["--batch-size", "0"], "batch-size must be at least 1"),
        (["--max-samples", "0"], "max-samples must be at least 1"),
        (["--max-unreadable", "2"], "max-unreadable must be a share"),
        (["--workers", "-1"], "workers must be 0 or more"),
        (["--device", "tpu9"], "--device tpu9 is not usable here"),
        (["--precision", "fp23"], "did you mean 'fp32'"),
        (["--fail-on", "warning"], "unknown value 'warning' for fail-on"),
        (["--select", "mean_cosine"], "did you mean 'mean-cosine'"),
        (["--require", "rank>=2"], "unknown metric 'rank'"),
        (["--labels", "missing.txt"], "missing.txt"),
        (["--transform", "nowhere.py:f"], "nowhere.py"),
        (["--key", "nowhere"], "nowhere"),
    ],
)
def test_wrong_options(scan: Call, options: list[str], message: str) -> None:
    found = scan(*options, build="" if "--arch" in options else "linear")
    one_error(found, 2, message)


def test_batch_size_auto_beats_pyproject(scan: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    from collapsecheck.datasets import batches

    original = batches.Batches.__init__

    def spy(self: Any, *arguments: Any, **more: Any) -> None:
        seen.append(more["batch_size"])
        original(self, *arguments, **more)

    monkeypatch.setattr(batches.Batches, "__init__", spy)
    (tmp_path / "pyproject.toml").write_text("[tool.collapsecheck]\nbatch-size = 7")
    assert (scan().code, scan("--batch-size", "auto").code, scan("--batch-size", "5").code) == (0, 0, 0)
    assert seen == [7, None, 5]


# ---- the user's code


def test_a_model_that_fails(scan: Call) -> None:
    one_error(scan(build="fails"), 4, "ValueError: no such batch")


def test_a_model_that_ends_the_program_does_not_pass(scan: Call) -> None:
    one_error(scan(build="quits"), 4, "ended the scan")


# ---- equal runs, and a clean stdout; these start processes of their own, so there are few of them


def test_equal_runs_differ_in_run_only(
    scan: Call, arena: Path, tmp_path: Path, python: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {"model": "pictures.pt", "data": "images", "build": "Pictures"}
    first, second = (scan("--format", "json", **pictures) for _ in range(2))
    (tmp_path / "elsewhere").mkdir()
    third = subprocess.run(
        [*python, "scan", str(arena / "pictures.pt"), str(arena / "images"), "--model-def",
         f"{arena / 'models.py'}:Pictures", "--format", "json", "--workers", "1"],
        cwd=tmp_path / "elsewhere", env={**os.environ, "PYTHONHASHSEED": "77", "FORCE_COLOR": "1", "LC_ALL": "C"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (third.returncode, third.stderr) == (0, "")
    texts = [text.partition('\n  "run": ')[0] for text in (first.out, second.out, third.stdout)]
    assert texts[0] == texts[1] == texts[2] and len(texts[0]) > 5000


def test_stdout_holds_the_report_only(arena: Path, python: list[str]) -> None:
    found = subprocess.run(
        [*python, "scan", "healthy.pt", "x.npy", "--model-def", "models.py:loud", "--format", "json"],
        cwd=arena, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0
    assert json.loads(found.stdout)["verdict"]["status"] == "healthy"
    lines = found.stderr.splitlines()
    assert {"printed while building", "printed while running", "written by native code"} <= set(lines)
    assert "collapsecheck: warning: a warning" in lines and "of two lines" not in found.stderr


def test_text_in_ascii_and_by_the_console_script(arena: Path, python: list[str]) -> None:
    script = Path(python[0]).with_name("collapsecheck")
    found = subprocess.run(
        [script if script.exists() else python[0], *([] if script.exists() else python[1:]), "embeddings", "same.npy"],
        cwd=arena, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (1, b"")
    assert found.stdout.startswith(b"COLLAPSED (complete)\n") and found.stdout.isascii() and b"\x1b" not in found.stdout
    assert max(map(len, found.stdout.splitlines())) <= 80
