"""Whether a collapse was learnt: layer by layer less spread than in an untrained twin, and not at one layer alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from collapsecheck.observe.layers import Flow, Layer
from collapsecheck.observe.probe import Probe
from collapsecheck.observe.twin import recalibrated, untrained
from collapsecheck.observe.weights import Weight

# An untrained twin with less relative spread than this is no measure of anything.
ALONE = 1e-3
# A collapse was learnt if no more than this share of an untrained twin's spread is left at the end, ...
LEARNT = 0.3
# ... no more than this one before the layer where most is lost, and so many layers left no more than this each:
# one spoilt layer shows behind itself and behind the next, but not before.
BEFORE, TOGETHER, SEVERAL = 0.65, 0.9, 3
# A shallow net has no three layers: it may have been learnt if so many leave no more than this each.
FEW, CLOSE = 2, 0.75
# Relative spread of inputs below which the data explain it: normalisation makes much of what little there is.
ALIKE = 0.05
# With less than this share all is lost, and how much less says nothing.
GONE = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntCollapse:
    """Layers that make items more alike than an untrained twin does.

    `layers` is how many do, up to the one where most is lost; `share` the spread at the end over the twin's, `last` the
    step there; `median_size` that of the weights (`Weight.size`); `reached` the layers from the first one on. It is
    `sure` where the spread has fallen before the layer at which most is lost, which no fault at a single layer brings
    about.
    """

    layers: int
    share: float
    last: str
    median_size: float
    reached: frozenset[str]
    sure: bool

    @property
    def roots(self) -> frozenset[str]:
        """The layers at which whatever else is found is a consequence; none unless it is sure."""
        return self.reached if self.sure else frozenset()


def learnt_collapse(probe: Probe, path: Sequence[Layer], weights: Sequence[Weight]) -> LearntCollapse | None:
    """Compare a model with an untrained twin; None where several layers have not learnt to make items alike.

    Sound training moves items apart: behind each layer there is about as much spread as in an untrained twin, or more.
    A fault at one layer, or of the data, leaves those before it alone. Normalisation with statistics that do not fit
    the items hides all that: both get those of these items.

    Parameters
    ----------
    probe
        Items for both.
    path
        What happened in the model, up to the embedding.
    weights
        The matrices on that path.
    """
    begin = path[0].before if path else None
    if any(weight.alike for weight in weights) or (begin is not None and begin.relative_spread < ALIKE):
        return None
    alone = {str(layer.site): _spread(layer.after) for layer in untrained(probe).layers}
    fitted = recalibrated(probe)
    own = {str(layer.site): layer for layer in (path if fitted is probe else fitted.layers)}
    shares: list[tuple[Layer, float]] = []
    for site in dict.fromkeys(str(one.layer.site) for one in weights):
        usual, layer = alone.get(site, math.nan), own.get(site)
        if layer is not None and usual > ALONE and layer.after.finite:
            shares.append((layer, _spread(layer.after) / usual))
    if len(shares) < FEW or shares[-1][1] > LEARNT:
        return None
    falls = np.diff(np.log([1.0, *(max(share, GONE) for _, share in shares)]))
    steepest = int(falls.argmin())
    before = shares[steepest - 1][1] if steepest else 1.0
    learning = np.flatnonzero(falls[: steepest + 1] < math.log(TOGETHER))
    sure = before <= BEFORE and len(learning) >= SEVERAL
    if not sure:
        learning = np.flatnonzero(falls < math.log(CLOSE))
    if len(learning) < FEW:
        return None
    first = shares[int(learning[0])][0].depth
    return LearntCollapse(
        layers=len(learning),
        share=shares[-1][1],
        last=str(shares[-1][0].site),
        median_size=float(np.median([weight.size for weight in weights])),
        reached=frozenset(layer.site.layer for layer in path if layer.depth >= first),
        sure=sure,
    )


def _spread(flow: Flow) -> float:
    """Relative spread of the rows, or of their directions where that is less: lengths may differ for nothing."""
    cosine = flow.mean_cosine
    return min(flow.relative_spread, math.sqrt(max(1 - cosine, 0.0)) if math.isfinite(cosine) else math.inf)
