"""Scan a sample the way a user would: from a checkpoint and data on disk."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from collapsecheck import scan
from collapsecheck.reports import Report
from collapsecheck.settings import Settings
from sample_models.sample import Sample


def scanned(sample: Sample, folder: Path | None = None, **settings: Any) -> Report:
    """Write the sample to files, and scan them.

    Parameters
    ----------
    folder : where the files go; by default a temporary folder, which is removed.
    settings : fields of `collapsecheck.settings.Settings`.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as made:
            return scanned(sample, Path(made), **settings)
    checkpoint, data = folder / "model.pt", folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    torch.save(dict(sample.state), checkpoint)
    np.save(data / "inputs.npy", sample.inputs.numpy())
    if sample.labels is not None:
        np.save(data / "labels.npy", sample.labels.numpy())
    chosen = Settings(**{"device": "cpu", "workers": 0, **sample.settings, **settings})
    return scan(checkpoint, data, model_def=sample.model_def, settings=chosen, **sample.options)
