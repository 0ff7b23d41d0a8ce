"""From a checkpoint to a model without being told which: each file of this folder knows one way.

`ModelSource` is what such a file must fulfil. `--model-def` and `--arch` are asked before any of these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from collapsecheck.checkpoints import Checkpoint
from collapsecheck.checkpoints.state_dicts import Found
from collapsecheck.models.architecture import Architecture


class ModelSource(ABC):
    """One way. The file's name is its id."""

    #: The source with the lowest rank that makes an offer is taken: what the file says itself comes before guesses.
    rank: ClassVar[int]

    @abstractmethod
    def offer(self, checkpoint: Checkpoint, found: Found | None, *, trusted: bool) -> Architecture | None:
        """Return what makes the model, None where this way does not apply.

        Parameters
        ----------
        checkpoint
            What was read.
        found
            The sets of weights in it, None where the format has none to be found (ONNX, TorchScript).
        trusted
            Whether `--trust-checkpoint` was given: without it, code in a file must not run.

        Raises
        ------
        NotLoadableError
            If this is the way, but it is barred: code that is not trusted, an extra that is not installed, several
            architectures that fit alike. The message says what would help, and goes on from "PATH: ".
        """
