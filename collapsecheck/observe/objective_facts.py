"""Where a loss would move these embeddings, and these weights: towards one point, or apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from collapsecheck.errors import CollapsecheckError
from collapsecheck.objectives import NotComputable, Objective
from collapsecheck.objectives.landmarks import Landmarks, landmarks
from collapsecheck.objectives.scaled_cosine_bce import ScaledCosineBce
from collapsecheck.observe import NotObservable
from collapsecheck.observe.backward import eager, forked, run
from collapsecheck.observe.probe import Probe
from collapsecheck.observe.views import second_view
from collapsecheck.statistics.jackknife import mean_interval
from collapsecheck.user_code import in_one_line

# Items whose loss is taken together: so many, or fewer where an interval would rest on few batches.
BATCH, FEWEST = 64, 16
BATCHES, MOST_BATCHES = 6, 8
# A step is measured by how much of the length of all weights it changes: about what training does (1e-3).
STEP = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveFacts:
    """What one loss does at these embeddings.

    Parameters
    ----------
    objective : its name and settings.
    here : its value on the embeddings as they are.
    target : the value it is meant to come to; None where it has none.
    landmarks : its values at embeddings that everybody understands.
    alignment : cosine between the step that the loss asks of the embeddings (its negative gradient) and the gradient of
        their log relative spread, in [−1, 1]: below 0 the loss draws them together. NaN where it asks for nothing.
    interval : 95 % interval of that over several batches; NaN for a single one.
    through : the same for the weights, which is what training can do.
    change : relative change of the spread by one step that changes the weights by 0.1 %.
    force : how much the loss asks of an item, its gradient times the length of the embeddings, over the same at
        independent random embeddings; 0 where it cannot leave a point.
    held_by_place, held_by_bound : for a bounded loss, what the two reasons for a small force multiply to: how much less
        a loss without bound asks here than of random embeddings, and how much less than that the bounded one asks.
    violated : share of the triplets, or of the different pairs, that violate the margin; NaN without a margin.
    partners : share of the items of a batch that have another of their class in it; NaN without labels.
    items, classes : in that batch; classes None without labels.
    reasons : by name of a part, why it is missing.
    """

    objective: str
    here: float
    target: float | None
    landmarks: Landmarks
    alignment: float
    interval: tuple[float, float]
    through: float
    change: float
    force: float
    held_by_place: float
    held_by_bound: float
    violated: float
    partners: float
    items: int
    classes: int | None
    reasons: dict[str, str] = field(default_factory=dict)


def objective_facts(probe: Probe, objective: Objective) -> ObjectiveFacts:
    """Evaluate a loss on the probe, and differentiate it.

    Raises
    ------
    NotObservable
        If the loss has no value on these items, or the model does not run, with the reason.
    """
    reasons: dict[str, str] = {}
    with forked(probe), torch.enable_grad(), eager(probe.module):
        batches = _batches(probe, objective)
        rows, views, labels = batches[0]
        try:
            here = float(objective(rows.clone().requires_grad_(), labels, views).detach())
        except NotComputable as reason:
            raise NotObservable(str(reason)) from reason
        aligned = [value for one in batches if not math.isnan(value := _alignment(objective, *one))]
        if not aligned:
            reasons["alignment"] = "the loss asks for no change, or all embeddings are in one point exactly"
        mean = sum(aligned) / len(aligned) if aligned else math.nan
        marks = landmarks(objective, rows, labels, views)
        try:
            through, change = _through(probe, objective)
        except (NotObservable, NotComputable) as reason:
            through, change = math.nan, math.nan
            reasons["through"] = str(reason)
        except Exception as error:  # a backward of the user's own may fail in any way
            through, change = math.nan, math.nan
            reasons["through"] = f"the backward pass failed: {in_one_line(error)}"
        force = _force(objective, rows, labels, views)
        chance = _force(objective, _random(rows, 0), labels, None if views is None else _random(rows, 1))
        free, free_chance = math.nan, math.nan
        if marks.bounded:
            free, free_chance = (_force(ScaledCosineBce(), one, labels, None) for one in (rows, _random(rows, 0)))
    return ObjectiveFacts(
        objective=objective.shown,
        here=here,
        target=objective.TARGET,
        landmarks=marks,
        alignment=mean,
        interval=mean_interval(aligned),
        through=through,
        change=change,
        force=force / chance if chance > 0 else math.nan,
        held_by_place=free / free_chance if free_chance > 0 else math.nan,
        held_by_bound=force / free if free > 0 else math.nan,
        violated=violated(objective, rows, labels),
        partners=_partners(labels),
        items=len(rows),
        classes=None if labels is None else len(torch.unique(labels)),
        reasons=reasons,
    )


_Batch = tuple[Tensor, Tensor | None, Tensor | None]  # embeddings [n, d], those of second views, labels


def _batches(probe: Probe, objective: Objective) -> list[_Batch]:
    """Embeddings of the probe in batches of one size, with second views where they are compared."""
    rows = torch.from_numpy(probe.embeddings)
    known = [batch.labels for batch in probe.batches if batch.labels is not None]
    labels = torch.cat(known) if known and len(known) == len(probe.batches) else None
    views = None
    if objective.VIEWS:
        changed = [second_view(batch.inputs) for batch in probe.batches]
        if all(one is not None for one in changed):
            try:
                views = torch.from_numpy(probe.fed_with(changed).embeddings)
            except CollapsecheckError as error:
                raise NotObservable(f"the model does not run on second views: {error}") from error
    size = min(max(len(rows) // BATCHES, FEWEST), BATCH, len(rows))
    starts = range(0, len(rows) - size + 1, size)[:MOST_BATCHES]

    def part(tensor: Tensor | None, start: int) -> Tensor | None:
        return None if tensor is None else tensor[start : start + size]

    return [(rows[start : start + size], part(views, start), part(labels, start)) for start in starts]


def log_spread(rows: Tensor) -> Tensor:
    """Logarithm of the relative spread √(Σ‖z − z̄‖² / Σ‖z‖²) of rows [n, d], ≤ 0; raises NotComputable for one point."""
    around, whole = (rows - rows.mean(0)).square().sum(), rows.square().sum()
    if not float(around.detach()) > 0 or not bool(torch.isfinite(whole.detach())):
        raise NotComputable("all embeddings are in one point exactly")
    return 0.5 * (around.log() - whole.log())


def _alignment(objective: Objective, rows: Tensor, views: Tensor | None, labels: Tensor | None) -> float:
    try:
        step = -_gradient(lambda one, two: objective(one, labels, two), rows, views)
        apart = _gradient(lambda one, two: log_spread(one if two is None else torch.cat([one, two])), rows, views)
    except NotComputable:
        return math.nan
    sizes = float(step.norm() * apart.norm())
    return float((step * apart).sum()) / sizes if sizes > 0 else math.nan


def _gradient(value: Callable[[Tensor, Tensor | None], Tensor], rows: Tensor, views: Tensor | None) -> Tensor:
    one = rows.detach().clone().requires_grad_()
    two = None if views is None else views.detach().clone().requires_grad_()
    held = [one] if two is None else [one, two]
    found = torch.autograd.grad(value(one, two), held, allow_unused=True)
    return torch.cat([torch.zeros_like(t) if g is None else g for g, t in zip(found, held, strict=True)])


def _force(objective: Objective, rows: Tensor, labels: Tensor | None, views: Tensor | None) -> float:
    """Gradient of an item's loss times the length of the embeddings, root mean square over the items."""
    try:
        gradient = _gradient(lambda one, two: objective(one, labels, two), rows, views)
    except NotComputable:
        return math.nan
    return float(gradient.norm() * rows.norm())  # √n of the mean and √n of the length make n: that of a mean loss


def _random(rows: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(rows.shape, generator=generator, dtype=torch.float64)
    scaled: Tensor = drawn * rows.norm() / drawn.norm()
    return scaled


def _through(probe: Probe, objective: Objective) -> tuple[float, float]:
    """Cosine between a step of the weights and what would spread the embeddings; change of the spread by a step."""
    made = run(probe, paired=objective.VIEWS)
    if not made.rows.requires_grad:
        raise NotComputable("no gradient reaches any weight")
    parameters = [one for one in made.probe.module.parameters() if one.requires_grad]
    objective(*made.compared()).backward(retain_graph=True)  # type: ignore[no-untyped-call]
    step = _taken(parameters)
    log_spread(made.rows).backward()  # type: ignore[no-untyped-call]
    apart = _taken(parameters)
    along = -sum(float((g * s).sum()) for g, s in zip(step, apart, strict=True) if g is not None and s is not None)
    lengths = [math.sqrt(sum(float(one.square().sum()) for one in held if one is not None)) for held in (step, apart)]
    weights = math.sqrt(sum(float(one.detach().double().square().sum()) for one in parameters))
    if not math.isfinite(along) or not min(lengths) > 0:
        raise NotComputable("the loss asks for no change of the weights")
    return along / (lengths[0] * lengths[1]), STEP * weights * along / lengths[0]


def _taken(parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients, in double precision, which are then cleared."""
    found: list[Tensor | None] = []
    for one in parameters:
        gradient = one.grad
        if gradient is not None and gradient.is_sparse:
            gradient = gradient.to_dense()
        wide = torch.float32 if one.device.type == "mps" else torch.float64
        found.append(None if gradient is None else gradient.to(wide))
        one.grad = None
    return found


def _partners(labels: Tensor | None) -> float:
    if labels is None:
        return math.nan
    _, numbers, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    return float((counts[numbers] > 1).double().mean())


def violated(objective: Objective, rows: Tensor, labels: Tensor | None) -> float:
    """Share of all triplets (of different pairs, for losses of pairs) nearer than the margin; NaN without a margin."""
    if objective.margin is None or labels is None:
        return math.nan
    distance = torch.cdist(rows, rows)
    alike = labels[:, None] == labels[None]
    itself = torch.eye(len(rows), dtype=torch.bool)
    if "triplet" not in objective.id:
        return float((distance[~alike] < objective.margin).double().mean())
    valid = (alike & ~itself)[:, :, None] & ~alike[:, None, :]
    short = distance[:, :, None] - distance[:, None, :] + objective.margin > 0
    return float(short[valid].double().mean())
