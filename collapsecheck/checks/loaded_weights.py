"""Tensors that did not find their place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class LoadedWeights(Check):
    """Whether every tensor of the model came from the checkpoint.

    Measures: missing, unexpected and wrongly shaped tensors. Without `--allow-partial` any of them is an error
    at loading; with it, this finding is what remains of them.
    Healthy: none.
    Fails: tensors that are missing or of another shape keep their random initial values (warning); tensors
    that are only unused in the file are a note.
    """

    HEALTHY = testing.fully_loaded
    COLLAPSED = testing.partly_loaded

    def run(self, seen: Observations) -> Iterator[Finding]:
        """List what did not fit."""
        if seen.missing_keys is None:
            yield self.skipped("no model was loaded")
            return
        random = (*seen.missing_keys, *seen.mismatched_keys)
        evidence = {
            "missing": list(seen.missing_keys),
            "mismatched": list(seen.mismatched_keys),
            "unexpected": list(seen.unexpected_keys),
        }
        if random:
            yield self.failed(
                Level.WARNING,
                f"the checkpoint lacks {len(random)} of the model's tensors, which keep random values; "
                f"the first: {random[0]}",
                value=float(len(random)),
                threshold=0.0,
                evidence=evidence,
            )
        elif seen.unexpected_keys:
            yield self.failed(
                Level.NOTE,
                f"{len(seen.unexpected_keys)} tensors of the checkpoint are not used by the model, "
                f"the first: {seen.unexpected_keys[0]}",
                value=0.0,
                threshold=0.0,
                evidence=evidence,
            )
        else:
            yield self.passed("every tensor of the model came from the checkpoint", value=0.0, threshold=0.0)
