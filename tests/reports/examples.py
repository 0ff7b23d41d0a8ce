"""Reports made by hand: the same on every machine, whatever torch and BLAS are in use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from collapsecheck.checks import Finding, Kind, Level, Outcome
from collapsecheck.exit_codes import ExitCode
from collapsecheck.gate import Gate, Met, Requirement
from collapsecheck.reports import DataFacts, ModelFacts, Report
from collapsecheck.statistics.measurement import Measurement
from collapsecheck.verdict import Status, Verdict

RUN = {
    "started": "2026-01-02T03:04:05+00:00",
    "seconds": 1.25,
    "device": "cpu",
    "torch": "2.10.0",
    "python": "3.11.0",
    "world_size": 1,
    "seed": 0,
}


def measured(**metrics: Any) -> dict[str, Measurement]:
    """A number, or (value, low, high), or (value, low, high, null); rows and zero_rows are always known."""
    found = {}
    for name, given in {"rows": 200.0, "zero_rows": 0.0, **metrics}.items():
        value, low, high, null = (*given, None)[:4] if isinstance(given, tuple) else (given, None, None, None)
        found[name] = Measurement(value=value, interval=None if low is None else (low, high), null=null)
    return found


def skipped(check: str, reason: str) -> Finding:
    return Finding(check=check, outcome=Outcome.SKIPPED, level=Level.NOTE, message=reason)


def collapsed() -> Report:
    """The scan of a model on which every cosine is 1, with a requirement that is not met."""
    return Report(
        model=ModelFacts(
            path="runs/epoch_12.pt",
            sha256="ab" * 32,
            format="torch-zip",
            architecture="networks.py:encoder",
            parameters=1_234_567,
            embedding_layer="head.projection",
            embedding_reason="the input of the last Linear classifier (mean over 16 positions)",
            embedding_dim=64,
            ignored_keys=("optimizer", "epoch"),
        ),
        data=DataFacts(
            path="data/validation",
            kind="image-folder",
            seen=210,
            used=200,
            unreadable=10,
            labels=10,
            transform="grey images, at native size, pixels in 0..1",
        ),
        verdict=Verdict(
            status=Status.COLLAPSED,
            kind=Kind.COMPLETE,
            information_kept=True,
            cosine_usable=False,
            reason="Every input gets practically the same embedding: cosine similarity is 1.0000 on average over all "
            "pairs.",
            borderline=("effective-rank",),
        ),
        gate=Gate(
            exit_code=ExitCode.FAILED,
            reasons=(
                "the embeddings are collapsed (--fail-on collapsed)",
                "requirement effective_rank>=32 is not met (effective_rank is 2.31)",
            ),
            requirements=(
                (Requirement(metric="effective_rank", comparison=">=", number=32), Met.NO),
                (Requirement(metric="mean_cosine", comparison="<", number=0.99996), Met.CLOSE),
            ),
            fail_on="collapsed",
        ),
        metrics=measured(
            mean_cosine=(0.99995, 0.9999, 0.99998, 0.0),
            mean_cosine_gap=(5.1e-5, 2.1e-5, 8.1e-5),
            cosine_std=(3.2e-5, 3.1e-5, 3.3e-5, 0.125),
            unit_spread=(0.0071, 0.007, 0.0072, 1.0),
            unit_effective_rank=(2.3123456789012, 2.1, 2.5, 55.6),
            distinct_rows=200.0,
            distinct_inputs=199.0,
            input_mean_cosine=-0.001,
            input_effective_rank=21.4,
            nearest_neighbour_ratio=(0.31, None, None, 0.45),
            dead_dimensions=(3.0, None, None, 0.0),
            norm_median=12.3456,
            neighbour_accuracy=(0.93, 0.9, 0.96, 0.11),
            undetermined=math.nan,
        ),
        findings=(
            Finding(
                check="distinct-embeddings", outcome=Outcome.PASSED, level=Level.NOTE, message="200 of 200", value=0.0
            ),
            Finding(
                check="mean-cosine",
                outcome=Outcome.FAILED,
                level=Level.WARNING,
                message="all pairs have nearly the same cosine, 0.9999 ± 3.2e-05: a direction common to all embeddings "
                "drowns their differences",
                value=0.99995,
                threshold=0.98,
                interval=(0.9999, 0.99998),
                kind=Kind.CONE,
                evidence={"cosine_std": 3.2e-5, "none": None, "rows": [1, 2], "nan": math.nan},
            ),
            Finding(
                check="norm-collapse",
                outcome=Outcome.ERRORED,
                level=Level.ERROR,
                message="the check broke: ZeroDivisionError: division by zero",
            ),
            Finding(
                check="relative-spread",
                outcome=Outcome.FAILED,
                level=Level.ERROR,
                message="all embeddings point in almost one direction: cosines differ from 1 by 5e-05 on average",
                value=0.0071,
                threshold=0.01,
                kind=Kind.COMPLETE,
                borderline=True,
            ),
            Finding(
                check="readable-data",
                outcome=Outcome.FAILED,
                level=Level.NOTE,
                message="10 of 210 items could not be read, the first: a/1.png: truncated",
                value=10 / 210,
                threshold=0.05,
                layer="input",
            ),
            skipped("class-structure", "there are no labels"),
        ),
        spectrum=(0.6, 0.3, 0.05, 0.04, 0.009, 0.0009, 0.0001, 0.0),
        cosine_histogram=(0, 1, 5, 20, 80, 40, 3, 0, 0, 1),
        cosine_range=(0.9998, 1.0),
        run=RUN,
    )


def healthy() -> Report:
    """Ready vectors without anything to complain of."""
    return Report(
        model=ModelFacts(path="vectors.npy", format="embeddings", embedding_dim=16),
        data=DataFacts(path="vectors.npy", kind="float32 vectors", seen=200, used=200),
        verdict=Verdict(
            status=Status.HEALTHY,
            kind=None,
            information_kept=True,
            cosine_usable=True,
            reason="Different inputs get clearly different embeddings.",
        ),
        gate=Gate(exit_code=ExitCode.PASSED, reasons=(), requirements=(), fail_on="collapsed"),
        metrics=measured(
            mean_cosine=(0.0123, 0.01, 0.0146, 0.0),
            unit_spread=(0.997, 0.99, 1.0, 1.0),
            unit_effective_rank=(15.2, 15.0, 15.4, 15.8),
            distinct_rows=200.0,
            norm_median=1.0,
        ),
        findings=(
            Finding(check="mean-cosine", outcome=Outcome.PASSED, level=Level.NOTE, message="mean cosine 0.012"),
            skipped("loaded-weights", "no model was loaded"),
        ),
        spectrum=tuple([1 / 16] * 16),
        cosine_histogram=(1, 4, 9, 4, 1),
        cosine_range=(-0.5, 0.5),
        run=RUN,
    )


def inconclusive() -> Report:
    """One vector of one dimension."""
    return Report(
        model=ModelFacts(path="one.npy", format="embeddings", embedding_dim=1),
        data=DataFacts(path="one.npy", kind="float32 vectors", seen=1, used=1),
        verdict=Verdict(
            status=Status.INCONCLUSIVE,
            kind=None,
            information_kept=None,
            cosine_usable=None,
            reason="Only 1 usable embedding: at least 16 are needed to tell collapse from chance.",
        ),
        gate=Gate(
            exit_code=ExitCode.NOT_MEASURED,
            reasons=("too little could be measured",),
            requirements=(),
            fail_on="collapsed",
        ),
        metrics=measured(rows=1.0, mean_cosine=math.nan),
        findings=(skipped("mean-cosine", "mean cosine is not defined for 1 rows of this data"),),
        run=RUN,
    )


EXAMPLES = {make.__name__: make for make in (collapsed, healthy, inconclusive)}


def hostile(text: str) -> Report:
    """Every place of a report that a checkpoint, a file name or a message can reach holds `text`."""
    return Report(
        model=ModelFacts(
            path=text,
            sha256="00" * 32,
            format="torch-zip",
            architecture=text,
            missing_keys=(text,),
            unexpected_keys=(text, text),
            mismatched_keys=(text,),
            ignored_keys=(text,),
            parameters=1,
            embedding_layer=text,
            embedding_reason=text,
            embedding_dim=4,
        ),
        data=DataFacts(path=text, kind="image-folder", seen=2, used=1, unreadable=1, labels=2, transform=text),
        verdict=Verdict(
            status=Status.DEGRADED, kind=None, information_kept=True, cosine_usable=None, reason=f"Reason {text}."
        ),
        gate=Gate(exit_code=ExitCode.FAILED, reasons=(text,), requirements=(), fail_on="degraded"),
        metrics=measured(),
        findings=(
            Finding(
                check="loaded-weights",
                outcome=Outcome.FAILED,
                level=Level.WARNING,
                message=f"the first: {text}",
                layer=text,
                evidence={"missing": [text], text: {"nested": (text,)}},
            ),
            skipped("readable-data", text),
        ),
        run=RUN,
    )


def strings(value: Any) -> Sequence[str]:
    """All texts in a JSON value, names included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for key, item in value.items() for text in (key, *strings(item))]
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []
