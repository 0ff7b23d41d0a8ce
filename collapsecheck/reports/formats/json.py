"""JSON, schema version 1: written by hand from the report, so that a refactoring cannot change it.

Others read it: within version 1 fields are only ever added. The schema ships as `schema-v1.json`.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from collapsecheck.checks import Finding
from collapsecheck.gate import Gate
from collapsecheck.reports import DataFacts, LayerFacts, ModelFacts, Renderer, Report
from collapsecheck.statistics.measurement import Measurement
from collapsecheck.verdict import Verdict
from collapsecheck.version import __version__

if TYPE_CHECKING:
    from collapsecheck.causes import Diagnosis
    from collapsecheck.onset import Onset
    from collapsecheck.outlook import Outlook

SCHEMA_VERSION = "1.0"
DIGITS = 10  # significant; beyond those lie rounding and the order of sums

# The check whose threshold a metric is held against.
JUDGED_BY = {
    "mean_cosine": "mean-cosine",
    "unit_spread": "relative-spread",
    "unit_effective_rank": "effective-rank",
    "norm_median": "norm-collapse",
    "nearest_neighbour_ratio": "nearest-neighbour-ratio",
    "between_class_share": "class-structure",
    "evenness": "dimension-variance",
}


class JsonReport(Renderer):
    """For programs: `--format json`."""

    def render(self, report: Report, *, width: int | None = None, color: bool = False) -> str:  # noqa: ARG002
        """Everything in the report; NaN and Inf become null."""
        thresholds = {finding.check: finding.threshold for finding in report.findings}
        content = {
            "schema_version": SCHEMA_VERSION,
            "tool": {"name": "collapsecheck", "version": __version__},
            "model": _model(report.model),
            "data": _data(report.data),
            "verdict": _verdict(report.verdict, report.gate),
            "metrics": {
                name: _metric(item, thresholds.get(JUDGED_BY.get(name, "")))
                for name, item in sorted(report.metrics.items())
            },
            "findings": [_finding(finding) for finding in report.findings],
            "onset": _onset(report.onset),
            "layers": [_layer(layer) for layer in report.layers],
            "diagnoses": [_diagnosis(diagnosis) for diagnosis in report.diagnoses],
            "outlook": _outlook(report.outlook),
            "run": dict(report.run),
        }
        return json.dumps(plain(content), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _model(model: ModelFacts) -> dict[str, Any]:
    return {
        "path": model.path,
        "sha256": model.sha256,
        "format": model.format,
        "trust": model.trust,
        "notes": list(model.notes),
        "architecture": model.architecture,
        "architecture_reason": model.architecture_reason or None,
        "assumed": list(model.assumed),
        "missing_keys": list(model.missing_keys),
        "unexpected_keys": list(model.unexpected_keys),
        "mismatched_keys": list(model.mismatched_keys),
        "ignored_keys": list(model.ignored_keys),
        "averaged_keys": list(model.averaged_keys),
        "training": dict(model.training),
        "parameters": model.parameters,
        "embedding_layer": model.embedding_layer,
        "embedding_reason": model.embedding_reason,
        "embedding_dim": model.embedding_dim,
    }


def _data(data: DataFacts) -> dict[str, Any]:
    return {
        "path": data.path,
        "kind": data.kind,
        "seen": data.seen,
        "used": data.used,
        "unreadable": data.unreadable,
        "labels": data.labels,
        "transform": data.transform,
    }


def _verdict(verdict: Verdict, gate: Gate) -> dict[str, Any]:
    return {
        "status": verdict.status,
        "kind": verdict.kind,
        "information_kept": verdict.information_kept,
        "cosine_usable": verdict.cosine_usable,
        "reason": verdict.reason,
        "borderline": list(verdict.borderline),
        "exit_code": int(gate.exit_code),
        "gate": {
            "passed": gate.passed,
            "fail_on": gate.fail_on,
            "reasons": list(gate.reasons),
            "requirements": [{"requirement": str(wanted), "outcome": met} for wanted, met in gate.requirements],
        },
    }


def _metric(item: Measurement, threshold: float | None) -> dict[str, Any]:
    interval = list(item.interval) if item.interval else None
    return {"value": item.value, "interval": interval, "threshold": threshold, "null": item.null}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "outcome": finding.outcome,
        "level": finding.level,
        "kind": finding.kind,
        "message": finding.message,
        "value": finding.value,
        "threshold": finding.threshold,
        "interval": list(finding.interval) if finding.interval else None,
        "borderline": finding.borderline,
        "layer": finding.layer,
        "evidence": dict(finding.evidence),
    }


def _onset(onset: Onset | None) -> dict[str, Any] | None:
    if onset is None:
        return None
    return {
        "layer": onset.layer,
        "step": onset.step,
        "type": onset.type,
        "measure": onset.measure,
        "before": onset.before,
        "after": onset.after,
        "first": onset.first,
        "last": onset.last,
    }


def _layer(layer: LayerFacts) -> dict[str, Any]:
    return {
        "layer": layer.layer,
        "step": layer.step,
        "type": layer.type,
        "depth": layer.depth,
        "relative_spread": layer.relative_spread,
        "mean_cosine": layer.mean_cosine,
        "effective_rank": layer.effective_rank,
        "rms": layer.rms,
        "dead_fraction": layer.dead_fraction,
    }


def _outlook(outlook: Outlook | None) -> dict[str, Any] | None:
    return None if outlook is None else {"sentences": list(outlook.sentences), "numbers": dict(outlook.numbers)}


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "cause": diagnosis.cause,
        "status": diagnosis.status,
        "layer": diagnosis.layer,
        "evidence": diagnosis.evidence,
        "change": diagnosis.change or None,
        "before": dict(diagnosis.before) or None,
        "after": dict(diagnosis.after) or None,
        "control": dict(diagnosis.control) or None,
        "reason": diagnosis.reason,
        "also_sufficient": diagnosis.also_sufficient,
        "expected": diagnosis.expected,
        "together": list(diagnosis.together),
        "remedies": [
            {
                "id": remedy.id,
                "title": remedy.title,
                "snippet": remedy.snippet,
                "effect": remedy.effect,
                "reference": remedy.reference,
                "trial": None,
            }
            for remedy in diagnosis.remedies
        ],
    }


def plain(value: Any) -> Any:
    """Plain JSON values: floats with ten significant digits, whatever is not finite as null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | str):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return float(f"{number:.{DIGITS}g}")
