"""Causes in the objective: what each of them says of states that were trained into, and of what looks like them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from collapsecheck.causes import Status
from collapsecheck.reports import Report
from collapsecheck.reports.formats.text import TextReport
from sample_models import architectures
from sample_models.objectives import (
    MARGIN,
    Training,
    all_triplets,
    attraction,
    checkpoint,
    classification,
    handed,
    hardest_triplets,
    inverted_pairs,
    right_pairs,
    sigmoid_cosines,
)
from sample_models.scanning import scanned
from sample_models.working import Build

OWN = """
import torch
from torch.nn import functional as F

def pairs(rows, labels, turned=False):
    unit = F.normalize(rows, dim=1)
    cosine = unit @ unit.T
    alike = (labels[:, None] == labels[None]) != turned
    return torch.where(alike, torch.relu(1 - cosine), torch.relu(cosine)).mean()

def inverted(rows, labels):
    return pairs(rows, labels, turned=True)

def attraction(rows):
    return F.normalize(rows, dim=1).var(dim=0).sum()

def sigmoid(rows, labels):
    unit = F.normalize(rows, dim=1)
    p = torch.sigmoid(unit @ unit.T)
    alike = (labels[:, None] == labels[None]).float().to(p)
    return F.binary_cross_entropy(p, alike)

def vector(rows, labels):
    return rows.sum(dim=1)

def raising(rows, labels):
    raise RuntimeError("this loss is broken")
"""


def long(build: Build) -> Any:
    """One more of the same."""
    return pytest.param(build, marks=pytest.mark.long)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("own") / "losses.py"
    file.write_text(OWN)
    return file


def accused(report: Report) -> list[str]:
    sure = (Status.CONFIRMED, Status.LIKELY)
    return [one.cause for one in report.diagnoses if one.status in sure and not one.expected]


HIGH = 1e-2


@pytest.mark.parametrize("build", [architectures.perceptron, long(architectures.plain)])
def test_mining_times_rate_only_both_together_collapse_and_both_are_named(build: Build) -> None:
    for loss, name in ((hardest_triplets, "batch-hard-triplet"), (all_triplets, "triplet")):
        for rate in (HIGH, HIGH / 30):
            sample = handed(build, checkpoint(build, 0, Training(loss, rate=rate)), loss=name, margin=MARGIN)
            report = scanned(sample)
            if loss is hardest_triplets and rate == HIGH:
                first = report.diagnoses[0]
                assert (first.cause, first.together) == ("hard-mining-collapse", ("learning-rate-too-high",))
                assert "it takes both" in first.evidence and "one along all triplets parts them" in first.evidence
                assert "together with learning-rate-too-high" in TextReport().render(report)
            else:
                assert report.verdict.status == "healthy" and not accused(report)


@pytest.mark.parametrize("build", [architectures.vgg, long(architectures.tall_perceptron)])
def test_born_in_a_point_what_depth_and_what_the_bounded_loss_have_to_do_with_it(build: Build) -> None:
    state = checkpoint(build, 0, Training(sigmoid_cosines, rate=1e-3, steps=300))
    report = scanned(handed(build, state, loss="cosine-bce"))
    assert report.metrics["mean_cosine"].value > 0.99999
    first = report.diagnoses[0]
    assert (first.cause, first.together) == ("bounded-similarity-loss", ("depth-without-normalisation",))
    assert report.outlook is not None
    numbers, told = report.outlook.numbers, " ".join(report.outlook.sentences)
    assert numbers["share_of_depth"] > 0.95  # an untrained copy is in the same point
    assert numbers["push_share_of_depth"] + numbers["push_share_of_bound"] == pytest.approx(1)
    assert 0.05 < numbers["push_share_of_bound"] < 0.5 and numbers["push"] < 1e-3
    for words in ("Training cannot leave this point", "without normalisation", "0.27", "0.3133", "An untrained copy"):
        assert words in told
    assert numbers["loss_here"] == pytest.approx(0.8133, abs=1e-3)


def test_the_same_deep_net_is_called_deep_where_no_loss_is_told(own: Path) -> None:
    build = architectures.vgg
    state = checkpoint(build, 0, Training(sigmoid_cosines, rate=1e-3, steps=300))["model"]
    assert scanned(handed(build, state)).diagnoses[0].cause == "depth-without-normalisation"
    assert scanned(handed(build, state, loss=f"{own}:sigmoid")).diagnoses[0].cause == "bounded-similarity-loss"


@pytest.mark.parametrize("build", [architectures.plain, architectures.normalised])
def test_a_bounded_loss_that_did_no_harm_is_not_accused(build: Build) -> None:
    state = checkpoint(build, 0, Training(sigmoid_cosines, rate=1e-3, steps=300))
    report = scanned(handed(build, state, loss="cosine-bce"))
    assert report.verdict.status == "healthy" and not accused(report)


@pytest.mark.parametrize("build", [architectures.plain, long(architectures.transformer)])
def test_a_loss_that_only_attracts_is_found_by_asking_it(build: Build, own: Path) -> None:
    state = checkpoint(build, 0, Training(attraction))["model"]
    for loss in ("positive-cosine", f"{own}:attraction"):
        first = scanned(handed(build, state, loss=loss)).diagnoses[0]
        assert first.cause == "loss-without-repulsion"
        assert "nothing is cheaper than one point for all" in first.evidence


@pytest.mark.parametrize("build", [architectures.plain, architectures.perceptron])
def test_a_loss_that_is_the_wrong_way_round_is_found_by_asking_it(build: Build, own: Path) -> None:
    state = checkpoint(build, 0, Training(inverted_pairs))["model"]
    first = scanned(handed(build, state, loss=f"{own}:inverted")).diagnoses[0]
    assert first.cause == "inverted-pair-labels" and "the opposite of what the labels say" in first.evidence


@pytest.mark.parametrize("loss", ["positive-cosine", "cosine-bce", "triplet", "batch-hard-triplet", "contrastive"])
def test_a_sound_model_is_sound_whatever_loss_is_stated(loss: str) -> None:
    """The loss that is stated may be wrong; a sound model stays one."""
    state = checkpoint(architectures.plain, 0, Training(classification))["model"]
    report = scanned(handed(architectures.plain, state, loss=loss))
    assert report.verdict.status == "healthy" and not accused(report)


@pytest.mark.parametrize("name", ["pairs", "inverted", "attraction"])
def test_a_sound_model_with_a_loss_of_ones_own(own: Path, name: str) -> None:
    state = checkpoint(architectures.plain, 0, Training(right_pairs))["model"]
    report = scanned(handed(architectures.plain, state, loss=f"{own}:{name}"))
    assert report.verdict.status == "healthy" and not accused(report)


@pytest.mark.parametrize(("name", "reason"), [("vector", "expected one number"), ("raising", "this loss is broken")])
def test_a_loss_that_cannot_be_computed_has_a_reason_in_the_report(own: Path, name: str, reason: str) -> None:
    state = checkpoint(architectures.plain, 0, Training(attraction))["model"]
    report = scanned(handed(architectures.plain, state, loss=f"{own}:{name}"))
    assert report.outlook is not None and reason in report.outlook.sentences[0]
    assert report.verdict.status == "collapsed" and report.diagnoses  # and all else is done as usual


def test_a_trial_shows_that_another_loss_leaves_the_point() -> None:
    build = architectures.tall_perceptron
    state = checkpoint(build, 0, Training(sigmoid_cosines, rate=1e-3, steps=300))
    first = scanned(handed(build, state, loss="cosine-bce"), trial=120.0).diagnoses[0]
    assert first.cause == "bounded-similarity-loss" and "trained anew" in first.change
    assert first.after["unit_spread"] > 0.3 > first.control["unit_spread"]


def test_a_trial_without_time_says_so() -> None:
    build = architectures.tall_perceptron
    state = checkpoint(build, 0, Training(sigmoid_cosines, rate=1e-3, steps=300))
    first = scanned(handed(build, state, loss="cosine-bce"), trial=0.01).diagnoses[0]
    assert first.status is Status.LIKELY and "were up" in first.reason
