"""What a loss costs at embeddings that everybody understands: one point for all, classes apart, chance, the best."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from collapsecheck.objectives import NotComputable, Objective

# Values that a search for the least may cost; a loss below `BOTTOMLESS` has no least one.
SEARCHED, BOTTOMLESS = 40, -1e6
# Items that landmarks are of, where these hold what the loss compares: a search with more takes seconds.
ITEMS = 32
# Length of ideal rows over the margin: distances are a matter of scale, and the ideal may have any.
ROOM = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmarks:
    """Values of a loss on n items of these classes; NaN where it has none.

    `one_point`: all embeddings equal, wherever that is cheapest. `apart`: each class (each item, for losses without
    labels) in a direction of its own, views equal. `chance`: independent random rows. `floor`: the least that was
    found, by descent from `apart` and from the embeddings themselves, rows being free to go anywhere; −∞ where there is
    no least. `alike` and `different`: the least for a batch of two items of one class, and of two; NaN for losses
    without labels. `scale_free`: whether longer rows cost the same. `parted`: how much farther than
    those of one class items of two are from each other at the best that was found, in [−1, 1]; 0 in one point.
    """

    one_point: float
    apart: float
    chance: float
    floor: float
    alike: float = math.nan
    different: float = math.nan
    scale_free: bool = False
    parted: float = math.nan

    @property
    def bounded(self) -> bool:
        """Whether not even two items alone can cost nothing: at best a tenth of what chance costs, alike or not.

        Of losses of directions only: what another one cannot reach may be a constant, as that of smoothed labels.
        """
        least = 0.1 * abs(self.chance)
        return self.scale_free and self.alike > least and self.different > least

    @property
    def attracted(self) -> bool:
        """Whether nothing is cheaper than one point for all: within 1 % of the way from the floor to chance."""
        room = self.chance - self.floor
        return bool(self.one_point - self.floor <= 0.01 * max(room, 1e-12)) if math.isfinite(room) else False

    @property
    def inverted(self) -> bool:
        """Whether classes apart cost more than one point, and are no farther apart even where it costs least.

        (By 5 % of the way from the floor. That classes are wanted elsewhere, as along the axes of logits, is no fault.)
        """
        room = max(self.chance, self.apart, self.one_point) - self.floor
        dearer = bool(self.apart - self.one_point > 0.05 * room) if math.isfinite(room) and room > 0 else False
        return dearer and not self.parted > 0.05


def landmarks(objective: Objective, rows: Tensor, labels: Tensor | None, views: Tensor | None) -> Landmarks:
    """Evaluate a loss at the landmarks.

    Parameters
    ----------
    rows : the embeddings [n, d] as they are, in float64: their dimension and length are kept, and the first few.
    labels : classes [n].
    views : embeddings of second views [n, d], where the loss compares such.
    """
    rows, labels, views = _few(objective, rows, labels, views)
    n, d = rows.shape
    size = float(rows.square().sum(1).mean().sqrt()) or 1.0
    room = max(size, ROOM * (objective.margin or 0.0))
    generator = torch.Generator().manual_seed(0)
    if labels is None or not objective.needs_labels:
        groups = torch.arange(n)
    else:
        groups = torch.unique(labels, return_inverse=True)[1].cpu()
    count = int(groups.max()) + 1
    directions = torch.randn(count, d, generator=generator, dtype=torch.float64)
    if count <= d:
        directions = torch.linalg.qr(directions.T)[0].T
    ideal = room * functional.normalize(directions, dim=1)[groups]
    chance = size * functional.normalize(torch.randn(n, d, generator=generator, dtype=torch.float64), dim=1)
    other = size * functional.normalize(torch.randn(n, d, generator=generator, dtype=torch.float64), dim=1)
    point = (size * functional.normalize(rows.mean(0, keepdim=True), dim=1)).expand(n, d).clone()
    if not bool(point.abs().sum() > 0):
        point = torch.full_like(rows, size / math.sqrt(d))

    def at(where: Tensor, second: Tensor | None = None) -> float:
        second = where if second is None else second
        try:
            return float(objective(where, labels, second if views is not None else None).detach()) + 0.0  # no -0
        except NotComputable:
            return math.nan

    apart = at(ideal)
    paired = views is not None

    def in_one(place: Tensor, labels: Tensor | None, second: Tensor | None) -> Tensor:
        return objective(place.expand(n, d), labels, None if second is None else second.expand(n, d))

    together = (at(point), _least(in_one, point[:1], labels, paired))
    one_point = min((value for value in together if not math.isnan(value)), default=math.nan)
    descents = [_descent(objective, start, labels, paired) for start in (ideal, rows)]
    found = [(apart, ideal), (one_point, point), *descents]
    floor, best = min(
        (one for one in found if not math.isnan(one[0])), key=lambda one: one[0], default=(math.nan, rows)
    )
    return Landmarks(
        one_point=one_point,
        apart=apart,
        chance=at(chance, other),
        floor=floor,
        parted=_parted(best, labels),
        alike=_pair(objective, chance, (0, 0)),
        different=_pair(objective, chance, (0, 1)),
        scale_free=abs(at(3 * chance, 3 * other) - at(chance, other)) <= 1e-6 * abs(at(chance, other)),
    )


def _few(
    objective: Objective, rows: Tensor, labels: Tensor | None, views: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The first items, as few as the loss can do with."""
    for count in (ITEMS, len(rows)):
        few = rows[:count], None if labels is None else labels[:count], None if views is None else views[:count]
        try:
            objective(*few)
        except NotComputable:
            continue
        return few
    return rows, labels, views


def _pair(objective: Objective, rows: Tensor, classes: tuple[int, int]) -> float:
    """The least that two items alone can cost."""
    if not objective.needs_labels:
        return math.nan
    pair = torch.stack([rows[0], rows[1] if classes[0] != classes[1] else rows[0] + 0.1 * rows[1]])

    def loss(given: Tensor, labels: Tensor | None, views: Tensor | None) -> Tensor:
        return objective.loss(given, labels, views)  # past the rule that a batch has two of each

    return _least(loss, pair, torch.tensor(classes), paired=False)


def _parted(rows: Tensor, labels: Tensor | None) -> float:
    """How much farther from each other items of two classes are than those of one."""
    if labels is None:
        return math.nan
    distance = torch.cdist(rows, rows)
    alike = labels[:, None] == labels[None]
    others = alike & ~torch.eye(len(rows), dtype=torch.bool)
    if not bool(others.any()) or bool(alike.all()):
        return math.nan
    within, between = float(distance[others].mean()), float(distance[~alike].mean())
    # In one point what is left of both is rounding.
    return (between - within) / (between + within) if between + within > 1e-4 * float(rows.norm(dim=1).mean()) else 0.0


def _least(objective: Callable[..., Tensor], start: Tensor, labels: Tensor | None, paired: bool) -> float:
    """The least value that descent finds."""
    return _descent(objective, start, labels, paired)[0]


def _descent(
    objective: Callable[..., Tensor], start: Tensor, labels: Tensor | None, paired: bool
) -> tuple[float, Tensor]:
    """The least value that descent finds, and where, with second views equal to the first."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(start.shape, generator=generator, dtype=torch.float64)
    size = start.square().mean().sqrt()
    rows = (start.detach() + 1e-3 * size * noise).requires_grad_()
    descent = torch.optim.LBFGS([rows], max_iter=SEARCHED, max_eval=SEARCHED, line_search_fn="strong_wolfe")
    least, where = math.inf, start.detach()

    def value() -> Tensor:
        nonlocal least, where
        descent.zero_grad()
        now = objective(rows, labels, rows if paired else None)
        reached = float(now.detach())
        if not math.isfinite(reached) or reached < BOTTOMLESS:
            raise NotComputable("it has no least value")
        if reached < least:
            least, where = reached, rows.detach().clone()
        if now.requires_grad:
            now.backward()  # type: ignore[no-untyped-call]
        return now

    try:
        with torch.enable_grad():
            descent.step(value)  # type: ignore[no-untyped-call]
    except NotComputable:
        return (-math.inf if least < 0 else least if math.isfinite(least) else math.nan), where
    except Exception:  # the descent leads where a loss of the user's was never meant to be
        return (least if math.isfinite(least) else math.nan), where
    return least, where
