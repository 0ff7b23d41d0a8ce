"""A model that is, or names, code: with `--trust-checkpoint` it runs, in a child process with less rights."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import ClassVar, Literal

from torch import nn

from collapsecheck.checkpoints import Checkpoint
from collapsecheck.checkpoints.state_dicts import Found
from collapsecheck.datasets.model_input import ModelInput
from collapsecheck.errors import NotLoadableError, printable
from collapsecheck.models.architecture import Architecture
from collapsecheck.models.child import ChildModule, open_child
from collapsecheck.models.sources import ModelSource
from collapsecheck.recognition.alignment import Shapes

_CODE = {"torchscript": "TorchScript", "torch-export": "a graph of torch.export"}


class TrustedCode(ModelSource):
    """TorchScript, exported programs, and pickled modules of the author's own classes."""

    rank: ClassVar[int] = 30

    def offer(self, checkpoint: Checkpoint, found: Found | None, *, trusted: bool) -> Architecture | None:
        """Run the file's code if the user trusts it.

        Raises
        ------
        NotLoadableError
            If the model is code and the user did not say so.
        """
        shown = _CODE.get(checkpoint.format)
        pickled = [one for one in found.usable if one.module is not None] if found is not None else []
        if shown is None and not (trusted and pickled):
            return None
        if not trusted:
            raise NotLoadableError(
                f"the model is code ({shown}); --trust-checkpoint runs it in a limited child process; without, "
                "--model-def FILE:CALLABLE takes its weights alone"
            )
        if sys.platform == "win32":
            raise NotLoadableError(
                "--trust-checkpoint needs Linux or macOS: its child process is limited by what they have"
            )
        if any(note.id == "native-code" for note in checkpoint.notes):
            raise NotLoadableError(
                "the model is compiled native code (AOTInductor), which collapsecheck does not run; "
                "save the program itself with torch.export.save"
            )
        if shown is not None:
            return CodeArchitecture(checkpoint, name=shown)
        record, key = pickled[0].module, pickled[0].key
        scripts = (
            [part.path for _, part in record.named_modules() if part.path.startswith("__main__.")] if record else []
        )
        if scripts:
            raise NotLoadableError(
                f"the class {printable(scripts[0])} is one of the script that saved the model, which cannot be "
                "imported; pass that script with --model-def FILE:CALLABLE (the weights are then taken from this file)"
            )
        return CodeArchitecture(checkpoint, name=record.path if record else "", key=key)


class CodeArchitecture(Architecture):
    """A model that runs in a child; `reason` says within which limits, once it was built."""

    trust: Literal["data-only", "known-classes", "code"] = "code"

    def __init__(self, checkpoint: Checkpoint, *, name: str, key: str = "") -> None:
        self._checkpoint = checkpoint
        self._key = key
        self.name = name
        self.reason = "its own code, as --trust-checkpoint allows"

    def expected(self) -> Shapes | None:
        """The code brings its weights along."""
        return None

    def build(self, given: Shapes, *, complete: bool = False) -> nn.Module:  # noqa: ARG002
        """Start the child, and load the model there."""
        module = open_child(self._checkpoint.format, self._checkpoint.path, self._key)
        held = ", ".join(module.facts.held) or "no limits that this system has"
        self.reason = f"its own code, as --trust-checkpoint allows, in a child process ({held})"
        self.assumed = tuple(_limits(module))
        self.parameters = module.facts.parameters
        self.takes = ModelInput(
            channels=module.facts.channels,
            sound_channels=module.facts.sound_channels,
            token_ids=module.facts.token_ids,
            arch_name=None,
        )
        return module.eval()


def _limits(module: ChildModule) -> Iterator[str]:
    if module.facts.batch is not None and module.facts.batch[0] == module.facts.batch[1]:
        count = module.facts.batch[0]
        yield f"that its items do not depend on each other: it takes {count} at once, and batches are cut to that"
