"""Cause `rogue-dimension`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.scene import Scene

MOST = 3
# Share of the squared length of the embeddings that these few dimensions hold.
SHARE = 0.8


class RogueDimension(Cause):
    """One to three dimensions are so large that they alone decide every cosine.

    Known of pretrained language models (Timkey & van Schijndel 2021, arXiv:2109.04404). The experiment leaves these
    dimensions out; the sham leaves out as many others.
    """

    explains = frozenset({Kind.CONE, Kind.COMPLETE, Kind.DIMENSIONAL})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Measure the share of the largest dimensions in the length."""
        largest, share = _largest(scene.find.embeddings)
        if scene.seen.dimension < 4 * MOST or share < SHARE:
            return
        shown = ", ".join(map(str, largest))
        yield Suspicion(
            layer=scene.onset.layer if scene.onset else scene.path[-1].site.layer if scene.path else "",
            depth=1e8,
            evidence=f"dimension{'s' * (len(largest) > 1)} {shown} hold {share:.0%} of the squared length",
            size=0.1 * len(largest),
            numbers={"share": share},
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Leave them out; as a sham, as many others."""
        largest, _ = _largest(scene.find.embeddings)
        others = np.setdiff1d(np.arange(scene.seen.dimension), largest)
        sham = np.random.default_rng(scene.probe.seed).choice(others, len(largest), replace=False)
        yield Intervention(
            probe=scene.confirm.turned(lambda rows: np.delete(rows, largest, axis=1)),
            change=f"the dimensions {', '.join(map(str, largest))} left out",
            control=scene.confirm.turned(lambda rows: np.delete(rows, sham, axis=1)),
            sham="leaving out as many others",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Standardise the dimensions."""
        return (
            Remedy(
                id="standardise-dimensions",
                title="Standardise each dimension with the mean and deviation of a reference set before taking cosines",
                snippet=(
                    "mean, deviation = embeddings.mean(dim=0), embeddings.std(dim=0)\n"
                    "standardised = (embeddings - mean) / deviation.clamp(min=1e-6)"
                ),
                effect="no training; keep both with the index",
                reference="Timkey & van Schijndel 2021, arXiv:2109.04404",
            ),
        )


def _largest(rows: NDArray[np.float64]) -> tuple[list[int], float]:
    """The fewest dimensions, three at most, that hold the share; and what they hold."""
    size = np.square(rows[np.isfinite(rows).all(1)]).mean(0)
    if not size.sum() > 0:
        return [], 0.0
    order = np.argsort(size)[::-1][:MOST]
    held = np.cumsum(size[order]) / size.sum()
    count = int(np.searchsorted(held, SHARE)) + 1
    return sorted(order[:count].tolist()), float(held[min(count, MOST) - 1])
