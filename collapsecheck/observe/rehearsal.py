"""A short training from fresh weights, on the probe: what only training can tell of an objective or a rate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from collapsecheck.checkpoints.optimiser_kinds import steps_by_rate
from collapsecheck.datasets.inputs import Inputs, each
from collapsecheck.errors import CollapsecheckError
from collapsecheck.objectives import NotComputable, Objective
from collapsecheck.objectives.trained_head import TrainedHead
from collapsecheck.observe import NotObservable
from collapsecheck.observe.backward import affordable, eager, forked, gathered
from collapsecheck.observe.probe import Probe, ProbeBatch
from collapsecheck.observe.twin import untrained
from collapsecheck.observe.views import second_view
from collapsecheck.user_code import in_one_line

STEPS, BATCH = 200, 64
# Rates of optimisers where nobody tells one.
USUAL_RATE, USUAL_SGD_RATE = 1e-3, 1e-2


@dataclass(kw_only=True)
class Rehearsal:
    """Trains fresh copies of a model on the items of a probe, as a training that is told of did, or with one change.

    The number of steps is fixed, so that a rehearsal gives the same again; it is given up when `seconds` are spent, by
    all rehearsals of this object together.

    Parameters
    ----------
    probe : items to train on, with labels where the objective compares classes.
    objective : the loss.
    kind : the optimiser as the checkpoint names it; plain SGD gets a momentum of 0.9.
    rate, weight_decay : its settings.
    seconds : all the time there is.
    """

    probe: Probe
    objective: Objective
    kind: str | None = None
    rate: float | None = None
    weight_decay: float = 0.0
    seconds: float
    spent: float = field(default=0.0, init=False)
    _made: dict[tuple[str, float, float], Probe] = field(default_factory=dict, init=False)

    @property
    def adaptive(self) -> bool:
        """Whether the optimiser is Adam or one of its kind; the usual choice where it is not known."""
        return self.kind is None or steps_by_rate(self.kind)

    @property
    def used_rate(self) -> float:
        """The rate that was told, or a usual one."""
        return self.rate or (USUAL_RATE if self.adaptive else USUAL_SGD_RATE)

    def trained(
        self, *, objective: Objective | None = None, rate: float | None = None, weight_decay: float | None = None
    ) -> Probe:
        """The probe with a copy trained from fresh weights, with these changes; each combination is trained once.

        Raises
        ------
        NotObservable
            When time is up, or the training fails, with the reason.
        """
        loss, rate = objective or self.objective, rate or self.used_rate
        decay = self.weight_decay if weight_decay is None else weight_decay
        key = (loss.shown, rate, decay)
        if key not in self._made:
            begin = time.monotonic()
            try:
                self._made[key] = self._train(loss, rate, decay, begin)
            finally:
                self.spent += time.monotonic() - begin
        return self._made[key]

    def _train(self, objective: Objective, rate: float, decay: float, begin: float) -> Probe:
        with forked(self.probe), torch.enable_grad(), eager(self.probe.module):
            torch.default_generator.manual_seed(self.probe.seed)
            fresh = untrained(self.probe.in_full_precision(), seed=self.probe.seed)
            module = fresh.module.requires_grad_(requires_grad=True).train()
            learnt = [one for one in module.parameters() if one.is_floating_point()]
            if not learnt:
                raise NotObservable("the model has no parameters here, so that there is nothing to train")
            batch = gathered(self.probe, items=10**6)
            size = min(BATCH, affordable(fresh, batch))
            if isinstance(objective, TrainedHead) and batch.labels is not None:
                classes = int(batch.labels.max()) + 1
                learnt += objective.made_for(fresh.first(2).embeddings.shape[1], classes, fresh.device).parameters()
            optimiser = self._optimiser(learnt, rate, decay)
            try:
                with fresh.readout.attached():
                    for number, (inputs, labels) in enumerate(_drawn(batch, fresh.device, size)):
                        if self.spent + time.monotonic() - begin > self.seconds:
                            reason = f"the {self.seconds:.0f} s of --trial were up after {number} of {STEPS} steps"
                            raise NotObservable(reason)
                        loss = self._loss(fresh.readout, objective, inputs, labels, number)
                        if not math.isfinite(float(loss.detach())):
                            break  # no further step mends it
                        optimiser.zero_grad()
                        loss.backward()  # type: ignore[no-untyped-call]
                        optimiser.step()
            except NotComputable as reason:
                raise NotObservable(f"it could not be trained again: {reason}") from reason
            except (CollapsecheckError, RuntimeError) as error:
                raise NotObservable(f"it could not be trained again: {in_one_line(error)}") from error
            module.eval().requires_grad_(requires_grad=False)
        return self.probe.on(module)

    def _loss(
        self, read: Callable[[Inputs], Tensor], objective: Objective, inputs: Inputs, labels: Tensor | None, number: int
    ) -> Tensor:
        """The loss of one batch; where views are compared, of two new ones."""
        if not objective.VIEWS:
            return objective(read(inputs), labels, None)
        one, two = second_view(inputs, 2 * number), second_view(inputs, 2 * number + 1)
        if one is None or two is None:
            raise NotComputable(f"{objective.id} compares two views of an item, which cannot be made of this data")
        return objective(read(one), labels, read(two))

    def _optimiser(self, parameters: list[nn.Parameter], rate: float, decay: float) -> torch.optim.Optimizer:
        if not self.adaptive:
            return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=decay)
        kind = torch.optim.AdamW if self.kind is not None and self.kind.startswith("AdamW") else torch.optim.Adam
        return kind(parameters, lr=rate, weight_decay=decay)


def _drawn(batch: ProbeBatch, device: torch.device, size: int) -> Iterator[tuple[Inputs, Tensor | None]]:
    """Random batches of the items, as many as there are steps."""
    for _ in range(STEPS):
        chosen = torch.randperm(len(batch.indices))[:size]
        inputs = each(batch.inputs, lambda tensor, rows=chosen: tensor[rows].to(device))  # type: ignore[misc]
        yield inputs, None if batch.labels is None else batch.labels[chosen].to(device)
