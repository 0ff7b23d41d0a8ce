"""Model and batches -> observations: numbers with intervals and nulls, never a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from collapsecheck.observe.cloud import Cloud, streaming_measurements
from collapsecheck.observe.gradcheck import GradientCheck
from collapsecheck.observe.gradients import Gradients
from collapsecheck.observe.inputs import InputSummary
from collapsecheck.observe.repeatability import Repeatability
from collapsecheck.observe.sample import PairSample
from collapsecheck.observe.summary import EmbeddingSummary
from collapsecheck.observe.weight_facts import WeightFacts
from collapsecheck.statistics import cosine, nulls, spectrum, spread
from collapsecheck.statistics.measurement import Measurement
from collapsecheck.statistics.moments import Array, Moments

__all__ = ["EmbeddingSummary", "InputSummary", "NotObservable", "Observations", "observe_arrays"]

# A dimension with less than this share of the root-mean-square deviation carries nothing.
DEAD = 1e-3
# Share of the variance in one dimension from which it is asked what the others would be without it.
HALF = 0.5

# Classes count as told apart from this share of the variance between them, and this accuracy of their centres.
SEPARATED_SHARE = 0.8
SEPARATED_ACCURACY = 0.95


class NotObservable(Exception):  # noqa: N818 - it is an answer, not an error
    """A part that cannot be observed here; the message says why. Turns a check into a skipped finding."""


@dataclass(kw_only=True)
class Observations:
    """Everything that checks can ask about. Each part is computed once, on first use.

    Parameters
    ----------
    embeddings : sums over all embeddings.
    inputs : sums over the inputs, None where there are only vectors.
    missing_keys, unexpected_keys, mismatched_keys : tensors that did not find their place in the model (only
        with partial loading), None where no model was loaded.
    items : how many items the data holds, unreadable ones included.
    unreadable : name and reason of each item that could not be read.
    weights : what the weights themselves tell; None where no model was loaded.
    repeatability : whether an item gets the same embedding each time; None where no model was run.
    gradient_checks : what became of the gradients of the model's own operations; None where nobody looked.
    gradients_from : makes the gradients when they are first asked for; None where no model was run.
    idle_from : names the parameters that the optimiser in the file did not move, and that look as they were drawn.
    jackknifed : whether the metrics get intervals from a jackknife, which is most of the cost of reading them.
    """

    embeddings: EmbeddingSummary
    inputs: InputSummary | None = None
    missing_keys: tuple[str, ...] | None = None
    unexpected_keys: tuple[str, ...] = ()
    mismatched_keys: tuple[str, ...] = ()
    items: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    jackknifed: bool = True
    repeatability: Repeatability | None = None
    weights: WeightFacts | None = None
    gradient_checks: tuple[GradientCheck, ...] | None = None
    gradients_from: Callable[[], Gradients] | None = None
    idle_from: Callable[[], tuple[str, ...]] = tuple

    def __post_init__(self) -> None:
        self.embeddings.flush()

    @property
    def rows(self) -> int:
        """Number of finite embeddings n."""
        return self.embeddings.rows

    @property
    def dimension(self) -> int:
        """Length D of an embedding."""
        return self.embeddings.dimension

    @cached_property
    def raw(self) -> Moments:
        """Sums over the rows as they are."""
        return self.embeddings.raw.on_host().total

    @cached_property
    def unit(self) -> Moments:
        """Sums over the unit rows."""
        return self.embeddings.unit.on_host().total

    @cached_property
    def gradients(self) -> Gradients:
        """One backward pass over a few items; raises NotObservable with the reason where none can be made."""
        found = self._gradients
        if isinstance(found, NotObservable):
            raise NotObservable(str(found))
        return found

    @cached_property
    def _gradients(self) -> Gradients | NotObservable:
        """The gradients, or why there are none: several checks ask, and what fails is not tried again."""
        if self.gradients_from is None:
            return NotObservable("no model was run")
        try:
            return self.gradients_from()
        except NotObservable as reason:
            return reason

    @cached_property
    def idle(self) -> tuple[str, ...]:
        """Parameters that the optimiser in the file did not move, and that look as they were drawn."""
        return self.idle_from()

    @property
    def rounding_floor(self) -> float:
        """Relative spread that rounding alone gives in the embeddings' dtype."""
        return spread.rounding_floor(self.embeddings.dtype)

    @cached_property
    def sample(self) -> PairSample:
        """A uniform sample of rows, for what needs pairs."""
        held = self.embeddings.sample
        if not len(held):
            return PairSample(np.zeros((0, self.dimension)))
        labels = held["labels"].astype(np.intp) if "labels" in held.columns else None
        return PairSample(held["rows"], labels)

    @cached_property
    def input_sample(self) -> PairSample:
        """The inputs of the same items, folded; raises NotObservable without input geometry."""
        if self.inputs is None or self.inputs.geometry is None:
            raise NotObservable("the inputs are not seen, or have no geometry (token ids)")
        self.inputs.geometry.folded.flush()
        return PairSample(self.inputs.geometry.folded.sample["rows"])

    @property
    def classes(self) -> int:
        """Number of classes among the labels of the sample; raises NotObservable without labels."""
        labels = self.sample.known_labels
        if labels is None:
            raise NotObservable("there are no labels of at least two classes")
        return len(np.unique(labels[labels >= 0]))

    @property
    def separates_classes(self) -> bool:
        """Whether labels are given and the embeddings tell them apart as a trained classifier does."""
        return self.tells_classes_apart(SEPARATED_SHARE)

    def tells_classes_apart(self, between_share: float) -> bool:
        """Whether classes hold this share of the variance, and their centres name nearly every item."""
        share = self.measurements.get("between_class_share")
        centre = self.measurements.get("nearest_centre_accuracy")
        return bool(
            share is not None
            and centre is not None
            and share.value > between_share
            and centre.high >= SEPARATED_ACCURACY
        )

    @cached_property
    def standard_deviations(self) -> Array:
        """Deviation of each dimension [D]."""
        return np.sqrt(self.raw.variances)

    @cached_property
    def cloud(self) -> Cloud:
        """Both sums with their spectra; with the rows themselves where the sample holds all of few rows."""
        held = self.held
        few = held is not None and self.rows < self.dimension
        return Cloud(self.raw, self.unit, held.astype(np.float64) if few and held is not None else None)

    @cached_property
    def held(self) -> NDArray[np.generic] | None:
        """The finite rows themselves [n, D], in any order, where there are so few that the sample holds all."""
        sample = self.embeddings.sample
        return sample["rows"] if len(sample) == self.rows > 0 else None

    @property
    def spectrum(self) -> Array:
        """Eigenvalues of the covariance of the unit rows, largest first."""
        return self.cloud.unit_spectrum

    @property
    def non_negative(self) -> bool:
        """Whether no embedding has a negative value: features after a ReLU, a softmax or a sigmoid."""
        return bool(self.rows and self.embeddings.minimum.min() >= 0)

    def measure(self, name: str) -> Measurement:
        """One metric by name; raises NotObservable when it cannot be had or is undetermined."""
        found = self.measurements.get(name)
        if found is None or not found.known:
            raise NotObservable(f"{name.replace('_', ' ')} is not defined for {self.rows} rows of this data")
        return found

    @cached_property
    def measurements(self) -> dict[str, Measurement]:
        """All metrics that can be had, by name."""
        found = {
            "rows": Measurement(value=float(self.rows)),
            "dimension": Measurement(value=float(self.dimension)),
            "non_finite_rows": Measurement(value=float(self.embeddings.non_finite)),
            "zero_rows": Measurement(value=float(self.embeddings.zero_rows)),
        }
        if not self.rows:
            return found
        found |= streaming_measurements(
            self.embeddings.raw.on_host(), self.embeddings.unit.on_host(), self.cloud, jackknifed=self.jackknifed
        )
        found |= self._totals()
        dimension = found["unit_participation_ratio"]
        found |= self.sample.measurements(dimension.value if dimension.known else np.nan)
        if self.inputs is not None:
            found |= self.inputs.measurements()
        return found

    def _totals(self) -> dict[str, Measurement]:
        norms = self.embeddings.norms["norms"].astype(np.float64)
        distinct = self.embeddings.distinct_values.counts
        if self.held is not None:  # few rows: then these are exact to the last digits
            norms = np.sqrt(np.square(self.held.astype(np.longdouble)).sum(1))
            ordered = np.sort(self.held, axis=0)
            distinct = 1.0 + (ordered[1:] != ordered[:-1]).sum(0)
        values = {
            "distinct_rows": self.embeddings.distinct_rows.count,
            "distinct_values_median": float(np.median(distinct)),
            "norm_median": float(np.median(norms)),
            "norm_cv": float(norms.std() / norms.mean()) if norms.mean() > 0 else np.nan,
        }
        found = {name: Measurement(value=value) for name, value in values.items()}
        if self.rows > 1:
            deviations = self.standard_deviations
            rms = float(np.sqrt((deviations**2).mean()))
            constant = self.embeddings.maximum == self.embeddings.minimum
            dead = constant | (deviations <= DEAD * rms)
            total = float((deviations**2).sum())
            found |= {
                "dead_dimensions": Measurement(value=float(dead.sum()), null=0.0),
                "dimension_std_median": Measurement(value=float(np.median(deviations))),
                "top_dimension_share": Measurement(
                    value=float((deviations**2).max() / total) if total > 0 else np.nan, null=1 / self.dimension
                ),
                "rankme": Measurement(
                    value=spectrum.rankme(self.raw, held=self.cloud.held),
                    null=nulls.effective_rank(self.rows, self.dimension, centred=False),
                ),
            }
            # Where none dominates it would take too long for what it tells.
            dominated = self.dimension > 1 and found["top_dimension_share"].value > HALF
            found["rank_beside_top_dimension"] = Measurement(
                value=self.sample.rank_without(int(deviations.argmax())) if dominated else np.nan,
                null=self.sample.rank_without(None) if dominated else None,
            )
        if self.unit.n > 1:
            shares = cosine.cosine_share_by_dimension(self.unit)
            mean = abs(float(shares.sum()))
            found["top_dimension_cosine_share"] = Measurement(
                value=float(np.abs(shares).max() / mean) if mean > 0 else np.nan
            )
        return found


def observe_arrays(
    embeddings: NDArray[np.generic],
    *,
    inputs: NDArray[np.generic] | None = None,
    labels: NDArray[np.int64] | None = None,
    dtype: str | None = None,
    seed: int = 0,
    advance: Callable[[int], None] = lambda rows: None,
) -> Observations:
    """Observations of ready vectors [n, D], memory-mapped or not, read in portions.

    Parameters
    ----------
    inputs : what the vectors were made from [n, ...], if known.
    labels : class numbers [n].
    dtype : the dtype in which the vectors were computed; by default that of the array.
    advance : called with the number of rows done, after each portion.
    """
    summary = EmbeddingSummary(embeddings.shape[1], seed=seed)
    dtype = dtype or str(embeddings.dtype)
    summary.dtype = dtype if dtype in spread.EPSILON else "float64"  # whole numbers do not round
    seen = InputSummary(seed=seed) if inputs is not None else None
    for start in range(0, len(embeddings), 4096):
        part = slice(start, start + 4096)
        indices = np.arange(start, start + len(embeddings[part]))
        summary.update(np.asarray(embeddings[part]), indices, None if labels is None else labels[part])
        if seen is not None and inputs is not None:
            seen.update(np.asarray(inputs[part]), indices)
        advance(len(indices))
    return Observations(embeddings=summary, inputs=seen, items=len(embeddings))
