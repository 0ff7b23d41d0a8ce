from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from collapsecheck.discovery import plugins
from collapsecheck.reports import Renderer, formats

from .conftest import Call

RANDOM = np.random.default_rng(0).standard_normal((120, 8)).astype("float32")
LABELS = np.arange(120) % 3


def save(path: Path) -> None:
    """The same vectors with the same labels, in the format of the suffix (.npy has no labels)."""
    if path.suffix == ".npy":
        np.save(path, RANDOM)
    elif path.suffix == ".npz":
        np.savez(path, embeddings=RANDOM, labels=LABELS)
    elif path.suffix == ".pt":
        torch.save({"embeddings": torch.from_numpy(RANDOM), "labels": torch.from_numpy(LABELS)}, path)
    else:
        save_file({"embeddings": torch.from_numpy(RANDOM), "labels": torch.from_numpy(LABELS)}, path)


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".safetensors"])
def test_every_format_gives_the_same(call: Call, tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"v{suffix}")
    save(tmp_path / "v.npy")
    np.save("labels.npy", LABELS)
    found = call("embeddings", f"v{suffix}", "--format", "json")
    plain = call("embeddings", "v.npy", "--labels", "labels.npy", "--format", "json")
    assert (found.code, plain.code) == (0, 0)
    assert found.json["data"] == {
        "path": f"v{suffix}", "kind": "float32 vectors", "seen": 120, "used": 120, "unreadable": 0, "labels": 3,
        "transform": None,
    }  # fmt: skip
    assert found.json["model"]["embedding_dim"] == 8
    assert found.json["metrics"] == plain.json["metrics"]
    assert found.json["findings"] == plain.json["findings"]


@pytest.mark.parametrize(
    ("file", "fail_on", "code"),
    [
        ("good", "collapsed", 0), ("good", "degraded", 0), ("good", "never", 0),
        ("cone", "collapsed", 0), ("cone", "degraded", 1), ("cone", "never", 0),
        ("same", "collapsed", 1), ("same", "degraded", 1), ("same", "never", 0),
        ("few", "collapsed", 4), ("few", "degraded", 4), ("few", "never", 4),
    ],
)  # fmt: skip
def test_the_gate_is_the_same_whatever_the_format(call: Call, arena: Path, file: str, fail_on: str, code: int) -> None:
    for name in plugins(formats, Renderer):
        for more in ([], ["-q"], ["-v"], ["-o", "report"]):
            found = call("embeddings", arena / f"{file}.npy", "--fail-on", fail_on, "--format", name, *more)
            assert found.code == code, (name, more)


# ---- what is in the file


@pytest.mark.parametrize(
    ("rows", "code", "status", "kind"),
    [
        (RANDOM[:1], 4, "inconclusive", None),
        (RANDOM[:2], 4, "inconclusive", None),
        (RANDOM[:, :1], 4, "inconclusive", None),
        (RANDOM[:, 0], 4, "inconclusive", None),
        (RANDOM[:20].repeat(20, axis=1) + np.random.default_rng(1).standard_normal((20, 160)), 0, "healthy", None),
        (np.zeros((50, 8)), 1, "collapsed", "norm"),
        (np.full((50, 8), np.nan), 1, "collapsed", "non-finite"),
        (np.where(np.arange(120)[:, None] == 7, np.inf, RANDOM), 1, "collapsed", "non-finite"),
        (np.ones((50, 8), np.int64), 1, "collapsed", "complete"),
        (np.arange(400).reshape(50, 8) % 7 - 3, 1, "collapsed", "cluster"),
        (RANDOM.astype("float16"), 0, "healthy", None),
    ],
    ids=["one", "two", "d=1", "flat", "n<d", "zero", "nan", "inf", "equal whole", "whole", "half"],
)
def test_verdicts(call: Call, rows: np.ndarray, code: int, status: str, kind: str | None) -> None:
    np.save("v.npy", rows)
    found = call("embeddings", "v.npy", "--format", "json")
    assert found.err == ""
    verdict = found.json["verdict"]
    assert (found.code, verdict["status"], verdict["kind"]) == (code, status, kind)
    assert verdict["exit_code"] == code and verdict["gate"]["passed"] is (code == 0)
    assert call("embeddings", "v.npy").code == code


def test_rows_with_nan_are_listed_and_the_rest_is_measured(call: Call) -> None:
    rows = RANDOM.copy()
    rows[[3, 50], 2] = np.nan
    np.save("v.npy", rows)
    found = call("embeddings", "v.npy", "--format", "json").json
    (finding,) = [one for one in found["findings"] if one["check"] == "non-finite"]
    assert (finding["outcome"], finding["evidence"]) == ("failed", {"rows": [3, 50]})
    assert found["metrics"]["rows"]["value"] == 118
    assert found["metrics"]["mean_cosine"]["value"] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("missing.npy", None, 2, "no such file"),
        ("v.csv", b"1,2", 2, "vectors are read from .npy, .npz, .pt, .safetensors files, not .csv"),
        ("v.npy", b"", 4, "the file is empty"),
        ("v.npy", b"\x93NUMPY\x01\x00", 4, "damaged NumPy file"),
        ("v.npz", b"PK\x03\x04cut", 4, "damaged NumPy file"),
        ("v.npy", b"text", 2, "not a NumPy file"),
        ("v.pt", b"text", 2, "damaged, or it holds more than tensors"),
        ("v.safetensors", b"text", 4, "damaged safetensors file"),
    ],
)
def test_bad_files(call: Call, name: str, content: bytes | None, code: int, message: str) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    found = call("embeddings", name)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(f"collapsecheck: {name}: ") and found.err.count("\n") == 1
    assert message in found.err


def test_no_vectors_at_all(call: Call) -> None:
    np.save("v.npy", np.zeros((0, 8)))
    found = call("embeddings", "v.npy")
    assert found.code == 4 and "holds no embeddings" in found.err


def test_labels_that_do_not_fit(call: Call, arena: Path) -> None:
    np.save("labels.npy", LABELS)
    found = call("embeddings", arena / "good.npy", "--labels", "labels.npy")
    assert found.code == 2 and "120 labels for 200 items" in found.err


# ---- settings from everywhere


def test_flags_beat_the_environment_beats_pyproject(
    call: Call, arena: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = arena / "cone.npy"
    assert call("embeddings", vectors).code == 0
    (tmp_path / "pyproject.toml").write_text('[tool.collapsecheck]\nfail-on = "degraded"')
    assert call("embeddings", vectors).code == 1
    monkeypatch.setenv("COLLAPSECHECK_FAIL_ON", "never")
    assert call("embeddings", vectors).code == 0
    assert call("embeddings", vectors, "--fail-on", "degraded").code == 1


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--fail-on", "colapsed"], "did you mean 'collapsed'"),
        (["--format", "jsn"], "did you mean 'json'"),
        (["--select", "meen-cosine"], "unknown check 'meen-cosine'; did you mean 'mean-cosine'"),
        (["--ignore", "nonfinite"], "did you mean 'non-finite'"),
        (["--set", "mean-cosine.warnin=1"], "unknown threshold mean-cosine.warnin; did you mean 'warning'"),
        (["--set", "mean-cosin.warning=1"], "unknown check 'mean-cosin'; did you mean 'mean-cosine'"),
        (["--set", "mean-cosine.warning"], "expected CHECK.THRESHOLD=NUMBER"),
        (["--set", "mean-cosine.warning=nan"], "must be a number, not nan"),
        (["--require", "efective_rank>=2"], "did you mean 'effective_rank'"),
        (["--require", "effective_rank"], "expected METRIC>=NUMBER"),
        (["--require", "effective_rank>=nan"], "expected METRIC>=NUMBER"),
        (["--select", "mean-cosine", "--ignore", "mean-cosine"], "leaves not a single check"),
        (["--seed", "-1"], "seed must be 0 or more"),
        (["--output", ""], "is a folder"),
        (["--output", "no/such/report"], "the folder no/such does not exist"),
    ],
)
def test_wrong_settings(call: Call, arena: Path, options: list[str], hint: str) -> None:
    found = call("embeddings", arena / "good.npy", *options)
    assert (found.code, found.out) == (2, "")
    assert hint in found.err and found.err.count("\n") == 1


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("FAIL_ONN=never", "did you mean 'fail-on'"),
        ("THRESHOLDS=mean-cosin.warning=1", "did you mean 'mean-cosine'"),
        ("SELECT=meen-cosine", "did you mean 'mean-cosine'"),
    ],
)
def test_wrong_settings_in_the_environment(
    call: Call, arena: Path, monkeypatch: pytest.MonkeyPatch, setting: str, hint: str
) -> None:
    name, _, text = setting.partition("=")
    monkeypatch.setenv(f"COLLAPSECHECK_{name}", text)
    found = call("embeddings", arena / "good.npy")
    assert found.code == 2 and hint in found.err


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("fail_onn = 1", "did you mean 'fail-on'"),
        ("seed = 'x'", "seed has a value of the wrong type"),
        ("select = ['meen-cosine']", "did you mean 'mean-cosine'"),
        ("thresholds = {mean-cosine = {warnin = 1}}", "did you mean 'warning'"),
        ("= 3", "not readable as TOML"),
    ],
)
def test_wrong_settings_in_pyproject(call: Call, arena: Path, tmp_path: Path, line: str, hint: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.collapsecheck]\n{line}")
    found = call("embeddings", arena / "good.npy")
    assert found.code == 2 and hint in found.err


def test_thresholds_reach_their_check(call: Call, arena: Path) -> None:
    found = call("embeddings", arena / "good.npy", "--set", "mean-cosine.warning=-0.5", "--format", "json")
    assert found.json["verdict"]["kind"] == "cone"


@pytest.mark.parametrize(
    ("requirement", "code", "word"),
    [
        ("effective_rank>=10", 0, "met"),
        ("effective-rank >= 16.5", 1, "not met"),
        ("neighbour_accuracy>=0.5", 4, "not measured"),
    ],
)
def test_requirements(call: Call, arena: Path, requirement: str, code: int, word: str) -> None:
    found = call("embeddings", arena / "good.npy", "--require", requirement, "--format", "json")
    assert found.code == code
    assert found.json["verdict"]["gate"]["requirements"][0]["outcome"] == word


def test_a_requirement_within_the_interval_is_too_close_to_call(call: Call, arena: Path) -> None:
    value = call("embeddings", arena / "good.npy", "--format", "json").json["metrics"]["effective_rank"]["value"]
    found = call("embeddings", arena / "good.npy", "--require", f"effective_rank>={value + 1e-4}")
    assert found.code == 0
    assert "too close to call" in found.out


def test_the_worst_requirement_wins(call: Call, arena: Path) -> None:
    both = ["--require", "neighbour_accuracy>=0.5", "--require", "effective_rank>=99"]
    assert call("embeddings", arena / "good.npy", *both).code == 4


def test_a_selection_that_sees_nothing_is_not_passed(call: Call, arena: Path) -> None:
    found = call("embeddings", arena / "good.npy", "--select", "class-structure")
    assert found.code == 4 and found.out.startswith("INCONCLUSIVE")
