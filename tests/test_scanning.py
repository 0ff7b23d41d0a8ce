"""The public API: what the command line does, from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import collapsecheck
from collapsecheck import testing
from collapsecheck.errors import UsageError
from collapsecheck.reports import DataFacts, ModelFacts
from collapsecheck.scanning import check_settings, histogram, report_on, scan_embeddings
from collapsecheck.settings import Settings
from sample_models import random_inference
from sample_models.scanning import scanned

DEFINITION = "from torch import nn\n\ndef build():\n    return nn.Sequential(nn.Linear(4, 8))\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    (tmp_path / "net.py").write_text(DEFINITION)
    torch.save(nn.Sequential(nn.Linear(4, 8)).state_dict(), tmp_path / "model.pt")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((64, 4)).astype("float32"))
    return tmp_path


def test_the_public_names() -> None:
    assert set(collapsecheck.__all__) == {"Report", "__version__", "scan"}
    assert isinstance(collapsecheck.Report, type) and callable(collapsecheck.scan)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        collapsecheck.nothing  # noqa: B018


def test_a_scan_returns_plain_values_and_tells_its_progress(files: Path) -> None:
    told: list[tuple[str, int | None, int]] = []
    before = {path: path.read_bytes() for path in files.iterdir()}
    report = collapsecheck.scan(
        files / "model.pt",
        files / "x.npy",
        model_def=f"{files / 'net.py'}:build",
        input_scale=2.0,
        settings=Settings(batch_size=16, workers=0),
        progress=lambda *step: told.append(step),
    )
    assert report.verdict.status == "healthy" and report.gate.passed
    assert (report.model.embedding_dim, report.data.used) == (8, 64)
    assert told[0][0] == "loading the model"
    assert [step for step in told if step[0] == "embedding"] == [("embedding", 64, 16)] * 4
    assert all(path.read_bytes() == content for path, content in before.items()), "the files are not changed"


def test_embeddings_tell_their_progress_too(files: Path) -> None:
    told: list[tuple[str, int | None, int]] = []
    report = scan_embeddings(files / "x.npy", progress=lambda *step: told.append(step))
    assert report.verdict.status == "healthy" and report.model.sha256 is None
    assert told == [("reading", 64, 64)]


def test_the_random_state_of_the_caller_is_left_alone(files: Path) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]
    collapsecheck.scan(
        files / "model.pt",
        files / "x.npy",
        model_def=f"{files / 'net.py'}:build",
        settings=Settings(workers=0),
    )
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(select=("nothing",)), "unknown check 'nothing'"),
        (Settings(ignore=("nothing",)), "unknown check 'nothing'"),
        (Settings(thresholds={"nothing": {"x": 1.0}}), "unknown check 'nothing'"),
        (Settings(thresholds={"mean-cosine": {"x": 1.0}}), "unknown threshold mean-cosine.x"),
        (Settings(require=("nothing>=1",)), "unknown metric 'nothing'"),
        (Settings(select=("non-finite",), ignore=("non-finite", "mean-cosine")), "not a single check"),
    ],
)
def test_settings_are_checked_before_anything_slow(settings: Settings, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_settings(settings)
    with pytest.raises(UsageError, match=message):
        collapsecheck.scan("missing.pt", "missing", settings=settings)


def test_the_share_of_unreadable_items_is_a_threshold_like_others() -> None:
    seen = testing.partly_read()
    facts = {
        "model": ModelFacts(path="m", format="f", embedding_dim=64),
        "data": DataFacts(path="d", kind="k", seen=1000, used=900),
        "run": {},
    }
    for settings, code in (
        (Settings(), 1),
        (Settings(max_unreadable=0.2), 0),
        (Settings(thresholds={"readable-data": {"error": 0.2}}), 0),
    ):
        assert report_on(seen, settings, **facts).gate.exit_code == code  # type: ignore[arg-type]


@pytest.mark.parametrize("roundings", [0, 1, 40])
def test_cosines_that_differ_by_roundings_are_counted_too(roundings: int) -> None:
    cosines = 1 - np.spacing(0.5) * (np.arange(2001) % (roundings + 1))
    counts, edges = histogram(cosines)
    assert counts.sum() == 2001 and len(edges) == 61 and edges[0] <= cosines.min() <= cosines.max() <= edges[-1]


def test_pictures_of_a_report() -> None:
    facts = {
        "model": ModelFacts(path="m", format="f", embedding_dim=64),
        "data": DataFacts(path="d", kind="k", seen=1000, used=1000),
        "run": {},
    }
    report = report_on(testing.power_law(), Settings(), **facts)  # type: ignore[arg-type]
    assert sum(report.spectrum) == pytest.approx(1) and list(report.spectrum) == sorted(report.spectrum, reverse=True)
    assert sum(report.cosine_histogram) > 1000 and -1 <= report.cosine_range[0] < report.cosine_range[1] <= 1
    empty = report_on(testing.few_rows(1), Settings(), **facts)  # type: ignore[arg-type]
    assert (empty.spectrum, empty.cosine_histogram) == ((), ())


def test_cosines_that_differ_by_rounding_alone_still_have_a_picture(tmp_path: Path) -> None:
    """Their range is narrower than any histogram can be: a crash, once."""
    rows = 1 + 1e-15 * np.random.default_rng(0).standard_normal((200, 64))
    np.save(tmp_path / "rows.npy", rows)
    report = scan_embeddings(tmp_path / "rows.npy")
    assert report.verdict.status == "collapsed" and sum(report.cosine_histogram) > 0
    for rows in (np.ones((50, 8)), np.full((50, 8), 0.1) * (1 + 1e-16), np.tile([1.0, 1e-8], (50, 1))):
        np.save(tmp_path / "rows.npy", rows)
        assert scan_embeddings(tmp_path / "rows.npy").verdict.status == "collapsed"


def test_a_model_that_draws_random_numbers_leaves_them_as_they_were() -> None:
    sample = random_inference.broken(random_inference.ARCHITECTURES[0])
    before = torch.get_rng_state()
    assert scanned(sample).verdict.status == "degraded"
    assert torch.equal(torch.get_rng_state(), before)


OWN = """
import torch
from torch import nn

class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return grad

class Net(nn.Sequential):
    def forward(self, x):
        return Twice.apply(super().forward(x))

def build():
    return Net(nn.Linear(4, 8))
"""


@pytest.mark.parametrize(("which", "status"), [("custom", "degraded"), ("layers", "degraded"), ("never", "healthy")])
def test_a_backward_that_is_wrong(files: Path, which: str, status: str) -> None:
    (files / "own.py").write_text(OWN)
    settings = Settings(workers=0, gradcheck=which)
    report = collapsecheck.scan(
        files / "model.pt", files / "x.npy", model_def=f"{files / 'own.py'}:build", input_scale=2.0, settings=settings
    )
    assert report.verdict.status == status and report.verdict.kind is None
    assert [one.cause for one in report.diagnoses[:1]] == ["wrong-custom-gradient"] * (status == "degraded")
    (finding, *_) = [one for one in report.findings if one.check == "custom-gradients"]
    assert finding.outcome == ("failed" if status == "degraded" else "skipped")
    assert ("Twice" in finding.message) == (status == "degraded")
