"""What a broken or a repaired model is made of: everything that a user would hand to a scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A checkpoint, the code that builds its model, and data.

    Parameters
    ----------
    build : a function at the top of its module, without arguments: what `--model-def` names.
    state : content of the checkpoint: a state_dict, or a training checkpoint that holds one.
    inputs : what the model is fed [n, ...].
    labels : classes [n], or None.
    layer : key of `named_modules()` at which the symptom begins; "input" for the data, "" where it is no single layer.
    also : other keys at which the onset may rightly be seen (the activation behind the layer, say).
    options : further arguments of `collapsecheck.scan`, such as `layer` or `allow_partial`.
    settings : fields of `collapsecheck.settings.Settings`, such as `batch_size` or `precision`.
    """

    build: Callable[[], nn.Module]
    state: Mapping[str, Any]
    inputs: Tensor
    labels: Tensor | None = None
    layer: str = ""
    also: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model_def(self) -> str:
        """The value of `--model-def`."""
        return f"{self.build.__module__}:{self.build.__qualname__}"
