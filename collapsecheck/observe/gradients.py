"""Gradients on a few items: what training would do to each layer, how the embedding follows its input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

ITEMS = 64  # in the batch of the probe ...
LEARNING = 32  # ... of which gradients come back through so many, where the objective does not compare items
FEW = 8  # of these for what costs more for each item
LEAST = 4
# How far embeddings move, over their length, when the weights of a layer are moved by a hundredth, from where the layer
# counts as used: rounding moves them by 1e-6.
MOVED = 1e-5
# How many layers at either end are looked at: one of them may be a side branch, of which little depends.
END = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGradient:
    """The gradient of an objective at the weights that one module holds itself: its matrices, if it has any.

    Norms are Euclidean, ≥ 0.

    `tensors` are the names of its parameters. `gradient` is NaN where none comes back at all; then, and where it is
    exactly zero, `moves` says how far the embeddings move when the weights are changed by a hundredth (root mean
    square over that of the embeddings; NaN where that was not tried): what moves them without a gradient is cut
    off, what does not move them is dead or not used. `frozen` is whether the model says that it is not to be trained,
    `fresh` whether its weights look as its class draws them (None: too few to tell, or not asked).
    """

    layer: str
    type: str
    depth: int
    tensors: tuple[str, ...]
    weight: float
    gradient: float
    matrix: bool
    frozen: bool = False
    moves: float = math.nan
    fresh: bool | None = None

    @property
    def cut(self) -> bool:
        """Whether the embedding depends on it, and yet no gradient comes back."""
        return not self.gradient > 0 and self.moves > MOVED

    @property
    def dead(self) -> bool:
        """Whether the gradient is exactly zero because nothing depends on it, although it takes part."""
        return self.gradient == 0 and self.moves <= MOVED

    @property
    def ratio(self) -> float:
        """Gradient over weight, as it is usually plotted; depends on the scale of the weights."""
        return self.gradient / self.weight if self.weight > 0 else math.nan

    @property
    def pull(self) -> float:
        """Gradient times weight: what a change of all weights by one share of themselves does to the objective.

        The same for weights of any scale before a normalisation, and for every layer of a plain rectifier net without
        biases (Euler), so that layers and nets can be compared.
        """
        return self.gradient * self.weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradients:
    """What one backward pass over a few items tells.

    Parameters
    ----------
    objective : the loss, in words; `stated` whether it is the user's, or the label-free spread.
    items : through how many items gradients came back.
    value : of the objective.
    layers : those that take part, in the order of execution.
    similarity : mean cosine between the gradients of single items, in [−1, 1], at the last weights; NaN if unknown.
        Around 1 all items ask for the same change, as they do where all have the same features.
    elasticity : how far the embeddings follow their inputs: change of the embedding along the line from one input to
        another (Jacobian-vector product), over the length of the embeddings, median over the items. Around the relative
        spread for a smooth map; 0 for a constant one.
    excess : the same over the distance that the two embeddings really have: 1 for a straight line between the items,
        far above 1 where the embedding jumps on the way.
    reasons : by name of a part, why it is missing.
    """

    objective: str
    stated: bool
    items: int
    value: float
    layers: tuple[LayerGradient, ...]
    similarity: float
    elasticity: float
    excess: float
    reasons: dict[str, str]

    @property
    def finite(self) -> bool:
        """Whether no gradient is NaN or Inf."""
        return not any(math.isinf(one.gradient) for one in self.layers)

    @property
    def learning(self) -> tuple[LayerGradient, ...]:
        """The matrices of weights that get a gradient, in the order of execution."""
        return tuple(one for one in self.layers if one.matrix and one.gradient > 0 and one.weight > 0)

    @property
    def decay(self) -> float:
        """Pull at the first layers over that at the last ones: the largest of three each; 1 for a net of one layer.

        0.01 to 10 in sound nets, and in deep untrained ones that are built to be trained; NaN without any gradient.
        """
        pulls = [one.pull for one in self.learning]
        return max(pulls[:END]) / max(pulls[-END:]) if pulls and self.finite else math.nan

    @property
    def cut(self) -> tuple[LayerGradient, ...]:
        """The layers that the gradient is cut off from."""
        return tuple(one for one in self.layers if one.cut)

    @property
    def dead_start(self) -> tuple[LayerGradient, ...]:
        """The layers of the beginning, where not one of them gets a gradient since a later one lets nothing through."""
        weighted = [one for one in self.layers if one.matrix and (one.dead or one.gradient > 0)]
        found = []
        for one in weighted:
            if not one.dead:
                break
            found.append(one)
        return tuple(found)
