"""Gradients that do not reach the first layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class VanishingGradient(Check):
    """Whether a gradient that sets out at the embedding arrives at the first layers.

    Measures: gradient norm times weight norm of each layer (what a change of its weights by 1 % does to the objective,
    whatever their scale), the first three layers over the last three. The objective is the loss that is stated, or
    one that draws each item in a random direction of its own.
    Healthy: 0.01 to 10; 0.002 in a deep residual net that nobody has trained.
    Fails: below 1e-4 (warning): while the last layers change by as much as they are, the first ones stay where they
    began. And where the gradient of all first layers is exactly zero, since a later one lets nothing through.
    Usual reasons: many layers without normalisation or residual connections, saturated sigmoids, dead rectifiers,
    weights that are far too small (Hochreiter 1991; Glorot & Bengio 2010).
    """

    thresholds = {"warning": 1e-4}
    HEALTHY = testing.learning
    COLLAPSED = testing.vanishing

    def run(self, seen: Observations) -> Iterator[Finding]:
        """The dead first: nothing decays where nothing arrives."""
        found = seen.gradients
        limit = self.limits["warning"]
        dead = found.dead_start
        of = f"of {found.objective}" if found.stated else "of a spread that needs no labels"
        evidence = {
            "objective": found.objective,
            "layers": {one.layer: one.ratio for one in found.layers if one.gradient >= 0},
            "similarity": found.similarity,
        }
        if dead:
            everything = "any layer" if not found.learning else f"the first {len(dead)} layers, up to {dead[-1].layer}"
            yield self.failed(
                Level.WARNING,
                f"the gradient {of} is exactly zero at {everything}: a later one lets nothing through",
                value=0.0, threshold=limit, layer=dead[-1].layer, evidence=evidence,
            )  # fmt: skip
            return
        layers, decay = found.learning, found.decay
        if not layers or math.isnan(decay):
            yield self.skipped("no gradient arrives at any layer; see cut-gradient and exploding-gradient")
            return
        if decay < limit:
            first, last = layers[0], layers[-1]
            yield self.failed(
                Level.WARNING,
                f"the gradient {of} fades on its way back: at {first.layer or 'the first layer'} it is {decay:.1e} of "
                f"what it is at {last.layer or 'the last'}, so that training hardly reaches the first layers",
                value=decay, threshold=limit, layer=first.layer, evidence=evidence,
            )  # fmt: skip
        else:
            yield self.passed("the gradient reaches all layers", value=decay, threshold=limit, evidence=evidence)
