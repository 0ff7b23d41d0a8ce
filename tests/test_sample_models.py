"""The sample models that ship: each is judged as what it is, on the whole data and on halves of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from collapsecheck import scan
from collapsecheck.examination import examine
from collapsecheck.observe import observe_arrays
from collapsecheck.reports import Report
from collapsecheck.verdict import judge

SAMPLES = Path(__file__).resolve().parent.parent / "sample_models"
EXPECTED = {
    "always_one": ("collapsed", "complete"),
    "cluster": ("collapsed", "cluster"),
    "complete": ("collapsed", "complete"),
    "cone": ("degraded", "cone"),
    "dimensional": ("collapsed", "dimensional"),
    "healthy": ("healthy", None),
    "healthy_relu": ("healthy", None),
    "norm": ("collapsed", "norm"),
}


@cache
def scanned(name: str) -> Report:
    return scan(
        SAMPLES / "checkpoints" / f"{name}.pt",
        SAMPLES / "digits",
        model_def=f"{SAMPLES / 'networks.py'}:{name}",
    )


def test_every_checkpoint_is_expected_and_small() -> None:
    files = list((SAMPLES / "checkpoints").glob("*.pt"))
    assert {file.stem for file in files} == set(EXPECTED)
    assert all(file.stat().st_size <= 300_000 for file in files)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_is_judged_as_what_it_is(name: str) -> None:
    verdict = scanned(name).verdict
    assert (verdict.status, verdict.kind) == EXPECTED[name]
    assert verdict.borderline == ()


def test_the_case_the_tool_was_born_from() -> None:
    report = scanned("always_one")
    assert report.metrics["mean_cosine"].value > 0.99999
    assert report.metrics["cosine_q01"].value > 0.9999
    assert report.verdict.cosine_usable is False
    assert int(report.gate.exit_code) == 1


def test_high_cosine_is_no_fault() -> None:
    report = scanned("healthy_relu")
    assert report.metrics["mean_cosine"].value > 0.6
    assert report.gate.passed


def test_low_rank_shows_where_cosine_does_not() -> None:
    report = scanned("dimensional")
    assert report.metrics["mean_cosine"].value < 0.9
    assert report.metrics["unit_effective_rank"].value < 3


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_halves_get_the_same_status(name: str) -> None:
    """Ten halves here; `benchmarks/stability.py` judges 200."""
    embeddings, inputs, labels = embedded(name)
    for seed in range(10):
        half = np.random.default_rng(seed).permutation(len(embeddings))[: len(embeddings) // 2]
        seen = observe_arrays(embeddings[half], inputs=inputs[half], labels=labels[half], seed=seed)
        verdict = judge(seen, examine(seen))
        assert (verdict.status, verdict.kind) == EXPECTED[name]


@cache
def embedded(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from collapsecheck.datasets import Batches, TransformOptions, choose_preprocessing, open_items
    from collapsecheck.models import choose_readout, expected_input, load_model

    loaded = load_model(SAMPLES / "checkpoints" / f"{name}.pt", model_def=f"{SAMPLES / 'networks.py'}:{name}")
    readout = choose_readout(loaded)
    items = open_items(SAMPLES / "digits")
    batches = Batches(items, choose_preprocessing(items, expected_input(loaded), TransformOptions()))
    with readout.attached():
        parts = [(readout(batch.inputs).detach().numpy(), batch.inputs.numpy()) for batch in batches]
    assert items.labels is not None
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([x for _, x in parts]), items.labels
