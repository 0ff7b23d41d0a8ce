"""What a cause may look at: the observations, what failed, the depth profile, and a probe to experiment on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from torch import nn

from collapsecheck.checkpoints.optimiser_facts import OptimiserFacts
from collapsecheck.checkpoints.recipe import Recipe
from collapsecheck.checks import Finding, Kind
from collapsecheck.learnt import LearntCollapse, learnt_collapse
from collapsecheck.models.freshness import UNTRAINED, Freshness, measure_freshness
from collapsecheck.objectives import Objective
from collapsecheck.observe import NotObservable, Observations
from collapsecheck.observe.layers import Layer
from collapsecheck.observe.objective_facts import ObjectiveFacts, objective_facts
from collapsecheck.observe.probe import Probe
from collapsecheck.observe.rehearsal import Rehearsal
from collapsecheck.observe.twin import untrained
from collapsecheck.observe.weights import Weight, biases_of, weights_of
from collapsecheck.onset import Onset, locate
from collapsecheck.user_code import in_one_line

M = TypeVar("M", bound=nn.Module)


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
    recipe : how the model was trained, as far as the checkpoint or the user tells.
    objective : the loss of the training, where it is told and can be computed.
    trial : seconds that may be spent on training fresh copies; 0 for none.
    read_optimiser : reads what the optimiser in the checkpoint tells, see `optimiser`.
    """

    seen: Observations
    findings: Sequence[Finding]
    kind: Kind | None
    probe: Probe
    layers: Sequence[Layer]
    recipe: Recipe = field(default_factory=Recipe)
    objective: Objective | None = None
    trial: float = 0.0
    read_optimiser: Callable[[], OptimiserFacts | None] = lambda: None

    def __post_init__(self) -> None:
        self.find, self.confirm = self.probe.halves()
        self.unasked = ""  # why the loss that is told has no value here

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
        """What several layers have learnt to make alike; None where it was not learnt, or cannot be told."""
        if self.kind not in (Kind.COMPLETE, Kind.CONE) or self.untrained:
            return None
        return learnt_collapse(self.find, self.path, self.weights)

    @cached_property
    def asked(self) -> ObjectiveFacts | None:
        """What the loss of the training does at these embeddings; None where it is not told or has no value."""
        if self.objective is None:
            return None
        try:
            return objective_facts(self.probe, self.objective)
        except NotObservable as reason:
            self.unasked = str(reason)
        except Exception as error:  # a model or a loss of the user's may fail in any way, and must not cost the scan
            self.unasked = in_one_line(error)
        return None

    @cached_property
    def rehearsal(self) -> Rehearsal | None:
        """Trains fresh copies as the model was trained; None without a loss, or where no time is given for it."""
        if self.objective is None or self.trial <= 0:
            return None
        return Rehearsal(
            probe=self.find,
            objective=self.objective,
            kind=self.recipe.kind,
            rate=self.recipe.rate,
            weight_decay=self.recipe.weight_decay or 0.0,
            seconds=self.trial,
        )

    @cached_property
    def untrained_spread(self) -> float:
        """Relative spread of the embeddings of an untrained twin; NaN where it cannot be made to run."""
        try:
            found = untrained(self.find).seen.measurements.get("unit_spread")
        except Exception:  # a model may hold what cannot be copied, and a fresh one may fail in any way
            return math.nan
        return found.value if found is not None else math.nan

    @cached_property
    def optimiser(self) -> OptimiserFacts | None:
        """What the optimiser in the checkpoint tells; reads all moments, twice as much as the weights. None without."""
        return self.read_optimiser()

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

    @cached_property
    def freshness(self) -> Freshness:
        """How much of the weights looks as if nobody had trained it; takes a second for a large model."""
        return measure_freshness(self.module)

    @property
    def untrained(self) -> bool:
        """Whether (nearly) all weights are as their layers draw them, although none was missing in the file."""
        lost = self.seen.missing_keys or self.seen.mismatched_keys
        return not lost and (self.freshness.share or 0.0) >= UNTRAINED

    def innocent(self, layer: Layer, *kinds: type[nn.Module]) -> tuple[Layer, nn.Module] | None:
        """Another step of these classes, nearest in depth, that is not the same module: for a sham change."""
        others = [(one, module) for one, module in self.steps(*kinds) if one.site.layer != layer.site.layer]
        return min(others, key=lambda found: abs(found[0].depth - layer.depth), default=None)
