"""Synthetic observations: what checks carry as their HEALTHY and COLLAPSED examples.

Also for users who write checks or tests of their own. Each function returns `Observations` of n rows in d
dimensions drawn with a fixed seed. Nothing heavy is imported before a function is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from collapsecheck.observe import Observations


def _random(seed: int) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(seed)


def observed(embeddings: Any, **given: Any) -> Observations:
    """Observations of an array in single precision; keywords as in `observe_arrays`."""
    import numpy as np

    from collapsecheck.observe import observe_arrays

    return observe_arrays(np.asarray(embeddings, dtype=np.float32), **given)


def power_law(n: int = 1000, d: int = 64, alpha: float = 0.7, offset: float = 0.0, seed: int = 0) -> Observations:
    """Gaussian rows whose eigenvalues fall as i^−alpha: the usual spectrum of a trained network."""
    import numpy as np

    rows = _random(seed).standard_normal((n, d)) * np.arange(1, d + 1) ** (-alpha / 2)
    rows[:, 0] += offset
    return observed(rows, inputs=np.arange(n, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32))


def rectified(n: int = 1000, d: int = 64, seed: int = 0) -> Observations:
    """Features after a ReLU: mean cosine about 0.32, and perfectly healthy."""
    import numpy as np

    return observed(np.maximum(_random(seed).standard_normal((n, d)), 0))


def nearly_constant(n: int = 1000, d: int = 64, spread: float = 1e-4, seed: int = 0) -> Observations:
    """One vector plus noise of the given relative size."""
    rows = 1 + spread * _random(seed).standard_normal((n, d))
    return observed(rows)


def cone(n: int = 1000, d: int = 64, seed: int = 0) -> Observations:
    """Healthy rows under an offset ten times as long as they are."""
    return power_law(n, d, alpha=0.3, offset=10 * d**0.5, seed=seed)


def low_rank(n: int = 1000, d: int = 64, rank: int = 1, seed: int = 0) -> Observations:
    """Rows in a subspace of the given rank, centred on the origin; their inputs are of full rank."""
    random = _random(seed)
    rows = random.standard_normal((n, rank)) @ random.standard_normal((rank, d))
    return observed(rows, inputs=random.standard_normal((n, d)).astype("float32"))


def few_points(n: int = 1000, d: int = 64, points: int = 5, noise: float = 0.0, seed: int = 0) -> Observations:
    """Rows on a handful of points, whatever the (distinct) inputs were."""
    random = _random(seed)
    centres = random.standard_normal((points, d))
    rows = centres[random.integers(0, points, n)] + noise * random.standard_normal((n, d))
    return observed(rows, inputs=random.standard_normal((n, d)).astype("float32"))


def scaled(n: int = 1000, d: int = 64, scale: float = 1e-9, seed: int = 0) -> Observations:
    """Healthy directions of vanishing length."""
    return observed(_random(seed).standard_normal((n, d)) * scale)


def poisoned(n: int = 1000, d: int = 64, bad: int = 3, seed: int = 0) -> Observations:
    """Healthy rows, a few of them with NaN or Inf."""
    rows = _random(seed).standard_normal((n, d))
    rows[:bad, 0] = float("nan")
    rows[bad // 2, 1] = float("inf")
    return observed(rows)


def dead_half(n: int = 1000, d: int = 64, share: float = 0.75, seed: int = 0) -> Observations:
    """Signed rows in which a share of the dimensions never moves."""
    rows = _random(seed).standard_normal((n, d))
    rows[:, : int(share * d)] = 0.5
    return observed(rows)


def classified(n: int = 1000, d: int = 64, classes: int = 10, noise: float = 0.02, seed: int = 0) -> Observations:
    """Neural collapse: each class on its own point, as trained classifiers end up; labels are given."""
    import numpy as np

    random = _random(seed)
    labels = random.integers(0, classes, n)
    rows = random.standard_normal((classes, d))[labels] + noise * random.standard_normal((n, d))
    return observed(rows, labels=labels.astype(np.int64), inputs=random.standard_normal((n, d)).astype("float32"))


def rogue(n: int = 1000, d: int = 64, size: float = 60.0, seed: int = 0) -> Observations:
    """Healthy rows but for one dimension that is large in every row."""
    rows = _random(seed).standard_normal((n, d))
    rows[:, 7] = 3 * rows[:, 7] + size
    return observed(rows)


def few_rows(n: int = 5, d: int = 64, seed: int = 0) -> Observations:
    """Healthy rows, but too few to judge."""
    return observed(_random(seed).standard_normal((n, d)))


def partly_loaded() -> Observations:
    """A model of which one tensor found no weights in the checkpoint."""
    seen = power_law()
    seen.missing_keys = ("head.weight",)
    return seen


def fully_loaded() -> Observations:
    """A model all of whose tensors were found in the checkpoint."""
    seen = power_law()
    seen.missing_keys = ()
    return seen


def trained() -> Observations:
    """A model whose weights are numbers that training has moved."""
    return _weighing(untrained=False)


def untrained() -> Observations:
    """A model whose weights are as its layers draw them."""
    return _weighing(untrained=True)


def overflown() -> Observations:
    """A model with a weight that is no number."""
    return _weighing(non_finite=("head.weight",))


def _weighing(**facts: Any) -> Observations:
    from collapsecheck.observe.weight_facts import WeightFacts

    seen = power_law()
    seen.weights = WeightFacts(**facts)
    return seen


def right_gradients() -> Observations:
    """A model whose own operation has the gradient that it should."""
    return _differentiated()


def wrong_gradients() -> Observations:
    """A model whose own operation has a backward with the wrong sign."""
    from collapsecheck.observe.gradcheck import Gradient

    return _differentiated(
        outcome=Gradient.WRONG, message="the gradient of argument 0 at [3] is -0.5 where finite differences give 0.5",
        argument="argument 0", entry=(3,), analytic=-0.5, numerical=0.5, ratio=-1.0, known_by="wrong-value",
    )  # fmt: skip


def _differentiated(**told: Any) -> Observations:
    from collapsecheck.observe.gradcheck import Gradient, GradientCheck

    seen = power_law()
    facts = {"function": "Swish", "module": "1", "outcome": Gradient.RIGHT, "message": "", **told}
    seen.gradient_checks = (GradientCheck(**facts),)
    return seen


def partly_read() -> Observations:
    """A data set of which every tenth item could not be read."""
    seen = power_law(900)
    seen.items = 1000
    seen.unreadable = tuple((f"{i}.png", "truncated") for i in range(100))
    return seen


def repeatable() -> Observations:
    """Items that get the same embedding each time."""
    from collapsecheck.observe.repeatability import Repeatability

    seen = power_law()
    seen.repeatability = Repeatability(again=0.0, elsewhere=1e-6)
    return seen


def unrepeatable() -> Observations:
    """Items whose embedding depends on their batch."""
    from collapsecheck.observe.repeatability import Repeatability

    seen = power_law()
    seen.repeatability = Repeatability(again=0.0, elsewhere=0.5)
    return seen


def learning() -> Observations:
    """A model of four layers whose gradient reaches all of them."""
    return _graded([1.0, 0.8, 1.2, 1.0])


def vanishing() -> Observations:
    """A model of eight layers whose gradient fades by a factor of ten from each to the one before."""
    return _graded([10.0**-i for i in range(8, 0, -1)])


def exploding() -> Observations:
    """A model of eight layers whose gradient grows by a factor of ten from each to the one before."""
    return _graded([10.0**i for i in range(8, 0, -1)])


def cut_off() -> Observations:
    """A trained model whose first layers nobody has trained, and that no gradient reaches."""
    return _graded([float("nan"), float("nan"), 1.0, 1.0], moves=0.05, fresh=True)


def jumping() -> Observations:
    """A model whose embeddings jump between items."""
    return _graded([1.0, 1.0], excess=1e4)


def _graded(
    gradients: list[float], *, moves: float = float("nan"), fresh: bool | None = None, excess: float = 0.8
) -> Observations:
    from collapsecheck.observe.gradients import Gradients, LayerGradient

    seen = trained()
    layers = tuple(
        LayerGradient(
            layer=str(place),
            type="Linear",
            depth=place,
            tensors=(f"{place}.weight",),
            weight=1.0,
            gradient=gradient,
            matrix=True,
            moves=float("nan") if gradient > 0 else moves,
            fresh=None if gradient > 0 else fresh,
        )
        for place, gradient in enumerate(gradients)
    )
    made = Gradients(
        objective="spread", stated=False, items=64, value=0.0, layers=layers, similarity=0.0, elasticity=0.8,
        excess=excess, reasons={},
    )  # fmt: skip
    seen.gradients_from = lambda: made
    return seen
