"""What a cause may look at: the observations, what failed, the depth profile, and a probe to experiment on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from torch import nn

from collapsecheck.checkpoints.recipe import Recipe
from collapsecheck.checks import Finding, Kind
from collapsecheck.errors import CollapsecheckError
from collapsecheck.observe import NotObservable, Observations
from collapsecheck.observe.layers import Flow, Layer
from collapsecheck.observe.probe import Probe
from collapsecheck.observe.twin import untrained
from collapsecheck.observe.weights import Weight, biases_of, weights_of
from collapsecheck.onset import Onset, locate

M = TypeVar("M", bound=nn.Module)

# An untrained twin with less relative spread than this is no measure of anything.
ALONE = 1e-3
# A collapse was learnt if no more than this share of an untrained twin's spread is left at the end, ...
LEARNT = 0.3
# ... no more than this one before the layer where most is lost, and so many layers left no more than this each:
# one spoilt layer shows behind itself and behind the next, but not before.
BEFORE, TOGETHER, SEVERAL = 0.65, 0.9, 3
# With less than this share all is lost, and how much less says nothing.
GONE = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntCollapse:
    """Layers that make items more alike than an untrained twin does.

    `layers` is how many do, up to the one where most is lost; `share` the spread at the end over the twin's, `last` the
    step there; `median_size` that of the weights (`Weight.size`); `reached` the layers from the first one on.
    """

    layers: int
    share: float
    last: str
    median_size: float
    reached: frozenset[str]


@dataclass(kw_only=True)
class Scene:
    """One scan, as far as it has come.

    Parameters
    ----------
    seen : observations of all data.
    findings : what the checks said about them.
    kind : what was lost, as the verdict has it.
    probe : a sample of the items with the model; `find` and `confirm` are its halves.
    layers : what happened in depth on the probe.
    told : asked once, if at all, for what is known of the training: from the checkpoint, or from the user.
    """

    seen: Observations
    findings: Sequence[Finding]
    kind: Kind | None
    probe: Probe
    layers: Sequence[Layer]
    told: Callable[[], Recipe] = field(default=Recipe)

    def __post_init__(self) -> None:
        self.find, self.confirm = self.probe.halves()

    def confirming_on(self, probe: Probe) -> Scene:
        """The same scene, with its changes judged on other items."""
        other = replace(self)
        other.confirm = probe
        return other

    @cached_property
    def path(self) -> tuple[Layer, ...]:
        """The steps up to the embedding, in the order of execution."""
        readout = self.probe.readout
        at = [layer.depth for layer in self.layers if layer.site.layer == readout.layer and not layer.site.function]
        if not readout.layer or not at:
            return tuple(self.layers)
        end = at[-1] - (readout.where == "input")
        return tuple(layer for layer in self.layers if layer.depth <= end)

    @cached_property
    def onset(self) -> Onset | None:
        """Where the loss begins; None without one, or where it does not show in depth."""
        return locate(self.path, self.kind, lambda: self.probe.non_finite) if self.kind is not None else None

    @cached_property
    def learnt_collapse(self) -> LearntCollapse | None:
        """What several layers have learnt to make alike; None where it is no learnt collapse, or that cannot be told.

        Sound training moves items apart: behind each layer there is about as much spread as in an untrained twin, or
        more. A fault at one layer, or of the data, leaves those before it alone.
        """
        if self.kind not in (Kind.COMPLETE, Kind.CONE) or any(weight.alike for weight in self.weights):
            return None
        alone = {str(layer.site): _spread(layer.after) for layer in untrained(self.find).layers}
        shares: list[tuple[Layer, float]] = []
        for layer in {str(one.layer.site): one.layer for one in self.weights}.values():
            usual = alone.get(str(layer.site), math.nan)
            if usual > ALONE and layer.after.finite:
                shares.append((layer, _spread(layer.after) / usual))
        if len(shares) < 3 or shares[-1][1] > LEARNT:
            return None
        falls = np.diff(np.log([1.0, *(max(share, GONE) for _, share in shares)]))
        steepest = int(falls.argmin())
        before = shares[steepest - 1][1] if steepest else 1.0
        learning = np.flatnonzero(falls[: steepest + 1] < math.log(TOGETHER))
        if before > BEFORE or len(learning) < SEVERAL:
            return None
        first = shares[int(learning[0])][0].depth
        return LearntCollapse(
            layers=len(learning),
            share=shares[-1][1],
            last=str(shares[-1][0].site),
            median_size=float(np.median([weight.size for weight in self.weights])),
            reached=frozenset(layer.site.layer for layer in self.path if layer.depth >= first),
        )

    @cached_property
    def recipe(self) -> Recipe:
        """How the model was trained, as far as anybody tells."""
        try:
            return self.told()
        except CollapsecheckError as error:  # the file may have gone in the meantime
            raise NotObservable(str(error)) from error

    @property
    def module(self) -> nn.Module:
        """The model; not to be changed."""
        return self.probe.module

    def steps(self, *kinds: type[nn.Module]) -> Iterator[tuple[Layer, nn.Module]]:
        """The steps on the path that are modules of these classes, with the modules."""
        modules = dict(self.module.named_modules())
        for layer in self.path:
            module = modules.get(layer.site.layer)
            if not layer.site.function and isinstance(module, kinds):
                yield layer, module

    @cached_property
    def weights(self) -> tuple[Weight, ...]:
        """The matrices of weights on the path, in the order in which they take part; each once."""
        found: dict[tuple[str, str], Weight] = {}
        for layer in self.path:
            for weight in weights_of(layer, self.module):
                found.setdefault((weight.name, weight.title), weight)
        return tuple(found.values())

    @cached_property
    def biases(self) -> dict[str, Layer]:
        """What is added to every item alike, by name, with the steps that do so."""
        found: dict[str, Layer] = {}
        for layer in self.path:
            for name in biases_of(layer, self.module):
                found.setdefault(name, layer)
        return found

    def innocent(self, layer: Layer, *kinds: type[nn.Module]) -> tuple[Layer, nn.Module] | None:
        """Another step of these classes, nearest in depth, that is not the same module: for a sham change."""
        others = [(one, module) for one, module in self.steps(*kinds) if one.site.layer != layer.site.layer]
        return min(others, key=lambda found: abs(found[0].depth - layer.depth), default=None)


def _spread(flow: Flow) -> float:
    """Relative spread of the rows, or of their directions where that is less: lengths may differ for nothing."""
    cosine = flow.mean_cosine
    return min(flow.relative_spread, math.sqrt(max(1 - cosine, 0.0)) if math.isfinite(cosine) else math.inf)
