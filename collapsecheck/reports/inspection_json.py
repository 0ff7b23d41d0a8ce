"""`collapsecheck inspect --format json`, schema version 1 (`inspect-schema-v1.json`): fields are only ever added."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from collapsecheck.checkpoints.optimisers import Optimiser
from collapsecheck.checkpoints.training_state import TrainingState
from collapsecheck.reports.formats.json import plain
from collapsecheck.reports.inspection import Inspection
from collapsecheck.version import __version__

SCHEMA_VERSION = "1.0"


def render_json(inspection: Inspection) -> str:
    """Everything that was found; NaN and Inf become null."""
    weights, architecture = inspection.weights, inspection.architecture
    content = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "collapsecheck", "version": __version__},
        "file": {
            "path": inspection.path,
            "format": inspection.format,
            "bytes": inspection.bytes,
            "files": inspection.files,
            "sha256": inspection.sha256,
            "runs_code": inspection.runs_code,
            "notes": [
                {"id": identifier, "message": message, "names": list(names)}
                for identifier, message, names in inspection.notes
            ],
            "metadata": dict(inspection.metadata),
        },
        "entries": [asdict(entry) for entry in inspection.entries],
        "weights": None if weights is None else asdict(weights),
        "no_weights": inspection.no_weights or None,
        "architecture": None if architecture is None else asdict(architecture),
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "parameters": layer.parameters,
                "bytes": layer.bytes,
                "tensors": [
                    {"name": name, "dtype": dtype, "shape": list(shape)}
                    for name, (dtype, shape) in layer.tensors.items()
                ],
            }
            for layer in inspection.layers
        ],
        "training": _training(inspection.training),
    }
    return json.dumps(plain(content), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _training(state: TrainingState) -> dict[str, Any]:
    return {
        "epoch": state.epoch,
        "step": state.step,
        "optimisers": [_optimiser(one) for one in state.optimisers],
        "schedulers": [asdict(one) for one in state.schedulers],
        "lightning_version": state.lightning_version,
        "hyper_parameters": dict(state.hyper_parameters),
        "scaler": dict(state.scaler),
        "averaged": list(state.averaged),
        "running_statistics": [
            {"name": one.name, "batches": one.batches, "initial": one.initial, "never_updated": one.never_updated}
            for one in state.running_statistics
        ],
        "moments": [[asdict(one) for one in some] for some in state.moments],
    }


def _optimiser(one: Optimiser) -> dict[str, Any]:
    return {
        "key": one.key,
        "kind": one.kind,
        "parameters": one.parameters,
        "with_state": one.with_state,
        "without_state": [{"id": each, "name": one.names.get(each)} for each in one.without_state],
        "keeps_state": one.keeps_state,
        "kept": list(one.kept),
        "steps": None if one.steps is None else list(one.steps),
        "group_count": one.group_count,
        "groups": [asdict(group) for group in one.groups],
    }
